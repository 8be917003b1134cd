"""What the texts look like that best-of-n picks."""

import numpy as np
import pytest

from rmcheck.metrics.picked_texts import picked_texts, tilted_texts
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.traits import RARE, traits_with_rare


def test_words_that_no_other_response_has_are_rare():
    """Two of four words, and none of a response whose words others have."""
    found = traits_with_rare(["the cat quuxed zyzzily", "the cat sat", "the cat sat"])[RARE]

    assert found == pytest.approx([0.5, 0, 0])


def picked_in(proxy, golden, values, n=2, **more):
    """The one trait of these rewards."""
    rewards = Rewards.from_arrays(proxy, golden, **more)
    (found,) = picked_texts(rewards, {"x": np.ravel(values).astype(float)}, [n])
    return found


def test_a_proxy_that_likes_length_picks_longer_texts_than_golden_does():
    """By as much as the longest is above the mean; golden, which does not care, by nothing."""
    rng = np.random.default_rng(0)
    length = np.tile(np.arange(6.0), (40, 1))

    found = picked_in(length, rng.normal(size=(40, 6)), length, n=6)

    assert found.pool == 2.5
    assert found.proxy.value == pytest.approx(2.5)
    assert found.golden.lower < 0 < found.golden.upper
    assert found.beyond.lower > 1


def test_best_of_two_is_the_mean_over_all_pairs():
    """Independent of how weights are made: every pair of responses, the better one picked."""
    rng = np.random.default_rng(1)
    proxy, golden, values = rng.normal(size=(3, 5, 4))
    pairs = [(i, j) for i in range(4) for j in range(4) if i < j]
    expected = (
        np.mean(
            [
                [v[i] if r[i] > r[j] else v[j] for i, j in pairs]
                for r, v in zip(proxy, values, strict=True)
            ]
        )
        - values.mean()
    )

    assert picked_in(proxy, golden, values).proxy.value == pytest.approx(expected)


def test_golden_against_itself_is_beyond_nothing():
    """The change of both is the same, on every prompt."""
    golden, values = np.random.default_rng(2).normal(size=(2, 9, 4))

    found = picked_in(golden, golden, values)

    assert (found.beyond.value, found.beyond.lower, found.beyond.upper) == (0, 0, 0)


def test_prompts_of_one_unit_count_once_for_the_interval():
    """The same prompt four times is no more certain than once."""
    proxy, golden, values = np.random.default_rng(3).normal(size=(3, 8, 4))
    once = picked_in(proxy, golden, values)
    wide = [np.repeat(a, 4, axis=0) for a in (proxy, golden, values)]

    again = picked_in(*wide, clusters=np.repeat(np.arange(8), 4).tolist())

    assert again.proxy.value == pytest.approx(once.proxy.value)
    assert again.proxy.upper == pytest.approx(once.proxy.upper)


def test_one_prompt_tells_nothing():
    """No interval, so no row."""
    rewards = Rewards.from_arrays([[1.0, 2]], [[1.0, 2]])

    assert picked_texts(rewards, {"x": np.array([1.0, 2])}, [2]) == []


def test_a_policy_at_a_kl_moves_as_far_as_its_softmax_does():
    """Two responses a prompt, one longer: the weight at which the KL is what was asked for."""
    length = np.tile([0.0, 1.0], (50, 1))
    rewards = Rewards.from_arrays(length, length[:, ::-1])
    (found,) = tilted_texts(rewards, {"x": length.ravel()}, [0.2])
    weight = 0.5 + found.proxy.value
    kl = weight * np.log(2 * weight) + (1 - weight) * np.log(2 * (1 - weight))

    assert (found.n, found.kl) == (None, 0.2)
    assert kl == pytest.approx(0.2)
    assert found.golden.value == pytest.approx(-found.proxy.value)
