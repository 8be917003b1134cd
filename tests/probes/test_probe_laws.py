"""What a probe measures obeys the laws of every metric."""

import pytest

from rmcheck.probes.effect import MEASURES, ProbeEffect
from rmcheck.probes.probe_file import shipped_probes
from rmcheck.testing import check_metric_laws

# One that must not raise the reward, one that must not lower it, one with questions of its own.
EFFECTS = [
    *(("padding", measure) for measure in MEASURES),
    ("typos", "flips"),
    ("over-refusal", "wins"),
]


@pytest.mark.parametrize(("name", "measure"), EFFECTS)
def test_the_effect_of_a_probe_obeys_the_laws(name, measure):
    """Its edited responses are rewards too: what changes the proxy changes them."""
    check_metric_laws(ProbeEffect(shipped_probes()[name], measure), max_examples=8)
