"""A suite with its pool: everything that can be known before a model is opened."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.measurement import Sampling
from rmcheck.metrics.components import golden_column
from rmcheck.metrics.judged import HUMAN
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.regret.nested_columns import CHOSEN_AT, RANDOM
from rmcheck.metrics.reliability import REPEAT
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.scored import Scored
from rmcheck.metrics.serving import SERVING
from rmcheck.models.sample import Sample
from rmcheck.pool.asked import GOLDEN
from rmcheck.pool.labels import inclusion
from rmcheck.pool.pool import Pool
from rmcheck.pool.traits import DrawnTraits, drawn_traits
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.texts import ProbeTexts
from rmcheck.scoring.request import PoolSamples
from rmcheck.suite.suite import Check, Suite
from rmcheck.wording import printable

if TYPE_CHECKING:  # read where a suite has one
    from rmcheck.history.history import HistoryContents


@dataclass(frozen=True)
class PlannedCheck:
    """One check, on one slice: what becomes one pytest item and one line of the table.

    Attributes:
        conditions: Slice column to value; the prompts that count.
    """

    suite: Suite
    check: Check
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the check, with the slice value where there is one check a value."""
        over = self.check.each_of
        if over is None:
            return printable(self.check.name)
        return printable(f"{self.check.name}[{over}={self.conditions[over]}]")

    @property
    def slice(self) -> str:
        """The slice in words, such as `category=code`; empty for the whole pool."""
        return ",".join(f"{column}={value}" for column, value in self.conditions.items())

    @property
    def key(self) -> tuple[str, str]:
        """Unique in the suite."""
        return (self.check.name, self.slice)


@dataclass(frozen=True, eq=False)
class LoadedSuite:
    """A suite and its pool, with the pool's samples in one fixed order.

    Two of them are never equal: a suite and a part of it are kept apart by which object they are.

    Attributes:
        pool: The pool as read; when golden is a column, only responses that have that label.
        history: What the folder that the suite names holds, where it names one.
        whole: The same prompts with the responses that are scored though nobody has labelled them,
            where there are such.
    """

    suite: Suite
    pool: Pool
    history: "HistoryContents | None" = None
    whole: Pool | None = None

    @property
    def scored(self) -> Pool:
        """The pool with every response that is scored."""
        return self.whole or self.pool

    @cached_property
    def samples(self) -> PoolSamples:
        """(M',) every response that is scored, prompt by prompt."""
        golden = self.suite.golden
        named = (golden.column, golden.judge, golden.repeat, *self.suite.golden_of_checks)
        return PoolSamples(self.scored, GOLDEN | set(filter(None, named)))

    @cached_property
    def is_labelled(self) -> NDArray[np.bool_]:
        """(M',) True where a sample has a golden reward."""
        if self.labels is None:
            return np.ones(len(self.samples), dtype=bool)
        return np.isfinite(self.labels)

    @cached_property
    def labels(self) -> NDArray[np.float64] | None:
        """(M',) golden rewards from the pool's column, NaN where a sample has none.

        None when a golden RM gives them.
        """
        column = self.suite.golden.read_of_all
        if self.suite.golden.model is not None or column is None:
            return None
        return self.scored.columns.label(column)

    def filled(self, golden: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M',) golden rewards, with those of a prompt in turn where its responses have none.

        For what stands for a model: nothing else may read what nobody has judged.
        """
        found = golden.copy()
        for part in np.split(found, self.scored.columns.ends[1:-1]):
            known = np.isfinite(part)
            part[~known] = np.resize(part[known], int((~known).sum()))
        return found

    def with_golden(self, golden: NDArray[np.float64]) -> list[Sample]:
        """The samples with their (M',) golden rewards, see `filled`, for fakes that repeat them."""
        pairs = zip(self.samples, self.filled(golden), strict=True)
        return [replace(sample, golden=float(value)) for sample, value in pairs]

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """(M',) characters of each sample: the proxy that every benchmark should beat."""
        return self.scored.columns.lengths.astype(np.float64)

    @cached_property
    def frame(self) -> Rewards:
        """Rewards without those of a model: what checks may ask of the pool."""
        columns = self.pool.columns
        empty = np.zeros(columns.indices.size)
        clusters = np.where(columns.clusters == "", columns.prompt_ids, columns.clusters)
        return Rewards(
            proxy=empty,
            golden=empty,
            offsets=columns.ends,
            prompt_ids=columns.prompt_ids.astype(np.str_),
            clusters=np.unique(clusters.astype(np.str_), return_inverse=True)[1].astype(np.int64),
            slices={column: columns.slice(column) for column in self._slice_columns()},
            columns={LENGTH: self.lengths[self.is_labelled]} | self._columns(),
            scored=self._scored(np.zeros(len(self.samples))),
        )

    def _scored(self, proxy: NDArray[np.float64]) -> Scored | None:
        """All (M',) scores, where some responses have no label."""
        column = self.suite.golden.read_of_all
        if self.whole is None or column is None:
            return None
        chances = inclusion(self.whole, column)
        return Scored.from_labels(proxy, self.whole.columns.ends, self.is_labelled, chances)

    def _slice_columns(self) -> list[str]:
        """What checks may ask for: the columns that the suite lists, and those of steps."""
        known = self.pool.slice_columns
        steps = [column for column in self._step_columns() if column in known]
        return list(dict.fromkeys([*(self.suite.source.slices or known), *steps]))

    def _step_columns(self) -> list[str]:
        return [check.steps for check in self.suite.checks if check.steps is not None]

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        """What the pool tells of each response beside golden."""
        golden = self.suite.golden
        named = {RANDOM: RANDOM, CHOSEN_AT: CHOSEN_AT, REPEAT: golden.repeat}
        named |= {HUMAN: golden.column} if golden.judge else {}
        named |= {column: column for column in self._step_columns()}
        named |= {golden_column(column): column for column in self.suite.golden_of_checks}
        known = self.pool.label_columns
        return {
            name: self.pool.columns.label(column)
            for name, column in named.items()
            if column in known
        }

    @cached_property
    def fingerprint(self) -> str:
        """Of the pool, as far as it was read."""
        return self.scored.fingerprint()

    @property
    def units(self) -> int:
        """Number of independent prompts."""
        return self.frame.units

    @cached_property
    def probed(self) -> ProbeTexts | None:
        """What its probes have models score beside the pool; None where no check is of a probe."""
        found = [c.metric for c in self.suite.checks if isinstance(c.metric, ProbeEffect)]
        if not found:
            return None
        return ProbeTexts.of(found, self.pool.prompts, self.pool.columns.ends)

    def probing(self, effect: ProbeEffect) -> "LoadedSuite":
        """The suite with a check of this probe alone."""
        checks = (Check(effect.probe.name, effect, at_most=0.0),)
        return replace(self, suite=replace(self.suite, checks=checks))

    def frame_of(self, check: Check) -> Rewards:
        """Rewards without those of a model, as a check meets them: its probe may have its own."""
        if not isinstance(check.metric, ProbeEffect):
            return self.frame
        return check.metric.blank(self.frame)

    def part(self, mask: NDArray[np.bool_]) -> "LoadedSuite":
        """The suite with some of the (P,) prompts, in the same order."""
        return replace(
            self,
            pool=self.pool.part(mask),
            whole=None if self.whole is None else self.whole.part(mask),
        )

    def rewards(self, proxy: NDArray[np.float64], golden: NDArray[np.float64]) -> Rewards:
        """Rewards of one model on this pool, from (M',) numbers in the order of `samples`."""
        kept = self.is_labelled
        return replace(
            self.frame, proxy=proxy[kept], golden=golden[kept], scored=self._scored(proxy)
        )

    @cached_property
    def drawn_traits(self) -> DrawnTraits:
        """What some responses of each prompt look like, among the labelled ones."""
        return drawn_traits(self.pool, self.sampling.seed)

    @cached_property
    def sampling(self) -> Sampling:
        """How uncertainty is measured; without a seed of its own a suite's name gives one."""
        suite = self.suite
        name = hashlib.blake2b(suite.name.encode(), digest_size=4).digest()
        seed = suite.seed if suite.seed is not None else int.from_bytes(name, "big")
        return Sampling(suite.confidence, suite.resamples, seed, suite.min_prompts)

    @cached_property
    def planned(self) -> tuple[PlannedCheck, ...]:
        """Every check, in file order, with one for each slice value where a check asks so."""
        return tuple(self._plan())

    def _plan(self) -> Iterator[PlannedCheck]:
        for check in self.suite.checks:
            if (column := check.each_of) is None:
                yield PlannedCheck(self.suite, check, dict(check.where))
                continue
            frame = self.frame_of(check)
            inside = frame.matching(check.where)
            for value in np.unique(frame.slices[column][inside]):
                yield PlannedCheck(self.suite, check, {**check.where, column: str(value)})

    @property
    def compares(self) -> bool:
        """Whether a check compares with a baseline."""
        return any(check.needs_baseline for check in self.suite.checks)

    @property
    def serving_checks(self) -> list[str]:
        """Names of the checks that compare with a serving engine."""
        return [check.name for check in self.suite.checks if SERVING in check.metric.columns]
