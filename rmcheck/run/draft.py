"""A first suite for a pool: the checks that its shape carries, with bounds that it can decide.

No model is at hand, so one is assumed (`rmcheck.checks.alike`). A bound is what that model passes
in 95 % of runs; who has measured a released model asks for what that one reaches.
"""

import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rmcheck.checks.alike import CORRELATION, alike, spread_inside, two_alike
from rmcheck.checks.measurement import measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.faults import FAULT_RULES, fault_counts
from rmcheck.pool.labels import labelled
from rmcheck.pool.pool import Pool
from rmcheck.run.load import load
from rmcheck.run.loaded import LoadedSuite, PlannedCheck

# A slice is worth a check where each of its values has enough prompts, and they are not too many.
SLICE_PROMPTS, SLICE_VALUES = 30, 20
# Responses a prompt from which ranks, and best-of-n, say more than pairs do.
RANKED, PICKED = 5, 4
# What needs no quotes, where YAML takes it for a text.
_PLAIN = re.compile(r"[A-Za-z./][\w./-]*", re.ASCII)
# A bound that any check can have.
PLACEHOLDER = 0.5


@dataclass(frozen=True)
class Draft:
    """A check before its bound is known.

    Attributes:
        keys: Of the check, without its bound.
        bound: `at_least`, `at_most` or `max_drop`.
        why: What it is for, in a sentence.
        chance: What a model that knows nothing gives; no bound is easier than that.
    """

    keys: dict[str, Any]
    bound: str
    why: str
    chance: float = math.inf


def suite_text(pool: Pool, name: str, path: str, *, format: str | None = None) -> tuple[str, int]:
    """A commented suite, and the number of its checks.

    Raises:
        UsageError: The pool has no golden reward, several labels and none is called golden, or
            fewer independent prompts than anything is decided on.
    """
    golden = _golden(pool)
    pool = labelled(pool, golden, "drop")
    _refuse_undecidable(pool, golden)
    drafts = list(_drafts(pool))
    head = _head(pool, golden, drafts, format)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draft.yaml"
        file.write_text(_text("draft", str(pool.path), head, drafts, [None] * len(drafts)), "utf-8")
        loaded = load(file, lambda *_, **__: pool)
        if loaded.units < loaded.sampling.min_prompts:
            same = "" if loaded.units == len(pool.prompts) else " (the same prompt counts once)"
            raise UsageError(
                f"{pool.path}: {loaded.units} independent prompts{same}, fewer than "
                f"{loaded.sampling.min_prompts}: no check could be decided on them"
            )
        bounds = _bounds(loaded)
    return _text(name, path, head, drafts, bounds), len(drafts)


def equal_models(loaded: LoadedSuite) -> tuple[Rewards, Rewards]:
    """Two models that are as good as each other, on a suite's pool (`rmcheck.checks.alike`).

    They are about the golden column; what a golden RM will give is taken to be normal.
    """
    seed, labels = loaded.sampling.seed, loaded.labels
    normal = np.random.default_rng([seed, 1]).standard_normal(len(loaded.samples))
    golden = normal if labels is None else loaded.filled(labels)
    first, second = two_alike(golden, spread_inside(loaded.rewards(golden, golden)), seed)
    return loaded.rewards(first, golden), loaded.rewards(second, golden)


def _golden(pool: Pool) -> str:
    """The label column that is golden: that of this name, else the only one."""
    found = pool.label_columns
    if "golden" in found or len(found) == 1:
        return "golden" if "golden" in found else found[0]
    if found:
        raise UsageError(
            f"{pool.path}: no column is called golden, and there are several labels: "
            f"{', '.join(found)}. Rename one, or write `golden: {{column: …}}` into a suite."
        )
    raise UsageError(
        f"{pool.path}: no response has a golden reward, so there is nothing to judge by. A suite "
        "can name a golden reward model: `golden: {model: hf:PATH}`."
    )


def _refuse_undecidable(pool: Pool, golden: str) -> None:
    """Raises UsageError where no prompt has two responses of which golden prefers one."""
    if pool.columns.counts.max() < 2:
        raise UsageError(
            f"{pool.path}: no prompt has two judged responses, and a check compares responses to "
            "one prompt. Rows of one prompt need the same text in `prompt`; `rmcheck sample` lets "
            "a policy answer each prompt several times."
        )
    starts = pool.columns.ends[:-1]
    values = pool.columns.label(golden)
    if (np.maximum.reduceat(values, starts) == np.minimum.reduceat(values, starts)).all():
        raise UsageError(
            f"{pool.path}: on every prompt all responses have the same {golden!r}, so no model "
            "can be told from another"
        )


def _drafts(pool: Pool) -> Iterator[Draft]:
    responses = int(np.median(pool.columns.counts))
    accuracy = "Is a better response usually scored higher?"
    yield Draft({"name": "accuracy", "metric": "accuracy"}, "at_least", accuracy, 0.5)
    if responses >= RANKED:
        ranking = "Is golden a function of the reward at all, whatever its shape?"
        yield Draft({"name": "ranking", "metric": "xi"}, "at_least", ranking, 0.0)
    if responses >= PICKED:
        n = 2 ** int(math.log2(responses))
        keys = {"name": f"best-of-{n}", "metric": "bon_drop_ratio", "n": n}
        lost = f"What share of the golden gain is lost when the reward picks the best of {n}?"
        yield Draft(keys, "at_most", lost, 1.0)
    regression = "Not worse than the baseline on the same prompts."
    yield Draft({"name": "no-regression", "metric": "accuracy"}, "max_drop", regression)
    for column in _slices(pool):
        worst = {"name": f"worst-{column}", "metric": "accuracy", "over": column, "worst": True}
        yield Draft(worst, "at_least", f"Not even where {column} is at its worst.", 0.5)


def _slices(pool: Pool) -> list[str]:
    """Slice columns whose values each have enough prompts."""
    found = []
    for column, values in pool.columns.slices.items():
        sizes = Counter(value for value in values.tolist() if value is not None).values()
        if 2 <= len(sizes) <= SLICE_VALUES and min(sizes) >= SLICE_PROMPTS:
            found.append(column)
    return found


def _bounds(loaded: LoadedSuite) -> list[float | None]:
    """What the assumed model passes in 95 % of runs; None where the pool cannot say."""
    models = equal_models(loaded)
    planned = {one.check.name: one for one in loaded.planned}  # several where there are slices
    return [_bound(loaded, one, models) for one in planned.values()]


def _bound(
    loaded: LoadedSuite, planned: PlannedCheck, models: tuple[Rewards, Rewards]
) -> float | None:
    check, sampling = planned.check, replace(loaded.sampling, resamples=1000)
    slices: list[dict[str, str]] = [{}]
    if check.worst and check.over is not None:
        slices = [{check.over: value} for value in models[0].slice_values(check.over, {})]
    try:
        if check.max_drop is not None:
            drop = alike(check.metric, models, where={}, sampling=sampling)
            return _outward(drop.passed_by(0.95))
        estimates = [
            measure(check.metric, models[0], where=where, sampling=sampling).estimate
            for where in slices
        ]
    except UndefinedMetricError:
        return None
    # The value of an equal model is as far from this one as a bound is, one time in twenty.
    if check.at_most is not None:
        return _outward(max(2 * e.upper - e.value for e in estimates))
    return 0.0 - _outward(-min(2 * e.lower - e.value for e in estimates))


def _easier(draft: Draft, bound: float) -> bool:
    """Whether a model that knows nothing would often meet the bound."""
    if draft.bound == "max_drop":
        return False
    return bound < draft.chance if draft.bound == "at_least" else bound > draft.chance


def _outward(bound: float) -> float:
    """Two places, to the side on which it is easier to pass."""
    return math.ceil(round(bound * 100, 6)) / 100


def _head(pool: Pool, golden: str, drafts: Sequence[Draft], format: str | None) -> list[str]:
    """The lines between the pool's path and the checks."""
    slices = [draft.keys["over"] for draft in drafts if "over" in draft.keys]
    found = {kind: sum(counts.values()) for kind, counts in fault_counts(pool).items()}
    wrong = [
        f"    {kind}: drop  # {count} found"
        for kind, count in found.items()
        if FAULT_RULES[kind].default == "fail"
    ]
    kept = [
        f"#   {kind}: {count} found, kept"
        for kind, count in found.items()
        if FAULT_RULES[kind].default == "keep"
    ]
    return [
        *([f"  format: {format}"] if format else []),
        *([f"  slices: {_yaml(slices)}"] if slices else []),
        *(["  faults:", *wrong] if wrong else []),
        f"# {pool.columns.indices.size} responses to {len(pool.prompts)} prompts.",
        *kept,
        f"golden: {{column: {_yaml(golden)}}}",
    ]


def _text(
    name: str,
    path: str,
    head: Sequence[str],
    drafts: Sequence[Draft],
    bounds: Sequence[float | None],
) -> str:
    lines = ["rmcheck: 1", f"name: {_yaml(name)}", "pool:", f"  path: {_yaml(path)}", *head]
    lines += [
        "# Each bound is what a model passes in 95 % of runs whose rewards correlate "
        f"{CORRELATION:g} with golden",
        "# inside prompts. Measure your released model, and ask for what it reaches.",
        "checks:",
    ]
    for draft, bound in zip(drafts, bounds, strict=True):
        keys = {**draft.keys, draft.bound: PLACEHOLDER if bound is None else bound}
        remark = "  # these data do not say: set it yourself" if bound is None else ""
        if bound is not None and _easier(draft, bound):
            keys[draft.bound] = draft.chance
            remark = "  # chance: with so few prompts an equal model passes less often"
        shown = ", ".join(f"{key}: {_yaml(value)}" for key, value in keys.items())
        lines += [f"  # {draft.why}", f"  - {{{shown}}}{remark}"]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """A plain word as it is, anything else as JSON, which is YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
