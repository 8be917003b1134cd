"""The whole of a laboratory, in order: reward models, policies, tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from filelock import FileLock

from rmcheck.errors import UsageError
from rmcheck.lab.family.training import Trained, train_family
from rmcheck.lab.file import Laboratory
from rmcheck.lab.outcomes.course import Course, read_courses
from rmcheck.lab.outcomes.mitigation import Mitigation, mitigations
from rmcheck.lab.outcomes.scoring import Panel
from rmcheck.lab.outcomes.study_input import write_study
from rmcheck.lab.outcomes.table import (
    Outcome,
    curve_rows,
    pool_outcomes,
    rl_outcomes,
    study_rows,
    write_rows,
)
from rmcheck.lab.rl.reward import Floats, Reward, Scale, combined
from rmcheck.lab.rl.runs import RlRun, planned_runs, train_runs
from rmcheck.lab.rl.settings import GOLDEN, Optimization
from rmcheck.lab.sampling.sampled_pool import sample_pool
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.policies.policy import Decoding
from rmcheck.policies.registry import open_policy
from rmcheck.pool.pool import Prompt
from rmcheck.pool.reading import read_pool, read_prompts


@dataclass(frozen=True)
class Findings:
    """What a laboratory found.

    Attributes:
        outcomes: Every policy against every golden.
        courses: Every run over its steps.
        mitigations: What each remedy saves.
    """

    outcomes: tuple[Outcome, ...]
    courses: tuple[Course, ...]
    mitigations: tuple[Mitigation, ...]

    @property
    def diverged(self) -> list[Course]:
        """Runs that stopped themselves; no table has a number of theirs."""
        return [course for course in self.courses if course.diverged]


def run_laboratory(
    laboratory: Laboratory,
    out: Path,
    trained: Callable[[Trained], object] = lambda _: None,
    ran: Callable[[RlRun], object] = lambda _: None,
) -> Findings:
    """Do what is not done yet, and write outcomes, rl, curves and mitigation as CSV, and a study.

    Args:
        laboratory: What to do.
        out: Folder; everything is kept there, and a run that was killed goes on.
        trained: Called with each reward model when it is there.
        ran: Called with each RL run when it has ended.

    Raises:
        UsageError: The file has no policies; golden is one of the reward models; two models give
            the same rewards; a folder holds what was made otherwise.
        ModelError, PoolError, ScoringError: See the steps.
    """
    optimization = laboratory.optimization
    if optimization is None:
        raise UsageError(f"{laboratory.path} has no policy, golden and optimizers: nothing to run")
    family = train_family(laboratory.family, out, trained)
    models = _opened(laboratory, optimization, family)
    panel = Panel(models, out / "scores")
    prompts, tested = (
        read_prompts(path).prompts
        for path in (optimization.policy.prompts, optimization.policy.test_prompts)
    )
    pool = _initial_pool(optimization, tested, out)
    (on_pool,) = panel.rewards([pool])
    scales = {name: Scale.of(rewards, name) for name, rewards in on_pool.items()}
    _refuse_alike(on_pool, scales)
    rewards = _Rewards(optimization, models, scales)
    runs = planned_runs(optimization, rewards.names, out)
    for run in train_runs(
        runs, optimization.policy, prompts, tested, rewards.opened, rewards.identity
    ):
        ran(run)
    courses = read_courses(runs, panel)
    proxies = {**on_pool, **rewards.ensembles(on_pool)}
    outcomes = [
        *pool_outcomes(optimization.from_pool, proxies, list(models)),
        *rl_outcomes(courses, list(models)),
    ]
    saved = mitigations(courses, optimization.ensembles)
    write_rows(out / "outcomes.csv", [asdict(row) for row in outcomes])
    write_rows(out / "rl.csv", study_rows(outcomes, courses, list(models)))
    write_rows(out / "curves.csv", curve_rows(courses))
    write_rows(out / "mitigation.csv", [asdict(row) for row in saved])
    lineages = {each.name: laboratory.family.data_of(each) for each in laboratory.family.recipes}
    write_study(
        out,
        pool,
        on_pool,
        {name: f"{path.stem}, {column}" for name, (path, column) in lineages.items()},
        has_rl=bool(optimization.rl),
        leave_out=["failed_runs"] if optimization.diverged == "leave_out" else [],
    )
    return Findings(tuple(outcomes), tuple(courses), tuple(saved))


def _opened(
    laboratory: Laboratory, optimization: Optimization, family: Sequence[Trained]
) -> dict[str, RewardModel]:
    """Golden first, then the family.

    Raises:
        UsageError: Golden is one of the family.
    """
    golden = open_model(optimization.golden, base=laboratory.path.parent, given=False)
    where = optimization.policy.device
    models = {each.name: open_model(_opened_from(each.folder, where)) for each in family}
    for name, model in models.items():
        if model.identity == golden.identity:
            raise UsageError(f"golden is the reward model {name!r}: its regret would be 0 by name")
    return {GOLDEN: golden, **models}


def _refuse_alike(on_pool: Mapping[str, Floats], scales: Mapping[str, Scale]) -> None:
    """Two models that are one, but for scale, would count twice, or judge themselves.

    Raises:
        UsageError: There are two.
    """
    standard = {
        name: (rewards - scales[name].mean) / scales[name].sd for name, rewards in on_pool.items()
    }
    for (first, rewards), (second, others) in combinations(standard.items(), 2):
        if np.allclose(rewards, others, rtol=0, atol=1e-5):
            raise UsageError(
                f"{first!r} and {second!r} give the same rewards, but for their scale: one of them "
                "would count twice, or judge itself. Leave one out"
            )


def _opened_from(folder: Path, device: str) -> str:
    """The spec of a reward model or policy."""
    return f"hf:{folder}" if device == "auto" else f"hf:{folder}?device={device}"


def _initial_pool(
    optimization: Optimization, tested: Sequence[Prompt], out: Path
) -> Sequence[Prompt]:
    source = optimization.policy
    with FileLock(out / "pool.lock"):
        sample_pool(
            open_policy(_opened_from(source.model, source.device)),
            tested,
            out / "pool.jsonl",
            n=source.responses,
            decoding=Decoding(source.max_tokens, source.temperature),
        )
    return read_pool(out / "pool.jsonl").prompts


class _Rewards:
    """Every reward that a policy is trained for: golden, each reward model, each ensemble."""

    def __init__(
        self,
        optimization: Optimization,
        models: Mapping[str, RewardModel],
        scales: Mapping[str, Scale],
    ) -> None:
        self._models, self._scales = models, scales
        self._ensembles = {ensemble.name: ensemble for ensemble in optimization.ensembles}
        self.names = [*models, *self._ensembles]

    def _members(self, name: str) -> Sequence[str]:
        return self._ensembles[name].members if name in self._ensembles else (name,)

    @property
    def identity(self) -> dict[str, str]:
        """Name to the fingerprints of its members, and how they are combined."""
        return {
            name: " ".join(
                [
                    *(self._models[member].identity for member in self._members(name)),
                    str(self._ensembles.get(name, "")),
                ]
            )
            for name in self.names
        }

    def opened(self, name: str) -> Reward:
        """The reward of this name, which whoever called closes."""
        members = self._members(name)
        return Reward(
            [self._models[member] for member in members],
            [self._scales[member] for member in members],
            self._ensembles.get(name),
        )

    def ensembles(self, on_pool: Mapping[str, Floats]) -> dict[str, Floats]:
        """(P, N) rewards of the ensembles on the pool."""
        found = {}
        for name, ensemble in self._ensembles.items():
            rows = [
                (on_pool[member] - self._scales[member].mean) / self._scales[member].sd
                for member in ensemble.members
            ]
            found[name] = combined(np.stack(rows), ensemble)
        return found
