"""The rewards of a study's models on a pool: from the store, scored now, or columns of the pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UsageError
from rmcheck.lab.study.designs.metrics_compared import default_metrics
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.study_file import EACH, FamilyMember, StudyFile, StudyPool
from rmcheck.metrics.ranks import average_ranks
from rmcheck.metrics.rewards import Floats
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.members import StoreOf, fill_members, read_combined
from rmcheck.scoring.request import PoolSamples, Request
from rmcheck.wording import listed

FEWEST_PROMPTS, FEWEST_MODELS = 10, 4
# Column from which fakes with known faults take the golden reward.
GOLDEN = "golden"


@dataclass(frozen=True, eq=False)
class ScoredFamily:
    """A family, and what was left out of it.

    Attributes:
        family: The models that are left, on the prompts that are left.
        prompts: (P,) those prompts, with the N responses that were scored.
        notes: What was left out, in words.
    """

    family: RmFamily
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...]


def open_models(file: StudyFile) -> dict[str, RewardModel]:
    """The models that have to score, by name; nothing is loaded.

    Raises:
        UsageError: One cannot be opened, or two names stand for one model.
    """
    found = {m.name: open_model(m.model, given=False) for m in file.models if m.model}
    by_print: dict[str, str] = {}
    for name, model in found.items():
        first = by_print.setdefault(model.identity, name)
        if first != name and "identical" not in file.leave_out:
            raise UsageError(
                f"{file.path}: {first!r} and {name!r} are one model ({model.spec}). Take one out, "
                "or write `leave_out: [identical]`."
            )
    return found


def scored_family(
    file: StudyFile, source: StudyPool, models: dict[str, RewardModel], store_of: StoreOf
) -> ScoredFamily:
    """Rewards of every model for the responses of a pool, each model scored once.

    Raises:
        UsageError: The pool has too few prompts or responses, or models with a fault that the study
            does not leave out; all such models are named.
        PoolError, ModelError, StoreError: See `read_pool` and `fill_members`.
    """
    pool = read_pool(source.path, format=source.format)
    prompts, notes = _even(file, source, pool)
    if source is file.pool:
        _refuse_few(file, len(prompts[0].responses) // 2)
    scores = np.stack(
        [_scores(file, source, member, prompts, models, store_of) for member in file.models]
    )
    return left(file, source, prompts, scores, notes)


def left(
    file: StudyFile,
    source: StudyPool,
    prompts: Sequence[Prompt],
    scores: Floats,
    notes: Sequence[str],
) -> ScoredFamily:
    """The family of (R, P, N) scores, NaN where one is missing, without what has a fault."""
    faults = _Faults(file, source, list(notes))
    kept = faults.missing(prompts, scores)
    chosen = tuple(prompt for prompt, keep in zip(prompts, kept, strict=True) if keep)
    scores = scores[:, kept]
    members = faults.alike(scores)
    faults.refuse()
    if len(chosen) < FEWEST_PROMPTS or len(members) < FEWEST_MODELS:
        raise UsageError(
            f"{file.path}: {len(members)} models and {len(chosen)} prompts are left; a study needs "
            f"{FEWEST_MODELS} models, golden among them, and {FEWEST_PROMPTS} prompts"
        )
    names = [file.models[i].name for i in members]
    if file.golden != EACH and file.golden not in names:
        raise UsageError(
            f"{file.path}: the golden {file.golden!r} was left out: {faults.notes[-1]}"
        )
    family = RmFamily.of(
        names,
        scores[members],
        golden=None if file.golden == EACH else file.golden,
        categories=_categories(file, source, chosen),
        groups=[file.models[i].group for i in members],
    )
    return ScoredFamily(family, chosen, tuple(faults.notes))


def scored_again(
    file: StudyFile,
    found: ScoredFamily,
    prompts: Sequence[Prompt],
    models: dict[str, RewardModel],
    store_of: StoreOf,
) -> RmFamily:
    """The same family on the same responses, its prompts said anew; columns stay as they are."""
    by_name = {member.name: member for member in file.models}
    scores = [
        _scores(file, file.pool, by_name[name], prompts, models, store_of)
        for name in found.family.names
    ]
    return replace(found.family, scores=np.stack(scores))


@dataclass
class _Faults:
    """What is wrong with models and prompts, and which of it is left out by choice."""

    file: StudyFile
    source: StudyPool
    notes: list[str]

    def __post_init__(self) -> None:
        self.problems: dict[str, list[str]] = {}

    def missing(self, prompts: Sequence[Prompt], scores: Floats) -> NDArray[np.bool_]:
        """(P,) which prompts every model has scored."""
        lacking = np.asarray(np.isnan(scores).any(axis=2))
        for member, row in zip(self.file.models, lacking, strict=True):
            if row.any():
                first = prompts[int(np.flatnonzero(row)[0])].prompt_id
                self._note(
                    "missing",
                    f"{member.name} has no reward for some responses of {row.sum()} of "
                    f"{len(prompts)} prompts, the first is {first!r}",
                    "the prompts are left out for all",
                )
        return np.asarray(~lacking.any(axis=0))

    def alike(self, scores: Floats) -> list[int]:
        """Positions of the models that order responses, and not as one before them does."""
        found: list[int] = []
        ranks: dict[int, Floats] = {}
        # The golden of a study stays where it and a proxy are one.
        names = [member.name for member in self.file.models]
        first = [names.index(self.file.golden)] if self.file.golden in names else []
        for i in dict.fromkeys([*first, *range(len(names))]):
            if not scores.shape[1]:
                found.append(i)
                continue
            if (np.ptp(scores[i], axis=1) == 0).all():
                said = f"{names[i]} gives all responses of every prompt one reward"
                self._note("constant", said, "it is left out")
                continue
            ranks[i] = average_ranks(scores[i])
            twin = next((j for j in found if np.array_equal(ranks[j], ranks[i])), None)
            if twin is not None:
                said = f"{names[i]} orders all responses of every prompt as {names[twin]} does"
                self._note("identical", said, f"{names[i]} is left out")
                continue
            found.append(i)
        return sorted(found)

    def _note(self, fault: str, said: str, then: str) -> None:
        if fault in self.file.leave_out:
            self.notes.append(f"{said}: {then}")
        else:
            self.problems.setdefault(fault, []).append(said)

    def refuse(self) -> None:
        """Say everything that is wrong.

        Raises:
            UsageError: Something is.
        """
        if self.problems:
            said = [line for lines in self.problems.values() for line in lines]
            raise UsageError(
                f"{self.file.path}, pool {self.source.path}:\n  "
                + "\n  ".join(said)
                + f"\nTo leave this out, write `leave_out: [{', '.join(self.problems)}]`."
            )


def _even(file: StudyFile, source: StudyPool, pool: Pool) -> tuple[tuple[Prompt, ...], list[str]]:
    """Prompts with the same number of responses, and what was left out for it."""
    counts = np.array([len(prompt.responses) for prompt in pool.prompts])
    most = file.per_prompt or int(counts.max(initial=0))
    usual = int(np.quantile(counts, 0.1, method="lower")) if counts.size else 0
    if file.per_prompt is None and counts.min(initial=most) < most:
        raise UsageError(
            f"{source.path}: prompts have {counts.min()} to {most} responses. Say how many are "
            f"used, such as `per_prompt: {usual}`: of prompts with more, some are drawn; prompts "
            "with fewer are left out."
        )
    if most < 4:
        raise UsageError(
            f"{source.path}: {most} responses a prompt; a study needs 4, two to measure on and two "
            "to choose from"
        )
    short = int((counts < most).sum())
    notes = (
        [f"{short} of {counts.size} prompts have fewer than {most} responses and are left out"]
        if short
        else []
    )
    rng = np.random.default_rng([file.seed, 0])
    drawn = [rng.permutation(count) < most for count in counts.tolist()]
    responses = np.concatenate([np.zeros(0, dtype=bool), *drawn])
    return tuple(pool.part(counts >= most, responses).prompts), notes


def _refuse_few(file: StudyFile, half: int) -> None:
    """Raises UsageError where half of a prompt's responses are too few for what is asked of them.

    Before anything is scored.
    """
    if file.n is not None and file.n > half:
        raise UsageError(
            f"{file.path}: n is {file.n}; policies choose among {half} responses, the half that "
            "metrics do not see"
        )
    seen = min(file.responses, half)
    metrics = file.metrics or default_metrics()
    short = {n: m.min_responses for n, m in metrics.items() if m.min_responses > seen}
    if short:
        asked = ", ".join(f"{name} needs {least}" for name, least in short.items())
        raise UsageError(
            f"{file.path}: metrics see {seen} responses a prompt, of the half that policies do not "
            f"choose from, and {asked}. Give each prompt more responses, or name other `metrics`"
        )


def _scores(
    file: StudyFile,
    source: StudyPool,
    member: FamilyMember,
    prompts: Sequence[Prompt],
    models: dict[str, RewardModel],
    store_of: StoreOf,
) -> Floats:
    """(P, N) rewards of one model; NaN where there is none."""
    if member.column is not None:
        return _column(source, member, prompts)
    model = models[member.name]
    samples = PoolSamples(Pool(file.pool.path, "", tuple(prompts)))
    if model.reads_golden:
        golden = _column(source, FamilyMember(member.name, column=GOLDEN), prompts).ravel()
        given = [replace(s, golden=float(g)) for s, g in zip(samples, golden, strict=True)]
        request = Request(model, given, file.too_long)
    else:
        request = Request(model, samples, file.too_long)
    try:
        fill_members([request], store_of)
        rewards = read_combined(request, store_of).rewards
    except ScoringError:
        if "missing" not in file.leave_out or model.members != (model,):
            raise
        rewards = store_of(model).open(model.fingerprint).lookup(request.keys, file.too_long).scores
    return rewards.reshape(len(prompts), -1)


def _column(source: StudyPool, member: FamilyMember, prompts: Sequence[Prompt]) -> Floats:
    column = member.column or ""
    known = sorted({name for prompt in prompts for name in prompt.labels})
    if column not in known:
        raise UsageError(
            f"{source.path}: no column {column!r}, needed for model {member.name!r}. Columns: "
            f"{listed(known, 10)}"
        )
    rows = [p.labels.get(column, (None,) * len(p.responses)) for p in prompts]
    return np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)


def _categories(file: StudyFile, source: StudyPool, prompts: Sequence[Prompt]) -> list[str] | None:
    if source.category is None:
        return None
    known = {name for prompt in prompts for name in prompt.slices}
    if source.category not in known:
        raise UsageError(
            f"{file.path}: the pool has no slice {source.category!r} to go by as category; it has: "
            f"{listed(sorted(known), 10)}"
        )
    return [prompt.slices.get(source.category, "") for prompt in prompts]
