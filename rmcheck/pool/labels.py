"""One label column of a pool: which responses have a golden reward, and which go without."""

from dataclasses import replace

from rmcheck.errors import PoolError, Problem
from rmcheck.pool.faults import fault_actions, fault_problems
from rmcheck.pool.pool import Fault, FaultAction, Pool, Prompt
from rmcheck.pool.row import near

# Columns that `rmcheck sample` writes: 1 where a response was drawn for a label, and the
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
    prompts, faults = [], []
    for whole in pool.prompts:
        if _is_labelled(whole, column):
            prompts.append(whole)
            continue
        prompt = _as_designed(whole, column)
        values = prompt.labels.get(column, (None,) * len(prompt.responses))
        absent = [i for i in _wanted(prompt) if values[i] is None]
        judged = any(value is not None for value in values)
        if absent or not judged:
            # A prompt of which nothing was drawn is no fault of its labels.
            action: FaultAction = missing if absent and (judged or missing == "fail") else "drop"
            detail = f"{len(absent) or len(values)} of {len(values)} responses have no {column!r}"
            faults.append(
                Fault("missing_label", prompt.line, prompt.prompt_id, detail, action, prompt.path)
            )
        if judged:
            gone = set(absent) if missing == "drop" else set()
            prompts.append(_part(prompt, [i for i in range(len(values)) if i not in gone]))
    problems = fault_problems(faults, read=len(pool.prompts), unit="prompts")
    if not prompts:
        problems.append(Problem(str(pool.path), f"no response has a number in {column!r}"))
    if problems:
        raise PoolError(problems)
    return replace(pool, prompts=tuple(prompts), faults=(*pool.faults, *faults))


def judged_alone(pool: Pool, column: str) -> Pool:
    """The pool without the responses that have no number in this column."""
    prompts = []
    for prompt in pool.prompts:
        if _is_labelled(prompt, column):
            prompts.append(prompt)
            continue
        values = prompt.labels.get(column, (None,) * len(prompt.responses))
        kept = [i for i, value in enumerate(values) if value is not None]
        prompts.append(_part(prompt, kept))
    return replace(pool, prompts=tuple(prompts))


def inclusion(prompt: Prompt, column: str) -> tuple[float, ...]:
    """Probability with which each response was chosen for a label in this column.

    What the pool says in `inclusion`; else, and for prompts whose responses are all labelled, the
    labelled share. Where labels that were drawn are missing, they are taken as missing at random.

    Raises:
        PoolError: A probability of a labelled response is missing, or outside (0, 1].
    """
    values = prompt.labels.get(column, (None,) * len(prompt.responses))
    have = sum(value is not None for value in values)
    known = prompt.labels.get(INCLUSION)
    if known is None or have == len(values):
        return (have / len(values),) * len(values)
    drawn = len(_wanted(prompt)) if TO_LABEL in prompt.labels else have
    found = []
    for i, (value, chance) in enumerate(zip(values, known, strict=True)):
        if value is not None and not (chance is not None and 0 < chance <= 1):
            where = f"prompt {prompt.prompt_id!r}, response {i}"
            message = f"{INCLUSION!r} of {where} is {chance}; a probability above 0, at most 1"
            raise PoolError([Problem(prompt.path, message, line=prompt.line)])
        found.append((chance or 0.0) * min(1.0, have / drawn))
    return tuple(found)


def _is_labelled(prompt: Prompt, column: str) -> bool:
    values = prompt.labels.get(column)
    return values is not None and len(values) > 0 and None not in values


def _wanted(prompt: Prompt) -> list[int]:
    """Responses that should have a label."""
    drawn = prompt.labels.get(TO_LABEL)
    return [i for i in range(len(prompt.responses)) if drawn is None or drawn[i] == 1]


def _as_designed(prompt: Prompt, column: str) -> Prompt:
    """The prompt without labels that were not drawn, unless all responses have one."""
    values = prompt.labels.get(column)
    if values is None or TO_LABEL not in prompt.labels or None not in values:
        return prompt
    wanted = set(_wanted(prompt))
    used = tuple(value if i in wanted else None for i, value in enumerate(values))
    return replace(prompt, labels={**prompt.labels, column: used})


def _part(prompt: Prompt, kept: list[int]) -> Prompt:
    """A prompt with some of its responses; the prompt itself where they are all."""
    if len(kept) == len(prompt.responses):
        return prompt
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
