"""Deciding a suite on as few of its prompts as the evidence needs (`adaptive: true`).

Prompts are taken in an order that is random but fixed, and all checks are decided at a few looks,
with bounds that hold at all looks together (`rmcheck.stats.sequential`). What is decided stays
decided; scoring ends when nothing is open. The order and the looks do not depend on what the store
knows already, so neither does a verdict.

A metric that fixes something on the pool first (bin edges, the way to predict regret) fixes it on
the prompts that are in.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.checks.bounds import one_sided_bounds
from rmcheck.checks.measurement import Measurement
from rmcheck.checks.verdict import Verdict
from rmcheck.errors import RmcheckError, UndefinedMetricError
from rmcheck.models.model import RewardModel
from rmcheck.run.judge import Judged, decide_all
from rmcheck.run.loaded import LoadedSuite
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.stats.sequential import Looks, Repeated
from rmcheck.store.scores import Store

# Shares of the independent prompts at the looks. Each look costs some power at the later ones, and
# most of what can be spared is spared by the first few.
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)

Key = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Look:
    """The prompts of a suite that are in when its checks are decided.

    Attributes:
        number: Counted from 0.
        looks: When one looks at this suite.
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
    """When to look at a suite, and at which prompts.

    Independent units are never cut. A look at fewer of them than `min_prompts` could decide
    nothing and is left out, so that a small pool is looked at once, like any suite.

    Args:
        loaded: The suite.
        seed: Of the order of the prompts; the suite's where not given.
    """
    units = loaded.units
    sizes = [math.ceil(share * units) for share in SHARES]
    sizes = [n for n in dict.fromkeys(sizes) if n >= loaded.sampling.min_prompts or n == units]
    looks = Looks(tuple(n / units for n in sizes))
    rng = np.random.default_rng(loaded.sampling.seed if seed is None else seed)
    place = np.argsort(rng.permutation(units))[loaded.clusters]
    found, before = [], 0
    for number, size in enumerate(sizes):
        new = loaded.part((place >= before) & (place < size))
        part = loaded if size == units else loaded.part(place < size)
        found.append(Look(number, looks, new, part))
        before = size
    return tuple(found)


@dataclass(frozen=True)
class Decision:
    """A check that was decided, or could not be at the last look.

    Attributes:
        judged: What was measured.
        verdict: What was decided.
        look: When.
    """

    judged: Judged
    verdict: Verdict
    look: Look


class AdaptiveSuite:
    """A suite that is looked at until each of its checks is decided.

    Args:
        loaded: The suite.
        seed: See `plan_looks`.

    Attributes:
        decisions: Key of each check to how it was decided, or to the error that it ended with.
    """

    def __init__(self, loaded: LoadedSuite, seed: int | None = None) -> None:
        self.loaded = loaded
        self.looks = plan_looks(loaded, seed)
        self.decisions: dict[Key, Decision | RmcheckError] = {}
        self._taken = 0

    @property
    def is_open(self) -> bool:
        """Whether another look is needed."""
        return self._taken < len(self.looks) and len(self.decisions) < len(self.loaded.planned)

    @property
    def next(self) -> Look:
        """The look that comes next."""
        return self.looks[self._taken]

    @property
    def last(self) -> Look | None:
        """The look that was taken last, if any was."""
        return self.looks[self._taken - 1] if self._taken else None

    def decide(self, found: Mapping[Key, Judged | RmcheckError]) -> None:
        """Take a look.

        A check that is undefined yet stays open, and counts in Holm's correction all the same: at
        a later look it could fail. One without its baseline is not open: nothing will bring it.

        Args:
            found: What `judge` found on the prompts of `next`, its bounds made `repeated`.
        """
        look = self.next
        self._taken += 1
        known = {k: d.judged for k, d in self.decisions.items() if isinstance(d, Decision)}
        judged = {k: j for k, j in found.items() if isinstance(j, Judged)} | known
        checks = len(self.loaded.planned) if len(self.looks) > 1 else None
        verdicts = decide_all(list(judged.values()), checks=checks)
        for (key, one), verdict in zip(judged.items(), verdicts, strict=True):
            if verdict.outcome != "inconclusive" or look.is_last:
                self.decisions.setdefault(key, Decision(one, verdict, look))
        errors = {
            key: error
            for key, error in found.items()
            if isinstance(error, RmcheckError)
            and (look.is_last or not isinstance(error, UndefinedMetricError))
        }
        self.decisions = {**errors, **self.decisions}

    def data(self) -> dict[str, Any]:
        """What was spared, for the report; nothing before the first look."""
        if self.last is None:
            return {}
        whole, part = self.loaded, self.last.part
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
                for look in self.looks[: self._taken]
            ],
        }

    def _decided_at(self, look: Look) -> int:
        """Number of checks that passed or failed at a look."""
        return sum(
            isinstance(d, Decision) and d.look is look and d.verdict.outcome != "inconclusive"
            for d in self.decisions.values()
        )


class LoadedModel:
    """Scores for one model after another; the one that scored last stays loaded.

    Models need not fit into memory together, so one is released before the next is loaded.

    Attributes:
        reports: Fingerprint to what was done for a model in all.
    """

    def __init__(self) -> None:
        self.reports: dict[str, ScoringReport] = {}
        self._model: RewardModel | None = None

    def fill(self, requests: Sequence[Request], store: Store) -> ScoringReport:
        """`fill_requests` for the requests of one model.

        Raises:
            ScoringError, ConformanceError, StoreError, UsageError: See `fill_requests`.
        """
        model = requests[0].model
        scores = store.open(model.fingerprint)
        if any(scores.lookup(r.keys, r.too_long).missing.any() for r in requests):
            if self._model is not model:
                self.close()
            self._model = model
        report = fill_requests(requests, store, release=False)
        before = self.reports.get(model.fingerprint)
        self.reports[model.fingerprint] = before.plus(report) if before else report
        return report

    def close(self) -> None:
        """Release the model that is loaded, if any."""
        if self._model is not None:
            self._model.close()
        self._model = None


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Keep the other processes of a run out: they would load the models a second time.

    Args:
        folder: That the processes share; made where there is none.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "looks.lock"):
        yield
