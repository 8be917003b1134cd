"""Several heads of one model, combined by weights."""

import numpy as np
import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint.head import Head, parse_head
from rmcheck.models.registry import open_model

LABELS = ("helpfulness", "safety", "brevity")


def terms(named):
    """What a setting's value names."""
    return parse_head(named, LABELS, "hf:rm").terms


@pytest.fixture(scope="module")
def three_heads(tmp_path_factory):
    """A checkpoint with three named logits."""
    config = tiny_models.decoder_config("llama", num_labels=3, id2label=dict(enumerate(LABELS)))
    return tiny_models.save(config, tmp_path_factory.mktemp("three"))


def scored(spec, samples):
    """The model, loaded, its page, and its rewards."""
    model = open_model(spec).load()
    encoded = model.encode(samples)
    proven = model.prove(encoded)
    return model, proven.items, model.scoring(proven)(encoded)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("safety", ((1, 1.0),)),
        ("2", ((2, 1.0),)),
        ("helpfulness:0.7,safety:0.3", ((0, 0.7), (1, 0.3))),
        ("2:-1e-1, 0:2", ((0, 2.0), (2, -0.1))),
        ("safety:1,brevity:0", ((1, 1.0),)),
    ],
)
def test_heads_are_named_by_label_or_index(named, expected):
    """Terms stand in order of index, whatever the order named; a weight of 0 is no term."""
    assert terms(named) == expected


def test_a_label_may_look_like_a_weighted_head():
    """A label that is the whole value wins over taking the value apart."""
    assert parse_head("a:1", ("a", "a:1"), "hf:rm").terms == ((1, 1.0),)


def test_all_problems_are_named_at_once():
    """Near miss, repeated name, missing and impossible weights stand in one message."""
    with pytest.raises(UsageError) as caught:
        terms("safty:0.5,brevity,helpfulness:nan,safety:1,1:2")

    message = str(caught.value)
    assert message.startswith("hf:rm: no head 'safty'. Did you mean 'safety'?")
    assert "head 'brevity' has no weight; write NAME:WEIGHT." in message
    assert "the weight of head 'helpfulness' is 'nan', not a finite number." in message
    assert "head '1' is named twice." in message
    assert message.endswith("Heads: 0 helpfulness, 1 safety, 2 brevity.")


def test_weights_that_are_all_zero_are_refused():
    """A model whose every reward is 0 is none."""
    with pytest.raises(UsageError, match="all weights are 0"):
        terms("safety:0,brevity:0.0")


@given(
    weights=st.lists(st.floats(-10, 10), min_size=3, max_size=3).filter(any),
    seed=st.integers(0, 1000),
)
def test_the_reward_is_linear_in_the_logits(weights, seed):
    """The reward of several heads is the sum of weight times logit."""
    logits = np.random.default_rng(seed).normal(size=(5, 3))
    head = Head(LABELS, tuple((i, w) for i, w in enumerate(weights) if w))

    np.testing.assert_allclose(head.rewards(logits), logits @ weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prefix", ["off", "shared"])
def test_a_checkpoint_is_scored_by_several_heads(three_heads, samples, prefix):
    """The reward is the weighted sum of what each head gives alone, with shared prompts too."""
    query = f"prefix={prefix}&head="
    parts = [scored(f"hf:{three_heads}?{query}{label}", samples)[2] for label in LABELS]

    model, items, rewards = scored(f"hf:{three_heads}?{query}brevity:-0.5,helpfulness:0.7", samples)

    np.testing.assert_allclose(rewards, 0.7 * parts[0] - 0.5 * parts[2], rtol=0, atol=1e-5)
    assert model.description["head"] == "0.7 * 'helpfulness' + -0.5 * 'brevity' of 3"
    page = {item.name: item.detail for item in items}
    assert "3 logits, the reward is 0.7 * 'helpfulness' + -0.5 * 'brevity'" in page["head"]


def test_weights_are_part_of_the_fingerprint(three_heads):
    """Other weights are another model; another way to write the same ones is not."""
    heads = [
        ["helpfulness", "0", "helpfulness:1", "0:1.0,safety:0"],
        ["helpfulness:0.7,safety:0.3", "1:0.3,0:0.70"],
        ["helpfulness:0.3,safety:0.7"],
    ]

    found = [{open_model(f"hf:{three_heads}?head={h}").fingerprint for h in same} for same in heads]

    assert [len(same) for same in found] == [1, 1, 1]
    assert len(set.union(*found)) == 3
