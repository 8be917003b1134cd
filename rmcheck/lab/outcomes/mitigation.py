"""Ensembles, KL penalties and early stopping, compared on the same runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmcheck.lab.outcomes.course import Course
from rmcheck.lab.outcomes.table import CONFIDENCE, RESAMPLES
from rmcheck.lab.rl.reward import Floats
from rmcheck.lab.rl.settings import GOLDEN, Ensemble
from rmcheck.metrics.best_of_n import golden_gain_concerns
from rmcheck.stats.weights import draw_weights

# KL budgets in nats that a run may be stopped at.
BUDGETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass(frozen=True)
class Mitigation:
    """What one remedy saves, over all runs that can be compared.

    Attributes:
        optimizer: Name of the optimiser without the remedy.
        remedy: What was done.
        runs: Pairs of runs, with and without.
        kl: Mean nats of the policies with it.
        regret_without: 1 − golden gain over golden's own gain at the end, without it.
        regret: The same with it. Lower is better.
        saved: Their difference. Above 0 the remedy helps.
        lower: One-sided lower bound on `saved`, over prompts.
        upper: Upper bound on it.
        seed_sd: Standard deviation of `saved` between seeds; NaN with one seed.
    """

    optimizer: str
    remedy: str
    runs: int
    kl: float
    regret_without: float
    regret: float
    saved: float
    lower: float
    upper: float
    seed_sd: float


# (P,) golden gain without the remedy, with it, and of golden's own run; KL with it; and the seed.
Compared = tuple[Floats, Floats, Floats, float, int]
Key = tuple[str, int, str]


def mitigations(courses: Sequence[Course], ensembles: Sequence[Ensemble]) -> list[Mitigation]:
    """Every remedy of every optimiser, judged by the fixed golden; diverged runs are left out."""
    known = {(c.run.settings.name, c.run.seed, c.run.reward): c for c in courses if not c.diverged}
    found = []
    for name in dict.fromkeys(course.run.settings.name for course in courses):
        mine = {key: course for key, course in known.items() if key[0] == name}
        single = [c for c in mine.values() if c.run.reward not in _not_single(ensembles)]
        for remedy, compared in _compared(name, mine, single, known, ensembles):
            if compared and (row := _saved(name, remedy, compared)):
                found.append(row)
    return found


def _not_single(ensembles: Sequence[Ensemble]) -> set[str]:
    return {GOLDEN, *(ensemble.name for ensemble in ensembles)}


def _compared(
    name: str,
    mine: Mapping[Key, Course],
    single: Sequence[Course],
    known: Mapping[Key, Course],
    ensembles: Sequence[Ensemble],
) -> Iterator[tuple[str, list[Compared]]]:
    best = {seed: c.gains(GOLDEN) for (_, seed, reward), c in mine.items() if reward == GOLDEN}
    for ensemble in ensembles:
        yield (
            f"ensemble {ensemble.name} ({ensemble.combine} of {len(ensemble.members)})",
            [
                (plain.gains(GOLDEN), c.gains(GOLDEN), best[seed], float(c.kl[-1]), seed)
                for (_, seed, reward), c in mine.items()
                if reward == ensemble.name and seed in best
                for member in ensemble.members
                if (plain := mine.get((name, seed, member)))
            ],
        )
    for other in dict.fromkeys(key[0] for key, c in known.items() if _penalised(key[0], mine, c)):
        penalty = next(c for key, c in known.items() if key[0] == other).run.settings.kl_penalty
        yield (
            f"KL penalty {penalty:g}",
            [
                (plain.gains(GOLDEN), c.gains(GOLDEN), best[seed], float(c.kl[-1]), seed)
                for plain in single
                if (seed := plain.run.seed) in best
                and (c := known.get((other, seed, plain.run.reward)))
            ],
        )
    for budget in BUDGETS:
        reached = [c for c in single if c.kl.max() > budget]
        if len(reached) == len(single):
            yield f"stop at KL {budget:g}", _stopped(single, best, _within(budget))
    yield "stop where the other reward models are highest", _stopped(single, best, _others(single))
    yield "stop where golden is highest (needs golden)", _stopped(single, best, _peak)


def _penalised(other: str, mine: Mapping[Key, Course], course: Course) -> bool:
    """Whether a run differs from these in a larger KL penalty alone."""
    own = next(iter(mine.values())).run.settings if mine else None
    if own is None or other == own.name:
        return False
    theirs = course.run.settings
    alike = replace(theirs, name=own.name, kl_penalty=own.kl_penalty, seeds=own.seeds)
    return theirs.kl_penalty > own.kl_penalty and alike == own


def _stopped(
    single: Sequence[Course], best: Mapping[int, Floats], look: Callable[[Course], int]
) -> list[Compared]:
    return [
        (
            course.gains(GOLDEN),
            course.gains(GOLDEN, at := look(course)),
            best[course.run.seed],
            float(course.kl[at]),
            course.run.seed,
        )
        for course in single
        if course.run.seed in best
    ]


def _within(budget: float) -> Callable[[Course], int]:
    """The last look before KL first exceeds the budget."""
    return lambda course: int((course.kl > budget).argmax()) - 1


def _peak(course: Course) -> int:
    return int(course.rewards[GOLDEN].mean(axis=1).argmax())


def _others(single: Sequence[Course]) -> Callable[[Course], int]:
    """The look where the reward models that the policy was not trained for like it best."""
    names = {course.run.reward for course in single}

    def look(course: Course) -> int:
        total = np.zeros(len(course.steps))
        for name in sorted(names - {course.run.reward}):
            means = course.rewards[name]
            spread = float(means[0].std()) or 1.0
            total += (means - means[0]).mean(axis=1) / spread
        return int(total.argmax())

    return look


def _saved(name: str, remedy: str, compared: Sequence[Compared]) -> Mitigation | None:
    columns = zip(*(each[:3] for each in compared), strict=True)
    without, with_it, best = (np.mean(column, axis=0) for column in columns)
    if golden_gain_concerns(best, np.ones(len(best))):
        return None
    sums = np.stack([without, with_it, best], axis=1)
    draws = draw_weights(len(sums), RESAMPLES, 0).totals(sums)
    saved = (draws[:, 1] - draws[:, 0]) / draws[:, 2]
    lower, upper = np.nanquantile(saved, [1 - CONFIDENCE, CONFIDENCE])
    plain, treated = 1 - without.sum() / best.sum(), 1 - with_it.sum() / best.sum()
    return Mitigation(
        name,
        remedy,
        len(compared),
        float(np.mean([each[3] for each in compared])),
        float(plain),
        float(treated),
        float(plain - treated),
        float(lower),
        float(upper),
        _spread(compared),
    )


def _spread(compared: Sequence[Compared]) -> float:
    """Standard deviation between seeds of what is saved."""
    seeds = sorted({each[4] for each in compared})
    saved = []
    for seed in seeds:
        mine = [each for each in compared if each[4] == seed]
        sums = np.array([[part.sum() for part in each[:3]] for each in mine]).sum(axis=0)
        saved.append((sums[1] - sums[0]) / sums[2])
    return float(np.std(saved, ddof=1)) if len(seeds) > 1 else float("nan")
