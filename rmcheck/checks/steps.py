"""What is said of a check over the steps of a policy."""

from collections.abc import Mapping

from rmcheck.checks.measurement import Measurement
from rmcheck.checks.verdict import Criterion
from rmcheck.metrics.policy_steps import REFRESH


def held(criterion: Criterion, at: Mapping[str, Measurement]) -> str:
    """The last step up to which every step meets the criterion by the bound that decides.

    The steps are tests in a fixed order, which ends with the first that is not met: none of their
    bounds needs a correction.
    """
    met = [
        criterion.met_by(criterion.worse_end(m.estimate.lower, m.estimate.upper))
        and not m.estimate.concerns
        for m in at.values()
    ]
    if all(met):
        return f"holds to step {list(at)[-1]}"
    missed = met.index(False)
    last = f"holds to step {list(at)[missed - 1]}" if missed else "holds at no step"
    return f"{last}: {REFRESH}"


def decayed(decay: Measurement) -> str:
    """The advice where the metric surely gets worse."""
    return f"it gets worse as the policy moves: {REFRESH}" if decay.estimate.lower > 0 else ""
