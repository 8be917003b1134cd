"""All probes on one pool, and the worst edit that a search finds: what `rmcheck probe` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from rmcheck.checks.measurement import Measurement, measure, measure_drop
from rmcheck.errors import RmcheckError, UsageError
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Sample, TooLong
from rmcheck.pool.pool import FaultAction, FaultKind
from rmcheck.probes.effect import ProbeEffect
from rmcheck.probes.probe import Probe
from rmcheck.probes.search import FIRST, BadAnswer, Step, WorstEdit, bad_answers, search
from rmcheck.run.fill import Filled, fill
from rmcheck.run.find import Finding, find
from rmcheck.run.load import with_pool
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.plan import PlannedSuite
from rmcheck.scoring.engine import Engine
from rmcheck.scoring.members import StoreOf, fill_members, read_combined
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.suite.suite import Check, GoldenSource, PoolSource, Suite

# The edit that a search found, as a probe.
WORST = Probe("worst edit", "WorstEdit by a search.", "not_raise", edits=("{response}",))


@dataclass(frozen=True)
class Battery:
    """What is probed, and how.

    Attributes:
        responses: Edited of each prompt.
        format: Of the pool; found out where not given.
        faults: What to do about bad rows where it differs from the default.
        too_long: What to do with conversations longer than the model takes.
    """

    pool: Path
    golden: str
    probes: Mapping[str, Probe]
    responses: int = 2
    format: str | None = None
    faults: Mapping[FaultKind, FaultAction] = field(default_factory=dict)
    too_long: TooLong = "error"
    seed: int = 0

    def loaded(self) -> LoadedSuite:
        """The pool with a check of each probe.

        Raises:
            SuiteError, PoolError: The pool is wrong, or cannot be probed.
        """
        effects = {n: ProbeEffect(p, responses=self.responses) for n, p in self.probes.items()}
        suite = Suite(
            path=self.pool,
            name="probes",
            pool=PoolSource(self.pool, self.format, faults=self.faults),
            golden=GoldenSource(self.golden),
            checks=tuple(Check(name, effect, at_most=0.0) for name, effect in effects.items()),
            too_long=self.too_long,
            seed=self.seed,
        )
        return with_pool(suite)


@dataclass(frozen=True, eq=False)
class Probed:
    """What the probes found."""

    findings: Mapping[str, Finding | RmcheckError]
    rewards: Rewards


def probe_all(model: RewardModel, loaded: LoadedSuite, store_of: StoreOf, engine: Engine) -> Probed:
    """Score a pool with the edits of all probes, and measure them.

    Raises:
        ModelError, StoreError: The scores could not be had.
    """
    planned = PlannedSuite(loaded, {"candidate": model})
    filled = fill([planned], Filled(store_of), partial(fill_requests, engine=engine))
    candidate = filled.reading(planned, "candidate")
    found = find(planned, {"candidate": candidate})
    return Probed({name: finding for (name, _), finding in found.items()}, candidate.rewards)


@dataclass(frozen=True)
class Worst:
    """The edit that a search found, and what it does to answers that no choice was made on.

    Attributes:
        found: The edit.
        after: What its first step does, its first two, … all of them; empty where there is none.
        beyond_first: Shift by all steps less that by the first alone; None for one step.
    """

    found: WorstEdit
    after: tuple[Measurement, ...] = ()
    beyond_first: Measurement | None = None


def worst_edit(
    model: RewardModel,
    loaded: LoadedSuite,
    rewards: Rewards,
    steps: Sequence[Step],
    store_of: StoreOf,
    engine: Engine,
    *,
    budget: int,
) -> Worst:
    """The edit that a search finds, and what it does to answers that it was not chosen on.

    Raises:
        UsageError: The budget is too small, or no prompt has answers that golden tells apart.
        ModelError, StoreError: The scores could not be had.
    """

    def score(samples: Sequence[Sample]) -> Floats:
        request = Request(model, tuple(samples), loaded.suite.too_long)
        fill_members([request], store_of, engine=engine)
        return np.asarray(read_combined(request, store_of).rewards)

    golden = np.split(rewards.golden, rewards.offsets[1:-1])
    answers = bad_answers(loaded.pool.prompts, golden)
    if len(answers) < 2:
        raise UsageError(f"{loaded.pool.path}: golden tells answers apart on too few prompts")
    least = 2 * FIRST * (len(steps) + 1)
    if budget < least:
        raise UsageError(f"a budget of {budget} is too small for {len(steps)} edits; give {least}")
    found = search(answers, steps, score, budget=budget, seed=loaded.sampling.seed)
    effect, sampling = ProbeEffect(WORST, responses=1), loaded.sampling
    parts = []
    for end in range(1, len(found.steps) + 1):
        edited = score(
            [answer.sample(answer.edited(found.steps[:end])) for answer in found.held_out]
        )
        parts.append(_with_edits(effect, rewards, found.held_out, edited))
    return Worst(
        found,
        tuple(measure(effect, part, sampling=sampling) for part in parts),
        measure_drop(effect, parts[-1], parts[0], sampling=sampling) if len(parts) > 1 else None,
    )


def _with_edits(
    effect: ProbeEffect, rewards: Rewards, answers: Sequence[BadAnswer], edited: Floats
) -> Rewards:
    """Rewards of the prompts of some answers, with those of their edits."""
    rows = [slice(rewards.offsets[a.row], rewards.offsets[a.row + 1]) for a in answers]
    columns = [np.full(row.stop - row.start, np.nan) for row in rows]
    for column, answer, reward in zip(columns, answers, edited.tolist(), strict=True):
        column[answer.at] = reward
    nothing = [np.full(column.size, np.nan) for column in columns]
    return Rewards.from_arrays(
        [rewards.proxy[row] for row in rows],
        [rewards.golden[row] for row in rows],
        clusters=[int(rewards.clusters[answer.row]) for answer in answers],
        columns={effect.edited_column: columns, effect.control_column: nothing},
        prompt_ids=[str(rewards.prompt_ids[answer.row]) for answer in answers],
    )
