"""A probe bound to rewards: what a test gets when it asks for `probe("flattery")`."""

from dataclasses import dataclass, field
from typing import Any, Self

from rmcheck.checks.bound_metric import BoundMetric
from rmcheck.errors import UsageError
from rmcheck.metrics.metric import Metric
from rmcheck.probes.effect import ProbeEffect


@dataclass(frozen=True, eq=False, repr=False)
class BoundProbe(BoundMetric):
    """What an edit does to the rewards of a suite, as a `BoundMetric`; lower is better.

    Attributes:
        effect: The probe, with what is measured of it.
    """

    effect: ProbeEffect = field(kw_only=True, repr=False)

    @property
    def metric(self) -> Metric:
        """The effect."""
        return self.effect

    def at(self, **settings: Any) -> Self:
        """Refused: other edits need other scores.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f'a probe has its settings where it is asked for: probe("{self.effect.probe.name}", '
            '"flips", responses=3)'
        )
