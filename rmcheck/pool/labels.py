"""One label column of a pool, complete."""

from dataclasses import replace

from rmcheck.errors import PoolError, Problem
from rmcheck.pool.faults import fault_actions, fault_problems
from rmcheck.pool.pool import Fault, FaultAction, Pool, Prompt
from rmcheck.pool.row import near


def labelled(pool: Pool, column: str = "golden", missing: FaultAction = "fail") -> Pool:
    """The pool with a number in this column for every response.

    Responses keep their places in their source rows (`Prompt.indices`), so scores found under
    `(prompt_id, index)` stay theirs.

    Args:
        pool: A pool as read.
        column: A label column.
        missing: What to do about responses without this label: `fail`, or `drop` them, and the
            prompts that have none left. The new faults count prompts.

    Raises:
        PoolError: There is no such column, labels are missing and `missing` is `fail`, or no
            prompt has a label.
        UsageError: `missing` is neither.
    """
    fault_actions({"missing_label": missing})
    if column not in pool.label_columns:
        raise PoolError([Problem(str(pool.path), _no_column(pool, column))])
    prompts, faults = [], []
    for prompt in pool.prompts:
        values = prompt.labels.get(column, (None,) * len(prompt.responses))
        judged = [i for i, value in enumerate(values) if value is not None]
        if len(judged) < len(values):
            detail = f"{len(values) - len(judged)} of {len(values)} responses have no {column!r}"
            faults.append(
                Fault("missing_label", prompt.line, prompt.prompt_id, detail, missing, prompt.path)
            )
        if judged:
            prompts.append(prompt if len(judged) == len(values) else _part(prompt, judged))
    problems = fault_problems(faults, read=len(pool.prompts), unit="prompts")
    if not prompts:
        problems.append(Problem(str(pool.path), f"no response has a number in {column!r}"))
    if problems:
        raise PoolError(problems)
    return replace(pool, prompts=tuple(prompts), faults=(*pool.faults, *faults))


def _part(prompt: Prompt, kept: list[int]) -> Prompt:
    """A prompt with some of its responses."""
    return replace(
        prompt,
        responses=tuple(prompt.responses[i] for i in kept),
        labels={name: tuple(values[i] for i in kept) for name, values in prompt.labels.items()},
        indices=tuple(prompt.indices[i] for i in kept),
    )


def _no_column(pool: Pool, column: str) -> str:
    if column in pool.slice_columns:
        return (
            f"{column!r} is a slice (one value a prompt), not a label column (one number a "
            f"response); label columns: {', '.join(pool.label_columns) or 'none'}"
        )
    return f"no label column {column!r}{near(column, pool.label_columns, 'the pool')}"
