"""Rotary embeddings whose frequencies follow the longest row: no reward depends on its batch."""

import numpy as np
import pytest
import tiny_models
import torch

from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.torch.rope import Rope
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

# Tokens of the original context, between the shortest and the longest text below.
ORIGINAL = 64
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0, 5.0, 6.0, 7.0],
    "original_max_position_embeddings": ORIGINAL,
}
CHANGES = {"rope_parameters": LONGROPE, "max_position_embeddings": 4 * ORIGINAL}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reward model whose context was extended so."""
    config = tiny_models.decoder_config("llama", initializer_range=0.4, **CHANGES)
    return tiny_models.save(config, tmp_path_factory.mktemp("longrope") / "rm")


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Two language models whose context was extended so."""
    place = tmp_path_factory.mktemp("policies")
    names = ("policy", "reference")
    return [tiny_models.causal(place / n, seed=seed, **CHANGES) for seed, n in enumerate(names)]


@pytest.fixture
def model(folder):
    """That reward model, loaded."""
    found = open_model(f"hf:{folder}").load()
    yield found
    found.close()


def samples():
    """Three prompts with four responses each, on both sides of the original context."""
    asked = [(Message("user", f"what is {text}"),) for text in tiny_models.TEXTS[:3]]
    return [
        Sample(f"p{p}", r, messages, " ".join(["long answer"] * words))
        for p, messages in enumerate(asked)
        for r, words in enumerate((1, 14, 7, 20))
    ]


@pytest.mark.parametrize("prefix", ["off", "shared"])
@pytest.mark.parametrize("form", ["hf", "implicit"])
def test_a_reward_is_that_of_its_row_alone(form, prefix, folder, policies):
    """In one batch with shorter and longer rows, padded or packed."""
    spec = f"hf:{folder}" if form == "hf" else f"implicit:{policies[0]},{policies[1]}"
    model = open_model(f"{spec}?prefix={prefix}").load()
    encoded = model.encode(samples())
    lengths = sorted(e.length for e in encoded)
    assert lengths[1] < ORIGINAL < lengths[-2]
    proven = model.prove(encoded)

    together = model.scoring(proven)(encoded)
    alone = [model.score([one])[0] for one in encoded]

    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-5)
    assert proven.shares_prefixes == (prefix == "shared")


def test_without_care_rewards_would_differ(model):
    """The trap is there: the same rows in one batch of the model's own."""
    encoded = model.encode(samples())
    alone = [model.score([one])[0] for one in encoded]
    model.scorer.rope.original = None

    assert np.abs(model.score(encoded) - alone).max() > 0.05


def test_the_page_says_it_and_nothing_runs_beside_it(model):
    """The frequencies are kept in the model, so one thread scores."""
    proven = model.prove(model.encode(samples()))
    said = {item.name: item for item in proven.items}["attention"]

    assert said.status == "pass"
    assert said.detail.endswith("; longrope: rows of more than 64 tokens are computed apart")
    assert not model.scorer.for_threads
    assert model.workers().count == 1


def test_sampled_tokens_do_not_depend_on_longer_prompts(policies):
    """A prompt's answer is the one that it gets alone."""
    rows = [[1, *range(5, 5 + n)] for n in (10, 70, 62)]
    sampler = TorchSampler(CausalCheckpoint(policies[0]), eos_ids=[], dtype="float32", device="cpu")
    ask = {"temperature": 1.0, "max_tokens": 8}
    together = sampler.sample(rows, [1, 2, 3], **ask)
    apart = [sampler.sample([row], [seed], **ask)[0] for seed, row in enumerate(rows, start=1)]

    assert together == apart
    assert [len(ids) for ids in together] == [8, 8, 8]


@pytest.mark.parametrize("by_layer", [False, True])
def test_rows_are_grouped_by_their_frequencies(by_layer):
    """Short ones together and long ones together, also where layers have types of their own."""
    import transformers

    config = tiny_models.decoder_config("llama", **CHANGES)
    body = transformers.AutoModel.from_config(config)
    if by_layer:
        body.rotary_emb.rope_type = {"full": "longrope", "sliding": "default"}
        body.config.rope_parameters = {"full": LONGROPE, "sliding": {}}
    rope = Rope(body)

    assert rope.original == ORIGINAL
    assert rope.apart([80, 10, 90, ORIGINAL, 3, 80]) == [[1, 3, 4], [0, 2, 5]]
    assert rope.apart([80]) == [[0]]
    assert rope.apart([]) == []


@pytest.mark.parametrize("rope_type", ["default", "linear", "dynamic", "yarn", "llama3"])
def test_other_rotary_embeddings_are_left_alone(rope_type):
    """Most models: one group whatever the lengths, and nothing on the page."""
    import transformers

    more = {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if rope_type == "llama3" else {}
    parameters = {"rope_type": rope_type, "rope_theta": 10_000.0, "factor": 2.0, **more}
    if rope_type in ("yarn", "llama3"):
        parameters["original_max_position_embeddings"] = ORIGINAL
    config = tiny_models.decoder_config("llama", rope_parameters=parameters)
    rope = Rope(transformers.AutoModel.from_config(config))

    assert rope.original is None
    assert rope.note == ""
    assert rope.apart([1, 1000]) == [[0, 1]]


def test_a_model_without_rotary_embeddings_is_left_alone():
    """GPT-2, BERT, or none at all."""
    assert Rope(torch.nn.Linear(2, 2)).original is None
    assert Rope(None).original is None
