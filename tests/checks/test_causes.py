"""What is suspected when a model picks worse answers, and what only looks like it."""

import numpy as np
import pytest

from rmcheck.checks.causes import TIES, find_causes, thinned
from rmcheck.metrics.rewards import Rewards

PROMPTS, N = 120, 6


def world(seed=0):
    """Golden, and two traits of which the second goes with the first."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(PROMPTS, N))
    length = 0.3 * golden + rng.normal(size=golden.shape)
    marks = 0.6 * length + 0.8 * rng.normal(size=golden.shape)
    return rng, golden, {"length": length, "formatting": marks}


def found(proxy, golden, traits, places=None, baseline=None, **more):
    """The suspects by name, in their order."""
    rewards = Rewards.from_arrays(proxy, golden, **more)
    columns = {name: np.ravel(values)[:, None] for name, values in traits.items()}
    other = None if baseline is None else np.ravel(baseline)
    return {c.name: c for c in find_causes(rewards, columns, places or {}, 0, other)}


def suspected(causes):
    """Names of what is suspected: one at most."""
    return [name for name, cause in causes.items() if cause.suspected]


@pytest.mark.parametrize("fault", ["length", "formatting"])
def test_the_trait_that_the_reward_follows_is_suspected_and_not_the_one_beside_it(fault):
    """Though picks have more of both."""
    rng, golden, traits = world()
    proxy = golden + 1.5 * traits[fault] + 0.3 * rng.normal(size=golden.shape)

    causes = found(proxy, golden, traits)

    assert suspected(causes) == [fault]
    other = causes["formatting" if fault == "length" else "length"]
    assert other.lower > 0
    assert other.beyond < 0.02 < causes[fault].beyond_lower
    assert next(iter(causes)) == fault


def test_a_trait_that_is_paid_for_in_the_other_direction_is_suspected_as_well():
    """A model that likes short answers loses where its pick has less."""
    _, golden, traits = world()

    cause = found(golden - 1.5 * traits["length"], golden, traits)["length"]

    assert cause.suspected
    assert cause.upper < 0
    assert cause.less > cause.more


@pytest.mark.parametrize("noise", [0.5, 3.0, 100.0])
def test_noise_has_no_suspect(noise):
    """In twenty worlds not one, however much of it there is and though golden likes length."""
    named = []
    for seed in range(20):
        rng, golden, traits = world(seed)
        proxy = golden + noise * rng.normal(size=golden.shape)
        named += suspected(found(proxy, golden, traits))

    assert len(named) <= 2  # 95 % bounds for all suspects together


def test_ties_are_suspected_where_another_choice_among_them_would_lose_nothing():
    """A constant model loses by ties alone."""
    _, golden, traits = world()

    causes = found(np.zeros_like(golden), golden, traits)

    assert suspected(causes) == [TIES]
    assert causes[TIES].share == pytest.approx(1)


def test_a_place_is_suspected_where_more_is_lost_than_elsewhere():
    """The share is what would go if no more were lost there: all of it, by hand."""
    rng, golden, traits = world()
    there = np.arange(PROMPTS) % 3 == 0
    proxy = np.where(
        there[:, None], rng.normal(size=golden.shape), golden + 0.4 * rng.normal(size=golden.shape)
    )

    causes = found(proxy, golden, traits, {"topic=code": there})

    picked = golden[np.arange(PROMPTS), proxy.argmax(axis=1)]
    loss = golden.max(axis=1) - picked
    expected = (loss[there].sum() - there.sum() * loss[~there].mean()) / loss.sum()
    assert suspected(causes) == ["topic=code"]
    assert causes["topic=code"].share == pytest.approx(expected)


def test_shares_of_the_loss_are_those_counted_by_hand():
    """Golden lost where the pick is longer, and where it is shorter, of all that is lost."""
    rng, golden, traits = world()
    proxy = golden + rng.normal(size=golden.shape)
    rows, length = np.arange(PROMPTS), traits["length"]
    picked, best = proxy.argmax(axis=1), golden.argmax(axis=1)
    loss = golden[rows, best] - golden[rows, picked]
    gap = length[rows, picked] - length[rows, best]

    cause = found(proxy, golden, traits)["length"]

    assert cause.more == pytest.approx(loss[gap > 0].sum() / loss.sum())
    assert cause.less == pytest.approx(loss[gap < 0].sum() / loss.sum())
    spread = np.sqrt((length - length.mean(axis=1, keepdims=True)).var())
    assert cause.gap == pytest.approx(gap.mean() / spread)


def test_what_a_trait_adds_is_the_fall_of_r_squared_without_it():
    """Against least squares done twice, by numpy."""
    rng, golden, traits = world()
    proxy = golden + traits["length"] + rng.normal(size=golden.shape)

    def r_squared(*columns):
        centred = [(c - c.mean(axis=1, keepdims=True)).ravel() for c in (proxy, *columns)]
        y, x = centred[0], np.stack(centred[1:], axis=1)
        return 1 - ((y - x @ np.linalg.lstsq(x, y)[0]) ** 2).sum() / (y**2).sum()

    cause = found(proxy, golden, traits)["length"]

    length, marks = traits.values()
    assert cause.beyond == pytest.approx(
        r_squared(golden, length, marks) - r_squared(golden, marks)
    )
    assert cause.alone == pytest.approx(r_squared(length))


def test_the_baseline_stands_beside():
    """What its reward follows, on the same responses."""
    _, golden, traits = world()
    proxy = golden + traits["length"]

    cause = found(proxy, golden, traits, baseline=golden)["length"]

    assert cause.baseline == pytest.approx(0, abs=1e-6)
    assert found(proxy, golden, traits, baseline=proxy)["length"].baseline == cause.beyond


def test_scale_and_offsets_of_rewards_change_nothing():
    """A Bradley-Terry reward has an arbitrary offset a prompt."""
    rng, golden, traits = world()
    proxy = golden + traits["length"]

    once = found(proxy, golden, traits)
    again = found(7 * proxy + rng.normal(size=(PROMPTS, 1)), golden, traits)

    assert [c.share for c in again.values()] == pytest.approx([c.share for c in once.values()])
    assert again["length"].beyond == pytest.approx(once["length"].beyond)


@pytest.mark.parametrize("prompts", [0, 1, 29])
def test_few_prompts_have_no_suspects(prompts):
    """Fewer than 30 that lose anything say nothing."""
    _, golden, traits = world()
    cut = {name: values[:prompts] for name, values in traits.items()}

    assert found(-golden[:prompts], golden[:prompts], cut) == {}


def test_a_trait_that_no_response_has_is_left_out():
    """It varies nowhere."""
    _, golden, traits = world()

    assert "apology" not in found(-golden, golden, {**traits, "apology": 0 * golden})


def test_some_responses_of_some_prompts_are_a_smaller_pool():
    """With what belongs to their prompts."""
    rewards = Rewards.from_arrays(
        [[1.0, 2, 3], [4, 5], [6, 7]],
        [[0.0, 1, 2], [3, 4], [5, 6]],
        slices={"topic": ["a", "b", "c"]},
    )

    part = thinned(rewards, np.array([0, 2, 5, 6]))

    assert part.proxy.tolist() == [1, 3, 6, 7]
    assert part.golden.tolist() == [0, 2, 5, 6]
    assert part.offsets.tolist() == [0, 2, 4]
    assert part.slices["topic"].tolist() == ["a", "c"]
    assert part.prompt_ids.tolist() == ["0", "2"]
