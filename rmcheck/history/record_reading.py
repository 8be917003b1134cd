"""Records from their files, and from the report of a run."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from rmcheck.errors import FileError, Problem, UsageError
from rmcheck.history.record_text import Fields, parsed
from rmcheck.history.records import CheckEntry, RegretRecord, RunRecord, Target
from rmcheck.metrics.regret.optimizer import Optimizer


def run_records(
    report: Mapping[str, Any], *, time: datetime | None = None, path: str = "report"
) -> list[RunRecord]:
    """Records of the candidate on every suite of a report that decided a check.

    Args:
        report: Content of `report.json` (`rmcheck.reports.document`).
        time: When the run took place; None for now.
        path: Name of the report in errors.

    Raises:
        FileError: It is not such a report; all problems are named.
    """
    problems: list[Problem] = []
    fields = Fields(dict(report), path, "", problems)
    if not {"report", "suites", "checks"} <= set(report):
        fields.say("not a report of `pytest --rmcheck`: it has no report, suites and checks")
        raise FileError(problems)
    version = fields.string("rmcheck")
    by_suite: dict[str, list[CheckEntry]] = {}
    for row in fields.rows("checks"):
        by_suite.setdefault(row.string("path"), []).append(_check(row))
    when = (time or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    found = [_of_suite(suite, version, when, by_suite) for suite in fields.rows("suites")]
    if problems:
        raise FileError(problems)
    return [record for record in found if record.checks]


def read_report(path: Path) -> list[RunRecord]:
    """`run_records` of a file; the run took place when the file was written.

    Raises:
        FileError: The file cannot be read, or is not such a report; all problems are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileError([Problem(str(path), f"cannot be read: {why}")]) from error
    problems: list[Problem] = []
    fields = parsed(text, str(path), problems)
    if fields is None:
        raise FileError(problems)
    return run_records(fields.data, time=time, path=str(path))


def run_from(fields: Fields) -> RunRecord | None:
    """A run from its file, or None after noting what is wrong."""
    before = len(fields.problems)
    rm, suite, pool, golden = (fields.section(key) for key in ("rm", "suite", "pool", "golden"))
    rows = fields.rows("checks")
    record = RunRecord(
        rmcheck=fields.string("rmcheck"),
        time=fields.time("time"),
        rm=rm.string("name"),
        spec=rm.string("spec"),
        fingerprint=rm.words("fingerprint"),
        suite=suite.string("name"),
        suite_path=suite.string("path"),
        pool=pool.string("path"),
        pool_fingerprint=pool.words("fingerprint"),
        golden=golden.words("source"),
        golden_fingerprint=golden.string("fingerprint"),
        checks=tuple(_check(row) for row in rows),
        lineage=fields.words("lineage") if "lineage" in fields.data else "",
    )
    for each in (fields, rm, suite, pool, golden, *rows):
        each.close()
    return record if len(fields.problems) == before else None


def regret_from(fields: Fields) -> RegretRecord | None:
    """A regret from its file, or None after noting what is wrong."""
    before = len(fields.problems)
    rm, target = fields.section("rm"), fields.section("target")
    kind: Literal["n", "kl"] = "n" if "n" in target.data else "kl"
    reached = target.number(kind)
    optimizer = target.words("optimizer") if "optimizer" in target.data else "best_of_n"
    run, fingerprint = fields.words("run"), rm.words("fingerprint")
    value, time, note = fields.number("regret"), fields.time("time"), fields.string("note")
    lower = fields.number("lower") if "lower" in fields.data else None
    upper = fields.number("upper") if "upper" in fields.data else None
    seed = fields.whole("seed") if "seed" in fields.data else None
    for each in (fields, rm, target):
        each.close()
    if len(fields.problems) > before:
        return None
    try:
        target_reached = Target(kind, reached, cast(Optimizer, optimizer))  # it checks the word
        return RegretRecord(run, fingerprint, value, target_reached, time, lower, upper, seed, note)
    except UsageError as error:
        fields.say(str(error), "regret")
        return None


def _check(row: Fields) -> CheckEntry:
    return CheckEntry(
        name=row.string("name"),
        metric=row.words("metric"),
        settings=row.anything("settings"),
        signature=row.words("signature"),
        slice=row.string("slice"),
        value=row.number("value"),
        lower=row.bound("lower", -math.inf),
        upper=row.bound("upper", math.inf),
        confidence=row.number("confidence"),
        n=row.whole("n"),
        facts=row.numbers("facts"),
        verdict=row.words("verdict"),
    )


def _of_suite(
    suite: Fields, version: str, time: datetime, by_suite: Mapping[str, Sequence[CheckEntry]]
) -> RunRecord:
    pool, path = suite.section("pool"), suite.string("path")
    models = {model.string("role"): model for model in suite.rows("models")}
    if "candidate" not in models:
        suite.say(f"suite {suite.string('name')!r} names no candidate")
    candidate = models.get("candidate", suite)
    golden = models.get("golden")
    return RunRecord(
        rmcheck=version,
        time=time,
        rm=candidate.string("name"),
        spec=candidate.string("spec") if "candidate" in models else "",
        fingerprint=candidate.words("fingerprint") if "candidate" in models else "",
        suite=suite.string("name"),
        suite_path=path,
        pool=pool.string("path"),
        pool_fingerprint=pool.words("fingerprint"),
        golden=suite.words("golden"),
        golden_fingerprint=golden.words("fingerprint") if golden else "",
        checks=tuple(by_suite.get(path, ())),
        lineage=suite.string("lineage") if "lineage" in suite.data else "",
    )
