"""NDR and regret of every policy against every golden: rows for `rmcheck study --table`."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.lab.curves.tilted_curve import tilted_curve
from rmcheck.lab.outcomes.course import Course
from rmcheck.lab.rl.reward import Floats
from rmcheck.lab.rl.settings import GOLDEN, FromPool
from rmcheck.metrics.best_of_n import NDR, best_of_n_gains, bon_kl, golden_gain_concerns
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.bootstrap import resample
from rmcheck.stats.weights import draw_weights

RESAMPLES, CONFIDENCE = 2000, 0.95
# Columns of what a study reads.
STUDIED = ("rm", "golden", "optimizer", "seed", "ndr", "regret", "kl", "golden_gain", "note")
MATCHED = ("matched_kl", "ndr_matched")


@dataclass(frozen=True)
class Outcome:
    """What one policy did to one golden.

    Attributes:
        optimizer: Name of the optimiser.
        kind: `best_of_n`, `tilting`, `ppo`, `grpo` or `rloo`.
        kl_penalty: β of RL; NaN elsewhere.
        seed: Of the run; -1 where nothing is trained.
        proxy: What the policy was optimised for.
        golden: What it is judged by.
        at: What `value` counts: `n`, `step` (the end of a run), or `kl` (both policies there).
        value: n, step or nats.
        kl: Nats of the proxy's policy from the initial one.
        golden_gain: Golden's gain over the initial policy, under the proxy's policy.
        best_gain: The same under golden's own, made in the same way.
        ndr: `golden_gain` over `best_gain`: higher is better; NaN where golden itself gains
            next to nothing.
        regret: 1 − `ndr`: lower is better.
        lower: One-sided lower bound on `ndr`, over prompts.
        upper: Upper bound on it. Neither knows of the luck of a seed.
        note: Why there is no `ndr`; empty elsewhere.
    """

    optimizer: str
    kind: str
    kl_penalty: float
    seed: int
    proxy: str
    golden: str
    at: str
    value: float
    kl: float
    golden_gain: float
    best_gain: float
    ndr: float = math.nan
    regret: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    note: str = ""


def kept_share(gains: Floats, best: Floats) -> dict[str, Any]:
    """NDR of (P,) golden gains under two policies, with its bounds; or why there is none."""
    found = {"golden_gain": float(gains.mean()), "best_gain": float(best.mean())}
    if concerns := golden_gain_concerns(best, np.ones(len(best))):
        return {**found, "note": "; ".join(concerns)}
    sums = np.stack([gains, best], axis=1)
    weights = draw_weights(len(sums), RESAMPLES, 0)
    drawn = resample(NDR(n=2), sums, weights, studentised=True)
    ndr = float(gains.sum() / best.sum())
    lower, upper = (drawn.bound(level) for level in (1 - CONFIDENCE, CONFIDENCE))
    return {**found, "ndr": ndr, "regret": 1 - ndr, "lower": lower, "upper": upper}


def rl_outcomes(courses: Sequence[Course], models: Sequence[str]) -> Iterator[Outcome]:
    """At the end of each run, and at the largest KL that both runs reach.

    Each golden that was itself optimised judges the runs of all others; an ensemble is judged by
    the fixed golden alone, because a member of it would judge itself. Diverged runs are left out.

    Args:
        courses: Of all runs.
        models: The reward models that may be golden, `golden` among them.
    """
    known = {(c.run.settings.name, c.run.seed, c.run.reward): c for c in courses if not c.diverged}
    for (name, seed, proxy), course in known.items():
        for golden in models:
            own = known.get((name, seed, golden))
            if own is None or golden == proxy or (proxy not in models and golden != GOLDEN):
                continue
            settings = course.run.settings
            head = (name, settings.kind, settings.kl_penalty, seed, proxy, golden)
            end = kept_share(course.gains(golden), own.gains(golden))
            yield Outcome(*head, "step", course.steps[-1], float(course.kl[-1]), **end)
            kl = float(min(course.kl.max(), own.kl.max()))
            share = kept_share(course.gains_at(golden, kl), own.best_gains_within(golden, kl))
            yield Outcome(*head, "kl", kl, kl, **share)


def pool_outcomes(
    optimizers: Sequence[FromPool], rewards: Mapping[str, Floats], models: Sequence[str]
) -> Iterator[Outcome]:
    """Best-of-n, exact without replacement, and tilting, on the responses of the initial policy.

    Args:
        optimizers: Which.
        rewards: Name of a proxy or golden to its (P, N) rewards.
        models: Those of them that may be golden.
    """
    for optimizer in optimizers:
        for proxy, scores in rewards.items():
            for golden in models:
                if golden == proxy or (proxy not in models and golden != GOLDEN):
                    continue
                head = (optimizer.name, optimizer.kind, math.nan, -1, proxy, golden)
                if optimizer.kind == "best_of_n":
                    for n in map(int, optimizer.at):
                        gains = best_of_n_gains(scores, rewards[golden], n)
                        kept = kept_share(gains[:, 0], gains[:, 1])
                        yield Outcome(*head, "n", n, bon_kl(n), **kept)
                else:
                    yield from _tilted(head, scores, rewards[golden], optimizer.at)


def _tilted(
    head: tuple[str, str, float, int, str, str],
    scores: Floats,
    golden: Floats,
    kls: Sequence[float],
) -> Iterator[Outcome]:
    try:
        curve = tilted_curve(Rewards.from_arrays(scores, golden), kls, resamples=RESAMPLES)
    except UndefinedMetricError as error:
        refused = [(kl, str(error)) for kl in kls]
    else:
        refused = [(each.kl, each.reason) for each in curve.refused]
        for point in curve.points:
            yield Outcome(
                *head,
                at="kl",
                value=point.kl,
                kl=point.kl,
                golden_gain=point.golden_gain,
                best_gain=point.best_gain,
                ndr=point.retained,
                regret=1 - point.retained,
                lower=point.lower,
                upper=point.upper,
            )
    for kl, reason in refused:
        yield Outcome(*head, "kl", kl, kl, math.nan, math.nan, note=reason)


def curve_rows(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """One row a look: KL, length, the proxy, and the mean reward of every model."""
    return [
        {
            "optimizer": course.run.settings.name,
            "kind": course.run.settings.kind,
            "kl_penalty": course.run.settings.kl_penalty,
            "seed": course.run.seed,
            "reward": course.run.reward,
            "step": step,
            "kl": course.kl[look],
            "tokens": course.tokens[look],
            "proxy": course.proxy[look],
            **{name: means[look].mean() for name, means in course.rewards.items()},
            "diverged": course.diverged,
        }
        for course in courses
        for look, step in enumerate(course.steps)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV with a header; NaN is an empty field, for that is what tables take for missing."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        out = csv.DictWriter(stream, list(rows[0]) if rows else [])
        out.writeheader()
        out.writerows({key: _written(value) for key, value in row.items()} for row in rows)


def study_rows(
    outcomes: Sequence[Outcome], courses: Sequence[Course], models: Sequence[str]
) -> list[dict[str, Any]]:
    """What a study reads of RL: one row a run of a reward model, judged at its end.

    A run that diverged has a row without numbers, whose note says why: a study names it, and
    leaves it out where it is told to.
    """
    matched = {_run_of(each): each for each in outcomes if each.at == "kl"}
    found = [
        {
            "rm": each.proxy,
            **{name: getattr(each, name) for name in STUDIED[1:]},
            "matched_kl": matched[_run_of(each)].kl,
            "ndr_matched": matched[_run_of(each)].ndr,
        }
        for each in outcomes
        if each.at == "step" and each.proxy in models
    ]
    empty = dict.fromkeys((*STUDIED, *MATCHED), math.nan)
    lost = {
        (pair, course.run.settings.name, course.run.seed): f"diverged at {course.diverged}"
        for course in courses
        if course.diverged and course.run.reward in models
        for pair in _pairs_of(course.run.reward, models)
    }
    return found + [
        {**empty, "rm": rm, "golden": golden, "optimizer": name, "seed": seed, "note": why}
        for ((rm, golden), name, seed), why in lost.items()
    ]


def _run_of(outcome: Outcome) -> tuple[str, int, str, str]:
    return outcome.optimizer, outcome.seed, outcome.proxy, outcome.golden


def _pairs_of(model: str, models: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Of proxy and golden, with this model as either."""
    for other in models:
        if other != model:
            yield model, other
            yield other, model


def _written(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else f"{float(value):.6g}"
    return value
