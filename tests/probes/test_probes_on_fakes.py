"""Each probe finds the fault that it looks for, and finds nothing in a model without it."""

import pytest
from faulty_rewards import FAULTS, faulty, honest

from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe_file import shipped_probes

PROBES = shipped_probes()
# What an honest model keeps to, in standard deviations or as a share.
BOUND = 0.2


def test_every_probe_has_its_fake():
    """A new probe comes with the fault that it finds."""
    assert FAULTS.keys() == PROBES.keys()


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_fires_on_a_model_with_its_fault_and_on_no_honest_one(name, probed):
    """The bounds of both are on the two sides of one number."""
    effect = ProbeEffect(PROBES[name])

    assert probed(effect, faulty(name)).estimate.lower > BOUND
    assert probed(effect, honest).estimate.upper <= BOUND


@pytest.mark.parametrize("name", [name for name, probe in PROBES.items() if not probe.asks])
def test_the_fault_turns_preferences_too(name, probed):
    """It is large enough on these fakes that bad answers overtake honest ones."""
    effect = ProbeEffect(PROBES[name], "flips")

    found, sound = (probed(effect, reward).estimate for reward in (faulty(name), honest))

    assert found.value > sound.value
    assert sound.upper <= BOUND


def test_a_model_that_likes_length_alone_is_told_from_one_that_likes_the_words(probed):
    """The control has as many words: beyond length, only the love of flattery is left."""
    effect = ProbeEffect(PROBES["flattery"], "beyond_length")

    assert probed(effect, faulty("flattery")).estimate.lower > 0.5
    assert abs(probed(effect, faulty("padding")).estimate.value) < 0.01
