"""Reading a suite with its pool and its history, and checking what one asks of the other."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.errors import (
    FileError,
    NoSuchClusterError,
    PoolError,
    Problem,
    SuiteError,
    UndefinedMetricError,
    near_miss,
)
from rmcheck.hub import hub_data, is_hub_data
from rmcheck.metrics.components import component_column
from rmcheck.metrics.policy_steps import PolicySteps
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.labels import judged_alone, labelled
from rmcheck.pool.pool import Pool
from rmcheck.probes.effect import ProbeEffect
from rmcheck.run.loaded import LoadedSuite
from rmcheck.suite.loader import PartlyReadError, load_suite
from rmcheck.suite.locate import check_problem, suite_problem
from rmcheck.suite.suite import Check, Suite

if TYPE_CHECKING:  # read where a suite has one
    from rmcheck.history.history import HistoryContents

# `read_pool`, or what reads as it does.
ReadPool = Callable[..., Pool]


def read_anew(path: Path, **how: Any) -> Pool:
    """`read_pool`, whose readers are imported where a file is read."""
    from rmcheck.pool.reading import read_pool

    return read_pool(path, **how)


def load(path: Path, read: ReadPool = read_anew) -> LoadedSuite:
    """Read a suite, its pool and its history, and check what one asks of the other.

    Raises:
        SuiteError: The file is wrong, or asks for what its pool does not have.
        PoolError: The pool is wrong.
        FileError: The history is wrong.
    """
    try:
        return with_pool(load_suite(path), read)
    except PartlyReadError as error:
        raise SuiteError(_with_those_of_the_pool(error, read)) from error


def _with_those_of_the_pool(error: PartlyReadError, read: ReadPool) -> list[Problem]:
    """The problems of a suite file, and what its pool has to say to the rest of it."""
    places = {(problem.line, problem.column) for problem in error.problems}
    try:
        with_pool(error.suite, read)
    except FileError as further:
        new = [p for p in further.problems if (p.line, p.column) not in places]
        return [*error.problems, *new]
    return list(error.problems)


def with_pool(suite: Suite, read: ReadPool = read_anew) -> LoadedSuite:
    """A suite with its pool and its history, checked against each other."""
    pool = whole = _pool_of(suite, read)
    golden = suite.golden
    column = golden.read_of_all
    named = {"column": golden.column, "judge": golden.judge, "repeat": golden.repeat}
    problems = [
        _unknown_column(suite, pool, name, "label", "golden", key)
        for key, name in named.items()
        if name is not None and name not in pool.label_columns
    ]
    problems += _golden_of_checks(suite, pool)
    if problems:  # what else is wrong can be said without labels
        suite = replace(suite, golden=replace(golden, column=None, judge=None, repeat=None))
    elif column is not None:
        whole = labelled(pool, column, suite.source.faults.get("missing_label", "fail"))
        pool = judged_alone(whole, column)
    loaded = LoadedSuite(suite, pool, _history(suite), whole if pool is not whole else None)
    if problems := [*problems, *pool_problems(loaded)]:
        raise SuiteError(problems)
    return loaded


def _pool_of(suite: Suite, read: ReadPool) -> Pool:
    """The pool of a suite; a column that it has not is the suite's mistake, not the rows'."""
    source = suite.source
    of_hub = is_hub_data(str(source.path))
    path = hub_data(str(source.path)) if of_hub else source.path
    try:
        pool = read(path, format=source.format, faults=source.faults, cluster=source.cluster)
        # The name in the hub's cache says which commit it is; the file that it leads to does not.
        return replace(pool, path=path) if of_hub else pool
    except NoSuchClusterError as error:
        message = error.problems[0].message
        raise SuiteError([suite_problem(suite, message, "pool", "cluster")]) from error
    except PoolError as error:
        if path.exists():
            raise
        message = f"{path}: {error.problems[0].message}"
        found = [suite_problem(suite, message, "pool", "path", valid=_from_the_suite(suite, path))]
        raise SuiteError(found) from error


def _from_the_suite(suite: Suite, path: Path) -> str:
    """What to write where a path starts at the current folder and not at the suite's."""
    folder = suite.path.parent.absolute()
    here = Path(os.path.relpath(path, folder))
    if not here.exists():
        return ""
    return f"A path starts at the suite's folder: {Path(os.path.relpath(here.absolute(), folder))}."


def _history(suite: Suite) -> "HistoryContents | None":
    if suite.history is None:
        return None
    if not suite.history.is_dir():
        message = f"no folder {suite.history}; `rmcheck history add` makes it"
        raise SuiteError([suite_problem(suite, message, "history")])
    from rmcheck.history.history import History

    return History(suite.history).sound()


def _golden_of_checks(suite: Suite, pool: Pool) -> Iterator[Problem]:
    """Label columns that checks name and the pool has not, or not of all responses."""
    missing = suite.source.faults.get("missing_label", "fail")
    for check in suite.checks:
        if check.golden is None:
            continue
        if check.golden not in pool.label_columns:
            near = near_miss(check.golden, pool.label_columns)
            message = f"the pool has no label column {check.golden!r}.{near}"
            valid = f"Its label columns: {', '.join(pool.label_columns) or 'none'}."
            yield check_problem(suite, check, message, "golden", valid=valid)
            continue
        labelled(pool, check.golden, missing)


def pool_problems(loaded: LoadedSuite) -> list[Problem]:
    """What the suite asks of its pool that the pool cannot give."""
    unknown = [
        _unknown_column(loaded.suite, loaded.pool, column, "slice", "pool", "slices")
        for column in loaded.suite.source.slices
        if column not in loaded.pool.slice_columns
    ]
    expected = _expected(loaded)
    found = [_problem(loaded, check, expected) for check in loaded.suite.checks]
    return unknown + [problem for problem in found if problem is not None]


def _unknown_column(suite: Suite, pool: Pool, column: str, kind: str, *keys: str) -> Problem:
    known = pool.label_columns if kind == "label" else pool.slice_columns
    message = f"the pool has no {kind} column {column!r}.{near_miss(column, known)}"
    valid = f"Its {kind} columns: {', '.join(known) or 'none'}."
    if kind == "label" and known:
        valid += (
            " A field that is null in every row is no column. If one of these is golden, write in "
            f"the suite golden: {{column: {known[0]}}}."
        )
    if kind == "label" and not known:
        valid += (
            " Name a golden RM in the suite, golden: {model: SCHEME:LOCATION}, or give each row "
            'one number a response, "golden": [0.9, 0.1, …].'
        )
    return suite_problem(suite, message, *keys, valid=valid, unwritten="pool")


def _expected(loaded: LoadedSuite) -> Rewards:
    """What checks may ask for before a model is opened; models bring columns of their own."""
    frame = loaded.frame
    metrics = [check.metric for check in loaded.suite.checks if check.metric.brought_by_model]
    names = [name for metric in metrics for name in metric.columns]
    names += [component_column(c.component) for c in loaded.suite.checks if c.component]
    brought = dict.fromkeys(names, np.zeros(frame.proxy.size))
    return replace(frame, columns={**frame.columns, **brought})


def _problem(loaded: LoadedSuite, check: Check, expected: Rewards) -> Problem | None:
    if check.golden not in (None, *loaded.pool.label_columns):
        return None  # told already
    key = "metric"
    if isinstance(check.metric, ProbeEffect):
        key, expected = "probe", check.metric.blank(expected)
    try:
        _require_whole(loaded, check)
        expected = check.view.of(expected)
        check.metric.require(expected)
        key = "predictor"
        _require_history(loaded.suite, check)
        key = "over"
        if check.over is not None and check.steps is None:
            expected.require_slice(check.over)
        check.measured.require(expected)
        if check.steps is not None and check.holds_to is not None:
            steps = PolicySteps.read(expected, check.steps)
            key = "holds_to"
            steps.up_to(check.holds_to)
        key = "where"
        expected.matching(check.where)
    except UndefinedMetricError as error:
        return check_problem(loaded.suite, check, str(error), key)
    return None


def _require_history(suite: Suite, check: Check) -> None:
    if check.metric.needs_history and suite.history is None:
        raise UndefinedMetricError("predictor 'calibrated' needs the suite's 'history'")


def _require_whole(loaded: LoadedSuite, check: Check) -> None:
    """A statement about all rows needs all rows, and is about one checkpoint."""
    suite, name = loaded.suite, check.metric.name
    if check.view and loaded.whole is not None:
        raise UndefinedMetricError(
            "a component, and a golden of its own, are for pools whose responses are all labelled; "
            "write faults: {missing_label: drop} into the pool"
        )
    if check.golden is not None and suite.golden.judge is not None:
        raise UndefinedMetricError(
            "labels of humans put right the judge of the suite's golden, and no golden of a check; "
            "put it into a suite of its own"
        )
    if suite.golden.judge is not None and suite.adaptive:
        raise UndefinedMetricError(
            f"{name} by a judge that humans put right is measured on all prompts at once; "
            "leave out `adaptive: true` or `judge`"
        )
    if check.metric.exact and suite.adaptive:
        raise UndefinedMetricError(
            f"{name} is about every row, and with `adaptive: true` not every row is scored; "
            "put it into a suite of its own"
        )
    if check.steps is not None and suite.adaptive:
        raise UndefinedMetricError(
            f"{name} over the steps of a policy needs the prompts of every step, and with "
            "`adaptive: true` not every prompt is scored; put it into a suite of its own"
        )
    if check.metric.exact and check.needs_baseline:
        raise UndefinedMetricError(
            f"{name} compares two engines of one checkpoint, not checkpoints; write at_most "
            "instead of max_drop"
        )
