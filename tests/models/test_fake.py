"""Fakes have exactly the fault they are named after."""

import math

import numpy as np
import pytest

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.models.kinds.fake import FAKE_KINDS, FakeRewardModel
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message


def rewards(spec, samples):
    """What a fake gives."""
    model = open_model(spec)
    return model.score(model.encode(samples))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("perfect", lambda s: s.golden),
        ("reversed", lambda s: -s.golden),
        ("constant", lambda _: 0.0),
        ("length_biased", lambda s: float(len(s.response))),
    ],
)
def test_the_known_faults(kind, expected, samples):
    """Golden, minus golden, nothing, and length."""
    assert rewards(f"fake:{kind}", samples).tolist() == [expected(s) for s in samples]


def test_nan_is_nan_for_every_sample(samples):
    """So that whatever is measured meets it."""
    assert np.isnan(rewards("fake:nan", samples)).all()


def many(count):
    """Samples of different texts."""
    return [
        Sample("p", i, (Message("user", "q"),), f"answer {i}", golden=0.0) for i in range(count)
    ]


@pytest.mark.parametrize("spec", ["fake:random", "fake:perfect?noise=1", "fake:constant?noise=1"])
def test_random_rewards_are_standard_normal(spec):
    """Mean 0 and standard deviation 1, within four standard errors over 4000 texts."""
    found = rewards(spec, many(4000))

    assert abs(found.mean()) < 4 / math.sqrt(4000)
    assert abs(found.std() - 1) < 4 / math.sqrt(2 * 4000)


def test_noise_scales_and_seeds_differ(samples):
    """Noise is a standard deviation; a seed changes the draw, repeating does not."""
    single = rewards("fake:constant?noise=1&seed=3", samples)

    np.testing.assert_allclose(rewards("fake:constant?noise=2.5&seed=3", samples), 2.5 * single)
    np.testing.assert_array_equal(rewards("fake:constant?noise=1&seed=3", samples), single)
    assert not np.isclose(rewards("fake:constant?noise=1&seed=4", samples), single).any()
    assert not np.isclose(rewards("fake:random?seed=3", samples), single).any()


@pytest.mark.parametrize("kind", FAKE_KINDS)
def test_only_fakes_that_need_it_read_the_golden_reward(kind, samples):
    """Perfect and reversed say so; without it they are an error that names prompts."""
    blind = [Sample(s.prompt_id, s.index, s.messages, s.response) for s in samples]
    model = FakeRewardModel(kind)

    assert model.reads_golden == (kind in {"perfect", "reversed"})
    assert not model.kept
    if model.reads_golden:
        with pytest.raises(ScoringError, match=r"golden reward of every response; .*'p0'"):
            model.score(model.encode(blind))
    else:
        assert model.score(model.encode(blind)).shape == (len(blind),)


def test_spec_and_constructor_make_the_same_model():
    """Kind, seed and noise decide the fingerprint, however they were given."""
    built = FakeRewardModel("random", seed=3, noise=0.5)

    assert built.spec == "fake:random?seed=3&noise=0.5"
    assert open_model(built.spec).fingerprint == built.fingerprint
    prints = {FakeRewardModel(kind).fingerprint for kind in FAKE_KINDS} | {built.fingerprint}
    assert len(prints) == len(FAKE_KINDS) + 1


@pytest.mark.parametrize("noise", ["-1", "nan", "inf", "much"])
def test_noise_is_a_standard_deviation(noise):
    """Anything else is refused with its value."""
    with pytest.raises(UsageError, match="noise is"):
        open_model(f"fake:perfect?noise={noise}")


def test_an_unknown_fake_names_the_near_miss():
    """A misspelt fake gets the right one and the list."""
    with pytest.raises(UnknownModelError, match=r"no fake 'perfekt'. Did you mean 'perfect'\?"):
        open_model("fake:perfekt")
