"""From an interval and a bound to one of three verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rmcheck.checks.bounds import FLAT
from rmcheck.checks.measurement import Measurement
from rmcheck.stats.multiplicity import holm
from rmcheck.stats.power import units_to_decide

Kind = Literal["at_least", "at_most", "max_drop", "max_decay"]
# What is put to a criterion that is not put to the metric itself.
CHANGES: Mapping[str, str] = {"max_drop": "drop ", "max_decay": "decay "}
Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """What is required of a number.

    Attributes:
        kind: `at_least` wants it at the bound or above, the others at the bound or below. A
            `max_drop` is required of the drop against the baseline, a `max_decay` of the fall over
            the steps of the policy.
        bound: In the metric's units.
    """

    kind: Kind
    bound: float

    def __str__(self) -> str:
        sign = ">=" if self.kind == "at_least" else "<="
        return f"{CHANGES.get(self.kind, '')}{sign} {self.bound:g}"

    def met_by(self, number: float) -> bool:
        """Whether a number satisfies the requirement."""
        return number >= self.bound if self.kind == "at_least" else number <= self.bound

    def worse_end(self, lower: float, upper: float) -> float:
        """The end of an interval that must meet the bound for a pass."""
        return lower if self.kind == "at_least" else upper

    def better_end(self, lower: float, upper: float) -> float:
        """The end of an interval that must miss the bound for a fail."""
        return upper if self.kind == "at_least" else lower

    def p_value(self, measurement: Measurement) -> float:
        """Evidence against the requirement being met: small when it is surely missed."""
        level = measurement.distribution.level(self.bound)
        return 1 - level if self.kind == "at_least" else level


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided and why.

    Attributes:
        outcome: Pass, fail or inconclusive.
        reason: Numbers first, short enough for one line of a summary.
        p_value: Of the requirement being met; `p_holm` is adjusted over the suite.
        p_holm: Holm-adjusted p-value; a fail needs it at or below 1 − confidence.
        units_needed: Prompts with which an inconclusive check could decide; None when no number
            is enough or the reason is another.
    """

    outcome: Outcome
    reason: str
    p_value: float
    p_holm: float
    units_needed: int | None = None


def decide(
    criteria: Sequence[Criterion],
    measurements: Sequence[Measurement],
    *,
    checks: int | None = None,
) -> list[Verdict]:
    """Verdicts on all checks of one suite.

    A pass is decided on the uncorrected bound: all checks must pass, which is an
    intersection-union test. A fail is corrected with Holm over all checks given, so that a red
    build is never an artefact of looking at many numbers.

    Args:
        criteria: What is required of each number.
        measurements: The numbers.
        checks: Number of checks that Holm corrects for, where it is more than can be decided now;
            not given, those that can.

    Returns:
        One verdict a check, in the order given.
    """
    pairs = list(zip(criteria, measurements, strict=True))
    p_values = [criterion.p_value(measurement) for criterion, measurement in pairs]
    # A check that cannot be decided, or leaves nothing to chance, cannot fail falsely: it takes no
    # part in Holm.
    family = [i for i, (_, m) in enumerate(pairs) if not (m.estimate.concerns or m.exact)]
    adjusted = [p if m.exact else 1.0 for p, (_, m) in zip(p_values, pairs, strict=True)]
    more = 0 if checks is None else checks - len(family)
    for i, p in zip(family, holm([*(p_values[i] for i in family), *[1.0] * more]), strict=False):
        adjusted[i] = p
    return [
        _decide_one(criterion, measurement, p_values[i], adjusted[i])
        for i, (criterion, measurement) in enumerate(pairs)
    ]


def _decide_one(
    criterion: Criterion, measurement: Measurement, p_value: float, p_holm: float
) -> Verdict:
    e = measurement.estimate
    value = f"{e.value:.3g}" if measurement.exact else str(e)
    numbers = f"{CHANGES.get(criterion.kind, '')}{value}"
    if e.concerns:
        return Verdict("inconclusive", f"{numbers}: {e.concerns[0]}", p_value, p_holm)
    if criterion.met_by(criterion.worse_end(e.lower, e.upper)):
        if measurement.flat:
            reason = f"{numbers} meets {criterion}, and says nothing good: {FLAT}"
            return Verdict("inconclusive", reason, p_value, p_holm)
        return Verdict("pass", f"{numbers} meets {criterion}", p_value, p_holm)
    misses = not criterion.met_by(criterion.better_end(e.lower, e.upper))
    side = "below" if criterion.kind == "at_least" else "above"
    if misses and p_holm <= 1 - e.confidence:
        reason = f"{numbers} is {side} {criterion.bound:g}"
        return Verdict("fail", reason, p_value, p_holm)
    if misses:
        reason = f"{numbers} is {side} {criterion.bound:g} alone, not among all checks (Holm)"
        return Verdict("inconclusive", reason, p_value, p_holm)
    needed = units_to_decide(
        n=e.n, value=e.value, lower=e.lower, upper=e.upper, bound=criterion.bound
    )
    reason = f"{numbers} straddles {criterion.bound:g}"
    return Verdict("inconclusive", reason, p_value, p_holm, needed)
