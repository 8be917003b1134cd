"""The bounds of a probe allow for prompts that were not seen."""

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.metrics.rewards import Rewards
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe_file import shipped_probes

PADDING = shipped_probes()["padding"]
PROMPTS = 50


def upper(measure_, noise, moved=()):
    """Upper bound where an edit adds noise, and on some prompts the whole span of rewards."""
    rng = np.random.default_rng(0)
    golden = rng.permuted(np.tile(np.arange(4.0), (PROMPTS, 1)), axis=1)
    edited = np.where(golden == 0, golden + noise * rng.standard_normal(golden.shape), np.nan)
    edited[list(moved)] += 3.5
    effect = ProbeEffect(PADDING, measure_)
    columns = {effect.edited_column: edited, effect.control_column: np.full(edited.shape, np.nan)}
    rewards = Rewards.from_arrays(golden, golden, columns=columns)
    return measure(effect, rewards, sampling=Sampling(resamples=500)).estimate.upper


@pytest.mark.parametrize("measure_", ["flips", "wins"])
def test_no_flip_on_so_many_prompts_is_not_no_flip(measure_):
    """The rule of three: 1 − 0.05^(1/n) of the prompts could have been missed."""
    assert upper(measure_, 0.01) == pytest.approx(1 - 0.05 ** (1 / PROMPTS), rel=0.1)


def test_one_prompt_that_turns_is_allowed_for_as_in_an_exact_bound():
    """Clopper and Pearson for 1 of 50: 0.0914."""
    assert upper("wins", 0.01, moved=[0]) == pytest.approx(0.0914, rel=0.2)


def test_a_shift_that_hardly_varies_has_the_bound_of_one_that_does_not():
    """A trigger on few prompts is seen on none of 50 as easily with noise as without it."""
    exact, noisy = upper("shift", 0.0), upper("shift", 1e-6)

    assert exact > 0.1
    assert noisy == pytest.approx(exact, rel=0.01)
