"""The table of all checks, printed last so that a CI log ends with the answer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rmcheck.checks.record import CheckRecord
from rmcheck.scoring.report import ScoringReport
from rmcheck.wording import aligned, listed, printable

PAST = {"keep": "kept", "drop": "dropped", "fail": "refused"}
HEADINGS = ("check", "n", "measured", "bounds", "required", "verdict")


def told_apart(
    records: Sequence[CheckRecord], suites: Sequence[Mapping[str, Any]]
) -> tuple[list[CheckRecord], list[Mapping[str, Any]]]:
    """Checks and suites by the names of their suites; where two have one name, by their files."""
    pairs = {(s["name"], s["path"]) for s in suites} | {(r.suite, r.path) for r in records}
    times = Counter(name for name, _ in pairs)
    return (
        [replace(r, suite=r.path) if times[r.suite] > 1 else r for r in records],
        [{**s, "name": s["path"]} if times[s["name"]] > 1 else s for s in suites],
    )


def table(records: Sequence[CheckRecord]) -> list[str]:
    """Aligned lines, in the order given; no colour or symbol is needed to understand them."""
    levels = sorted({record.confidence for record in records})
    bounds = "/".join(f"{100 * level:g}%" for level in levels) + " bounds"
    headings = [bounds if heading == "bounds" else heading for heading in HEADINGS]
    return aligned([headings, *(_cells(record) for record in records)], right={1, 2})


def _cells(record: CheckRecord) -> list[str]:
    return [
        check_name(record),
        str(record.n),
        f"{record.value:.3g}" if record.exact else f"{record.value:.3f}",
        "exact" if record.exact else f"[{record.lower:.3f}, {record.upper:.3f}]",
        record.required,
        record.verdict if record.verdict != "inconclusive" else _inconclusive(record),
    ]


def check_name(record: CheckRecord) -> str:
    """Suite, check and slice in one word."""
    where = f"[{record.slice}]" if record.slice else ""
    return printable(f"{record.suite}::{record.name}{where}")


def _inconclusive(record: CheckRecord) -> str:
    return "inconclusive" if record.gate == "failed" else "inconclusive (warn)"


def tally(records: Sequence[CheckRecord]) -> str:
    """How many checks came out which way, in one line."""
    counts = Counter(record.verdict for record in records)
    parts = [f"{counts[v]} {v}" for v in ("pass", "fail", "inconclusive") if counts[v]]
    plural = "" if len(records) == 1 else "s"
    return f"{len(records)} check{plural}: {', '.join(parts)}."


def taken_line(paths: Iterable[str], shown: int = 5) -> str:
    """How many files were taken as suites, and which."""
    files = sorted(set(paths))
    if len(files) == 1:
        return f"1 file taken as a suite: {files[0]}"
    named = f": {listed(files, shown)}" if files else ""
    return f"{len(files)} files taken as suites{named}"


def notes(records: Sequence[CheckRecord]) -> list[str]:
    """What a reader of the numbers must know, a line a check that has something to say."""
    said = [
        (record, "; ".join(filter(None, (record.note, _left_out(record), _by_length(record)))))
        for record in records
    ]
    lines = [f"{check_name(record)}: {text}" for record, text in said if text]
    if any(record.kind == "max_drop" and record.value < 0 for record in records):
        lines.append("a drop below 0 is an improvement on the baseline")
    return lines


def _by_length(record: CheckRecord) -> str:
    """What a length-lover would have reached, where the candidate does no better."""
    longest = record.facts.get("longer_is_better")
    if longest is None or record.kind == "max_drop":
        return ""
    better = record.value > longest if record.kind == "at_least" else record.value < longest
    return "" if better else f"no better than if the longest answer won ({longest:.3f})"


def _left_out(record: CheckRecord) -> str:
    reasons = (
        (record.left_out, "they have too few responses"),
        (record.constant_golden, "their golden rewards are all equal"),
    )
    return "; ".join(f"{count} prompts left out, {why}" for count, why in reasons if count)


def suite_lines(suite: Mapping[str, Any]) -> list[str]:
    """Where the scores of a suite came from, and what was found wrong with its pool."""
    pool = suite["pool"]
    faults = [
        f"{count} {kind} {PAST[action]}"
        for kind, counts in pool["faults"].items()
        for action, count in counts.items()
    ]
    units = f" ({pool['units']} independent)" if pool["units"] != pool["prompts"] else ""
    size = f"{pool['prompts']} prompts{units}, {pool['responses']} responses"
    found = f"; {', '.join(faults)}" if faults else ""
    lines = [f"{suite['name']}: pool {pool['path']} ({pool['format']}): {size}{found}"]
    if "adaptive" in suite:
        lines.append(f"{suite['name']}: {_spared(suite['adaptive'])}")
    return lines


def _spared(adaptive: Mapping[str, Any]) -> str:
    """How much of a pool was scored, and at which level its checks were decided."""
    share = adaptive["prompts"] / adaptive["of_prompts"]
    looks, last = adaptive["planned_looks"], adaptive["looks"][-1]
    scored = (
        f"adaptive: {adaptive['prompts']:,} of {adaptive['of_prompts']:,} prompts scored "
        f"({share:.0%}), {adaptive['responses']:,} of {adaptive['of_responses']:,} responses"
    )
    if looks == 1:
        return f"{scored}; too few prompts for more than one look"
    return (
        f"{scored}; look {len(adaptive['looks'])} of {looks}, with bounds at "
        f"{100 * last['level']:.4g}% that hold {100 * adaptive['confidence']:g}% over all looks"
    )


def model_lines(suite: Mapping[str, Any]) -> list[str]:
    """What the models of a suite showed together: of an ensemble, where its members disagree."""
    return [
        f"{suite['name']}: {model['role']} {model['name']}: {model['description'][remark]}"
        for model in suite["models"]
        for remark in ("warning", "disagreement")
        if remark in model["description"]
    ]


def scoring_lines(suites: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many scores each model gave and how many the store had, a line a model."""
    models = {m["fingerprint"]: m for suite in suites for m in suite["models"] if m["scoring"]}
    return [str(ScoringReport(**model["scoring"])) for model in models.values()]
