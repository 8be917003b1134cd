"""A metric over pools of a policy at several steps."""

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.curves.decay import decay
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards


def pools(signals, *, prompts=80, seed=0, same=False):
    """Rewards at steps 0, 100, …: at each the correlation of proxy and golden is the signal."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(len(signals), prompts, 6))
    noise = rng.normal(size=golden.shape)
    if same:
        golden[:], noise[:] = golden[0], noise[0]
    signal = np.array(signals)[:, None, None]
    proxy = signal * golden + np.sqrt(1 - signal**2) * noise
    return Rewards.from_arrays(
        proxy.reshape(-1, 6),
        golden.reshape(-1, 6),
        clusters=list(range(prompts)) * len(signals),
        slices={"policy_step": [str(100 * i) for i in range(len(signals)) for _ in range(prompts)]},
    )


def test_a_metric_that_falls_is_said_to_fall():
    """The slope is from the first step to the last, with an upper bound below 0."""
    found = decay(pools([0.95, 0.8, 0.6, 0.3]), "policy_step", Accuracy())

    assert found.steps == (0, 100, 200, 300)
    assert found.decays
    assert found.lower < found.slope < found.upper < 0
    assert found.slope == pytest.approx(found.at.values[-1] - found.at.values[0], abs=0.1)


def test_a_metric_that_stays_is_not_said_to_fall():
    """In nineteen of twenty such worlds and more."""
    wrong = [decay(pools([0.7] * 3, seed=s), "policy_step", Accuracy()).decays for s in range(40)]

    assert np.mean(wrong) <= 0.1


def test_values_are_those_of_the_metric_on_each_step():
    """The same as on the rewards of that step alone."""
    rewards = pools([0.9, 0.5])
    found = decay(rewards, "policy_step", make_metric("ndr", n=2))
    part = Rewards.from_arrays(
        rewards.proxy.reshape(-1, 6)[:80], rewards.golden.reshape(-1, 6)[:80]
    )
    metric = make_metric("ndr", n=2)
    (block,) = part.blocks()

    assert found.at.values[0] == pytest.approx(
        float(metric.value(metric.block_sums(block).sum(axis=0)))
    )


def test_the_same_answers_at_every_step_have_a_slope_of_exactly_nothing():
    """Prompts of one unit are drawn together."""
    found = decay(pools([0.7, 0.7], same=True), "policy_step", Accuracy())

    assert (found.slope, found.lower, found.upper) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_model_holds_up_to_the_last_step_before_it_misses():
    """Whatever comes after; None where the first step misses already."""
    found = decay(pools([0.95, 0.9, 0.2, 0.95], prompts=300), "policy_step", Accuracy())

    assert found.holds_to(0.7) == 100
    assert found.holds_to(0.999) is None
    assert found.holds_to(0.1) == 300


@pytest.mark.parametrize(
    ("column", "spoil", "said"),
    [
        ("step", None, "no slice 'step'"),
        ("policy_step", ["late"] * 160, "must be the step of the policy"),
        ("policy_step", ["nan"] * 160, "not finite"),
        ("policy_step", ["1"] * 160, "has one step"),
        ("policy_step", ["1"] * 155 + ["2"] * 5, "fewer than 10 prompts at step 2 (5)"),
    ],
)
def test_steps_that_tell_nothing_are_refused(column, spoil, said):
    """With what is wrong."""
    rewards = pools([0.9, 0.5])
    if spoil:
        rewards.slices["policy_step"] = np.array(spoil)

    with pytest.raises(UndefinedMetricError, match=said.replace("(", r"\(").replace(")", r"\)")):
        decay(rewards, column, Accuracy())
