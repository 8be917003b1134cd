"""Verdicts on all checks of a suite: at once, or at a few looks (`adaptive: true`).

An adaptive suite is decided on as few of its prompts as the evidence needs. They are taken in an
order that is random but fixed, and all checks are decided at a few looks, with bounds that hold at
all looks together (`rmcheck.stats.sequential`). What is decided stays decided; scoring ends when
nothing is open. The order and the looks do not depend on what the store knows already, so neither
does a verdict. Any other suite has one look, at all of its prompts.

A metric that fixes something on the pool first (bin edges, the way to predict regret) fixes it on
the prompts that are in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.measurement import Measurement
from rmcheck.checks.verdict import Verdict, decide
from rmcheck.errors import RmcheckError, UndefinedMetricError
from rmcheck.run.find import Finding, Found, Key
from rmcheck.run.loaded import LoadedSuite
from rmcheck.stats.sequential import Looks, Repeated

# Shares of the independent prompts at the looks. Each look costs some power at the later ones, and
# most of what can be spared is spared by the first few.
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)


@dataclass(frozen=True, eq=False)
class Look:
    """The prompts of a suite that are in when its checks are decided.

    Attributes:
        new: The suite with the prompts that come in for this look.
        part: The suite with all prompts that are in; at the last look, the suite.
    """

    number: int
    looks: Looks
    new: LoadedSuite
    part: LoadedSuite

    @property
    def is_last(self) -> bool:
        """Whether all prompts are in."""
        return self.number + 1 == len(self.looks.shares)

    def repeated(self, measurement: Measurement) -> Measurement:
        """The measurement with bounds that hold at all looks together."""
        if len(self.looks.shares) == 1:
            return measurement
        e = measurement.estimate
        distribution = Repeated(measurement.distribution, self.looks, self.number)
        lower, upper = one_sided_bounds(distribution, e.value, e.confidence)
        estimate = replace(e, lower=lower, upper=upper)
        return replace(measurement, estimate=estimate, distribution=distribution)

    def level(self, confidence: float) -> float:
        """Level of each bound at this look alone, with which all looks together have another."""
        return 1 - self.looks.nominal(1 - confidence, self.number)


def plan_looks(loaded: LoadedSuite, seed: int | None = None) -> tuple[Look, ...]:
    """When to look at an adaptive suite, and at which prompts.

    Independent units are never cut. A look at fewer of them than `min_prompts` could decide
    nothing and is left out, so that a small pool is looked at once, like any suite.
    """
    units = loaded.units
    sizes = [math.ceil(share * units) for share in SHARES]
    sizes = [n for n in dict.fromkeys(sizes) if n >= loaded.sampling.min_prompts or n == units]
    looks = Looks(tuple(n / units for n in sizes))
    rng = np.random.default_rng(loaded.sampling.seed if seed is None else seed)
    place = np.argsort(rng.permutation(units))[loaded.frame.clusters]
    found, before = [], 0
    for number, size in enumerate(sizes):
        new = loaded.part((place >= before) & (place < size))
        part = loaded if size == units else loaded.part(place < size)
        found.append(Look(number, looks, new, part))
        before = size
    return tuple(found)


def one_look(loaded: LoadedSuite) -> tuple[Look, ...]:
    """A look at the whole suite."""
    return (Look(0, Looks((1.0,)), loaded, loaded),)


@dataclass(frozen=True)
class Decided:
    """A check that was decided, or could not be at the last look."""

    finding: Finding
    verdict: Verdict
    look: Look


@dataclass(frozen=True, eq=False)
class SuiteVerdicts:
    """What the checks of a suite came to so far.

    Attributes:
        decided: Key of each check that is no longer open to how it was decided, or to the error
            that it ended with.
    """

    loaded: LoadedSuite
    looks: tuple[Look, ...]
    taken: int = 0
    decided: Mapping[Key, Decided | RmcheckError] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether another look is needed."""
        return self.taken < len(self.looks) and len(self.decided) < len(self.loaded.planned)

    @property
    def next(self) -> Look:
        """The look that comes next."""
        return self.looks[self.taken]

    @property
    def seen(self) -> LoadedSuite:
        """The part of the suite that was looked at last; the whole before the first look."""
        return self.looks[self.taken - 1].part if self.taken else self.loaded

    def failed(self, error: RmcheckError) -> "SuiteVerdicts":
        """Every check ends with an error: there is nothing to look at."""
        return replace(self, decided={planned.key: error for planned in self.loaded.planned})

    def after(self, found: Found) -> "SuiteVerdicts":
        """Take the next look.

        A check that is undefined yet stays open, and counts in Holm's correction all the same: at
        a later look it could fail. One without its baseline is not open: nothing will bring it.
        """
        look = self.next
        known = {k: d.finding for k, d in self.decided.items() if isinstance(d, Decided)}
        findings = {k: f for k, f in found.items() if isinstance(f, Finding)} | known
        checks = len(self.loaded.planned) if len(self.looks) > 1 else None
        criteria = [finding.planned.check.criterion for finding in findings.values()]
        measured = [finding.measurement for finding in findings.values()]
        verdicts = decide(criteria, measured, checks=checks)
        decided = {
            key: Decided(finding, verdict, look)
            for (key, finding), verdict in zip(findings.items(), verdicts, strict=True)
            if verdict.outcome != "inconclusive" or look.is_last
        }
        errors = {
            key: error
            for key, error in found.items()
            if isinstance(error, RmcheckError)
            and (look.is_last or not isinstance(error, UndefinedMetricError))
        }
        # What was decided at an earlier look stays decided.
        return replace(self, taken=self.taken + 1, decided={**errors, **decided, **self.decided})

    def signature(self, part: LoadedSuite) -> str:
        """What of the looks belongs into the signature of a check that was decided on a part."""
        if len(self.looks) == 1:
            return ""
        prompts = f"|prompts:{len(part.pool.prompts)}" if part is not self.loaded else ""
        return f"|looks:{len(self.looks)}{prompts}"

    def spared(self) -> dict[str, Any]:
        """How much of the pool was scored, for the report; nothing before the first look."""
        if not self.taken:
            return {}
        whole, part = self.loaded, self.seen
        confidence = whole.suite.confidence
        return {
            "prompts": len(part.pool.prompts),
            "of_prompts": len(whole.pool.prompts),
            "responses": len(part.samples),
            "of_responses": len(whole.samples),
            "confidence": confidence,
            "planned_looks": len(self.looks),
            "looks": [
                {
                    "prompts": len(look.part.pool.prompts),
                    "level": look.level(confidence),
                    "decided": self._decided_at(look),
                }
                for look in self.looks[: self.taken]
            ],
        }

    def _decided_at(self, look: Look) -> int:
        """Number of checks that passed or failed at a look."""
        return sum(
            isinstance(d, Decided) and d.look is look and d.verdict.outcome != "inconclusive"
            for d in self.decided.values()
        )
