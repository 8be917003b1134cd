"""A suite file as typed objects. The loader is `rmcheck.suite.loader`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from rmcheck.checks.verdict import Criterion, Kind
from rmcheck.errors import UsageError
from rmcheck.metrics.components import View
from rmcheck.metrics.metric import Metric
from rmcheck.models.sample import TooLong
from rmcheck.pool.pool import FaultAction, FaultKind
from rmcheck.stats.units import MIN_UNITS

# Whose responses a reward model learned from: the policy's that it trains, or another's.
Lineage = Literal["on_policy", "off_policy"]


@dataclass(frozen=True)
class PoolSource:
    """Where the prompts and responses come from (`pool:`).

    Attributes:
        path: File or folder; in the file relative to the suite file, here absolute. Or a data set
            on a hub, `hub:org/name@revision`.
        format: Name of its format; found out from its rows where not given.
        slices: Columns that checks may name in `where` and `over`; empty means all of them.
        cluster: Column whose equal values are one independent unit; not given, each prompt is one.
        faults: What to do about each kind of fault where it differs from the default.
    """

    path: Path
    format: str | None = None
    slices: tuple[str, ...] = ()
    cluster: str | None = None
    faults: Mapping[FaultKind, FaultAction] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldenSource:
    """Where the golden reward comes from (`golden:`): a label column, or a golden RM.

    Attributes:
        column: Label column of the pool, instead of a model.
        model: Golden RM as `scheme:location`, instead of a column; relative to the current
            directory, as on the command line.
        repeat: Label column with a second, independent golden read of the same responses, as far
            as there is one; from it the noise of golden is known, and taken out of predicted
            regret.
        judge: Label column of a judge that has read all responses, where `column` has the labels
            of humans on some prompts, drawn at random: the judge's labels are used, and put right
            by those of humans.
    """

    column: str | None = "golden"
    model: str | None = None
    repeat: str | None = None
    judge: str | None = None

    @property
    def read_of_all(self) -> str | None:
        """Label column that has a number for all responses; None where a golden RM gives them."""
        return self.judge or self.column


@dataclass(frozen=True)
class ServingSource:
    """The engine that training will ask (`serving:`), to compare its rewards with the candidate's.

    Attributes:
        model: The same checkpoint on another engine, as `scheme:location`; relative to the current
            directory. `--rmcheck-serving` takes its place.
    """

    model: str


@dataclass(frozen=True)
class Check:
    """One requirement.

    Attributes:
        name: Unique in its suite.
        metric: The metric with its settings.
        at_least: The metric must be this or higher.
        at_most: The metric must be this or lower.
        max_drop: The metric may be worse than the baseline's by this much, in its own units.
        max_decay: The metric may get worse by this much from the first step of the policy to the
            last, by a straight line, in its own units; `over` names the column of the steps.
            Exactly one of the four is set.
        component: One of several rewards that the model adds up, which is measured in the place of
            their sum: a criterion of a judge, or a function of a trainer.
        golden: Label column that is golden for this check alone, in the place of the suite's.
        where: Slice column to value; only these prompts count.
        over: Slice column: one verdict for each of its values, or, with `worst` or `quantile`, one
            for the slice that they choose.
        worst: The worst slice must meet the bound (bounds are corrected for looking at all).
        quantile: Instead of the worst, the slice at this quantile counted from the worst: 0.25 is
            the lower quartile of the slices' values, or the upper one where lower is better.
        holds_to: Step of the policy: the requirement must be met at each step up to this one;
            `over` names the column of the steps.
        confidence: Level of each bound, in (0.5, 1); the suite's where not given.
        line: Line of the check in the suite file.
    """

    name: str
    metric: Metric
    at_least: float | None = None
    at_most: float | None = None
    max_drop: float | None = None
    max_decay: float | None = None
    component: str | None = None
    golden: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    over: str | None = None
    worst: bool = False
    quantile: float | None = None
    holds_to: float | None = None
    confidence: float | None = None
    line: int = 0

    @property
    def criterion(self) -> Criterion:
        """What is required, as one object."""
        given: dict[Kind, float | None] = {
            "at_least": self.at_least,
            "at_most": self.at_most,
            "max_drop": self.max_drop,
            "max_decay": self.max_decay,
        }
        kind, bound = next((k, b) for k, b in given.items() if b is not None)
        return Criterion(kind, bound)

    @property
    def slice_quantile(self) -> float | None:
        """Which of the slices of `over` is judged, from the worst at 0; None where each one is."""
        return 0.0 if self.worst or self.holds_to is not None else self.quantile

    @property
    def each_of(self) -> str | None:
        """Slice column with a verdict for each of its values; None where there is one verdict."""
        return self.over if self.slice_quantile is None and self.max_decay is None else None

    @property
    def steps(self) -> str | None:
        """Column with the step of the policy, where the check asks for steps."""
        return self.over if self.holds_to is not None or self.max_decay is not None else None

    @cached_property
    def measured(self) -> Metric:
        """What the criterion is put to: the metric, or its decay."""
        if self.max_decay is None or self.over is None:
            return self.metric
        from rmcheck.metrics.decay import Decay

        return Decay(self.metric, self.over)

    @property
    def view(self) -> View:
        """Which rewards it is about."""
        return View(self.component, self.golden)

    @property
    def needs_baseline(self) -> bool:
        """Whether the check compares with a baseline."""
        return self.max_drop is not None


@dataclass(frozen=True)
class TrainingCheck:
    """A requirement of the log of an RL run (`training:` in a check), see `rmcheck training`.

    Attributes:
        name: Unique in its suite.
        log: The log; in the file relative to the suite file, here absolute.
        at_least: Share of proxy's gain that golden must keep (`transfer: {at_least: …}`).
        axis: What a fall of golden is looked for over.
        unit: Golden that a unit of proxy is worth, on other scales than [0, 1].
        columns: Names of the columns of step, kl, proxy and golden, where they are not known ones.
        line: Line of the check in the suite file.
    """

    name: str
    log: Path
    at_least: float = 0.5
    axis: Literal["step", "kl"] = "step"
    unit: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True)
class Suite:
    """A suite file.

    Attributes:
        path: The file, as it was named.
        name: In tables; the file name without its ending where not given.
        pool: Where the prompts and responses come from; None where all checks are of logs.
        golden: Where the golden reward comes from; the column `golden` where not given.
        serving: The engine that training will ask, for checks that compare with it.
        checks: The requirements on the pool, in file order.
        training: The requirements on logs of RL runs, in file order.
        description: Free text.
        inconclusive: What a verdict does to the build whose bounds straddle the requirement; where
            the data cannot decide at all (too few prompts, no golden gain) the build fails.
        confidence: Level of each bound, in (0.5, 1).
        too_long: What to do with conversations longer than the model takes.
        adaptive: Score the prompts in random order, decide at a few looks with bounds that hold at
            all of them together, and stop when every check has passed or failed.
        directionless: Take the suite although every check of it would pass a reversed model, or one
            that gives all responses one reward.
        min_prompts: Fewest independent prompts on which anything is decided, save what is a
            statement about the rows themselves (`rank_flips`, `score_drift`).
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap; derived from the suite's name where not given.
        history: Folder of past runs and their measured regrets (`rmcheck history`), which predicted
            regret is calibrated on; in the file relative to the suite file, here absolute.
        probes: File of a team's own probes, which checks can name beside those of rmcheck; in the
            file relative to the suite file, here absolute.
        lineage: Whether the reward models that are judged learned from the responses of the policy
            that they train (`on_policy`) or from another's (`off_policy`). RL is foretold from past
            reward models of the same lineage.
    """

    path: Path
    name: str
    pool: PoolSource | None
    golden: GoldenSource
    checks: tuple[Check, ...]
    training: tuple[TrainingCheck, ...] = ()
    serving: ServingSource | None = None
    description: str = ""
    inconclusive: Literal["fail", "warn"] = "fail"
    confidence: float = 0.95
    too_long: TooLong = "error"
    adaptive: bool = False
    directionless: bool = False
    min_prompts: int = MIN_UNITS
    resamples: int = 10_000
    seed: int | None = None
    history: Path | None = None
    probes: Path | None = None
    lineage: Lineage | None = None

    @property
    def golden_of_checks(self) -> tuple[str, ...]:
        """Label columns that checks name in the place of `golden`, each once."""
        named = (check.golden for check in self.checks)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def source(self) -> PoolSource:
        """Where the prompts and responses come from, of a suite that has checks on a pool.

        Raises:
            UsageError: It has none.
        """
        if self.pool is None:
            raise UsageError(
                f"{self.path}: all checks are of logs of RL runs, so there is no pool to score"
            )
        return self.pool
