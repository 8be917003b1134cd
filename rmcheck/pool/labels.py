"""One label column of a pool: which responses have a golden reward, and which go without."""

import math
from dataclasses import replace

import numpy as np

from rmcheck.errors import PoolError, Problem
from rmcheck.pool.columns import Bools, Floats, PoolColumns
from rmcheck.pool.faults import fault_actions, fault_problems
from rmcheck.pool.pool import Fault, FaultAction, Pool
from rmcheck.pool.row import near

# PoolColumns that `rmcheck sample` writes: 1 where a response was drawn for a label, and the
# probability with which it could be drawn.
TO_LABEL, INCLUSION = "to_label", "inclusion"


def labelled(pool: Pool, column: str = "golden", missing: FaultAction = "fail") -> Pool:
    """The pool with a number in this column for every response, but those that may go without.

    Responses keep their places in their source rows (`Prompt.indices`), so scores found under
    `(prompt_id, index)` stay theirs.

    A response without a label may stay where `missing` is `keep`, and where the pool's own column
    `to_label` says that it was not drawn for one; a label that such a response has beside others
    without is not used, since nobody knows why it was given.

    Args:
        pool: A pool as read.
        column: A label column.
        missing: What to do about responses without this label: `fail`, `drop` them, or `keep` them
            unlabelled. Prompts that have no label are dropped. The new faults count prompts.

    Raises:
        PoolError: There is no such column, labels are missing and `missing` is `fail`, or no
            prompt has a label.
        UsageError: `missing` is none of these.
    """
    fault_actions({"missing_label": missing})
    if column not in pool.label_columns:
        raise PoolError([Problem(str(pool.path), _no_column(pool, column))])
    columns = pool.columns
    values = columns.label(column)
    given = ~np.isnan(values)
    complete = (columns.number(given) == columns.counts) & (columns.counts > 0)
    if complete.all():
        return pool
    wanted = _wanted(columns)
    # As designed: labels that were not drawn are not used, unless all responses have one.
    given &= wanted | columns.per_response(complete)
    absent = columns.number(wanted & ~given)
    judged = columns.number(given) > 0
    faults = [
        _missing(columns, i, column, int(absent[i]), bool(judged[i]), missing)
        for i in np.flatnonzero(~complete & ((absent > 0) | ~judged)).tolist()
    ]
    problems = fault_problems(faults, read=len(pool.prompts), unit="prompts")
    if not judged.any():
        problems.append(Problem(str(pool.path), f"no response has a number in {column!r}"))
    if problems:
        raise PoolError(problems)
    kept = given | ~wanted if missing == "drop" else None
    part = pool.part(judged, kept, {column: np.where(given, values, np.nan)})
    return replace(part, faults=(*pool.faults, *faults))


def judged_alone(pool: Pool, column: str) -> Pool:
    """The pool without the responses that have no number in this column."""
    given = ~np.isnan(pool.columns.label(column))
    return pool if given.all() else pool.part(np.ones(len(pool.prompts), bool), given)


def inclusion(pool: Pool, column: str) -> Floats:
    """(M,) probability with which each response was chosen for a label in this column.

    What the pool says in `inclusion`; else, and for prompts whose responses are all labelled, the
    labelled share. Where labels that were drawn are missing, they are taken as missing at random.

    Raises:
        PoolError: A probability of a labelled response is missing, or outside (0, 1].
    """
    columns = pool.columns
    given = ~np.isnan(columns.label(column))
    have = columns.number(given)
    share = columns.per_response(have / np.maximum(columns.counts, 1))
    if INCLUSION not in columns.labels:
        return share
    stated = columns.labelled[INCLUSION] & (have < columns.counts)
    known = columns.label(INCLUSION)
    wrong = given & columns.per_response(stated) & ~((known > 0) & (known <= 1))
    if wrong.any():
        raise PoolError([_no_probability(columns, int(np.argmax(wrong)), float(known[wrong][0]))])
    drawn = np.where(_has(columns, TO_LABEL), columns.number(_wanted(columns)), have)
    kept = columns.per_response(np.minimum(1.0, have / np.maximum(drawn, 1)))
    return np.where(columns.per_response(stated), np.nan_to_num(known) * kept, share)


def _wanted(columns: PoolColumns) -> Bools:
    """(M,) responses that should have a label."""
    free = ~columns.per_response(_has(columns, TO_LABEL))
    drawn: Bools = columns.label(TO_LABEL) == 1
    return free | drawn


def _has(columns: PoolColumns, column: str) -> Bools:
    """(P,) prompts that have a label column."""
    return columns.labelled.get(column, np.zeros(columns.counts.size, bool))


def _missing(
    columns: PoolColumns, row: int, column: str, absent: int, judged: bool, missing: FaultAction
) -> Fault:
    # A prompt of which nothing was drawn is no fault of its labels.
    action: FaultAction = missing if absent and (judged or missing == "fail") else "drop"
    count = int(columns.counts[row])
    detail = f"{absent or count} of {count} responses have no {column!r}"
    return Fault(
        "missing_label",
        int(columns.lines[row]),
        columns.prompt_ids[row],
        detail,
        action,
        columns.paths[row],
    )


def _no_probability(columns: PoolColumns, response: int, chance: float) -> Problem:
    row = int(np.searchsorted(columns.ends, response, side="right")) - 1
    where = f"prompt {columns.prompt_ids[row]!r}, response {response - columns.ends[row]}"
    value = None if math.isnan(chance) else chance
    message = f"{INCLUSION!r} of {where} is {value}; a probability above 0, at most 1"
    return Problem(columns.paths[row], message, line=int(columns.lines[row]))


def _no_column(pool: Pool, column: str) -> str:
    if column in pool.slice_columns:
        return (
            f"{column!r} is a slice (one value a prompt), not a label column (one number a "
            f"response); label columns: {', '.join(pool.label_columns) or 'none'}"
        )
    return f"no label column {column!r}{near(column, pool.label_columns, 'the pool')}"
