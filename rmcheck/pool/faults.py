"""What can be wrong with a row, what is done about it, and how it is reported."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from rmcheck.errors import Problem, UsageError, near_miss
from rmcheck.pool.pool import Fault, FaultAction, FaultKind, Pool

# Rows named in one message, one of each sort; the others are counted.
SHOWN = 20
# Details that differ in numbers alone are of one sort.
_NUMBERS = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
# Files in which a row is not a line.
NUMBERED_BY_ROW = (".json", ".json.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How one kind of fault is treated.

    Attributes:
        default: What is done unless the suite says otherwise.
        allowed: What a suite may say.
        meaning: The fault in one clause, for messages.
    """

    default: FaultAction
    allowed: tuple[FaultAction, ...]
    meaning: str


_FAIL_OR_DROP: tuple[FaultAction, ...] = ("fail", "drop")
_ANY: tuple[FaultAction, ...] = get_args(FaultAction)

FAULT_RULES: Mapping[FaultKind, FaultRule] = {
    "malformed_row": FaultRule(
        "fail", _FAIL_OR_DROP, "a field is missing or of another type, or the line is not JSON"
    ),
    "duplicate_prompt_id": FaultRule("fail", _FAIL_OR_DROP, "two rows have one prompt id"),
    "differing_prompts": FaultRule(
        "fail", _FAIL_OR_DROP, "the answers do not belong to one conversation"
    ),
    "missing_label": FaultRule("fail", _ANY, "a response was not judged"),
    "identical_answers": FaultRule("keep", _ANY, "two answers of a prompt are the same text"),
    "duplicate_row": FaultRule("keep", _ANY, "same conversation and answers as an earlier row"),
    "empty_answer": FaultRule("keep", _ANY, "an answer is empty or white space"),
    "repeated_role": FaultRule("keep", _ANY, "two turns in a row by one role"),
}


def fault_actions(overrides: Mapping[FaultKind, FaultAction]) -> dict[FaultKind, FaultAction]:
    """What to do about each kind: the defaults, with a suite's overrides.

    Raises:
        UsageError: Unknown kind, or an action that this kind does not allow; all are named.
    """
    wrong = []
    for kind, action in overrides.items():
        if kind not in FAULT_RULES:
            hint = near_miss(kind, FAULT_RULES)
            wrong.append(f"unknown fault {kind!r}.{hint} Faults: {', '.join(FAULT_RULES)}.")
        elif action not in FAULT_RULES[kind].allowed:
            allowed = " or ".join(repr(a) for a in FAULT_RULES[kind].allowed)
            wrong.append(f"fault {kind!r} cannot be {action!r}; say {allowed}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    return {kind: rule.default for kind, rule in FAULT_RULES.items()} | dict(overrides)


def fault_counts(pool: Pool) -> dict[FaultKind, dict[FaultAction, int]]:
    """How many faults of each kind were found, by what was done about them; none are left out.

    The order is that of `FAULT_RULES`, so that reports of two pools read alike.
    """
    counts = Counter((fault.kind, fault.action) for fault in pool.faults)
    return {
        kind: {action: counts[kind, action] for action in _ANY if counts[kind, action]}
        for kind in FAULT_RULES
        if any(counts[kind, action] for action in _ANY)
    }


def fault_problems(
    faults: Sequence[Fault], *, read: int, unit: str = "rows", in_suite: bool = True
) -> list[Problem]:
    """One problem a kind for the faults that fail the read: how many, which, and the way out.

    Args:
        faults: Everything found; only those with the action `fail` count.
        read: How many rows (or prompts) were read in all.
        unit: What `read` counts.
        in_suite: Whether a suite names the file, and so can say to read it all the same.
    """
    problems = []
    for kind, rule in FAULT_RULES.items():
        failed = [fault for fault in faults if fault.kind == kind and fault.action == "fail"]
        if not failed:
            continue
        problems.append(
            problem_of_rows(
                f"{kind}: {len(failed)} in {read} {unit} ({rule.meaning})",
                [(fault.path, fault.line, fault.prompt_id, fault.detail) for fault in failed],
                _way_out(kind, rule, leaves_some=_leaves_some(kind, failed, read))
                if in_suite
                else "",
            )
        )
    return problems


def place(path: str, line: int) -> str:
    """Where a row stands, as messages show it: `a.jsonl:3`, or `a.parquet row 3`."""
    return f"{path} row {line}" if path.endswith(NUMBERED_BY_ROW) else f"{path}:{line}"


def problem_of_rows(
    summary: str, rows: Sequence[tuple[str, int, str, str]], way_out: str = ""
) -> Problem:
    """One problem that rows (path, line, prompt id, detail) have, at the place of the first."""
    path, line = rows[0][:2]
    alike: dict[str, list[str]] = {}
    for where, number, name, detail in rows:
        line_of_row = f"  {place(where, number)}{f' ({name})' if name else ''}: {detail}"
        alike.setdefault(_NUMBERS.sub("0", detail), []).append(line_of_row)
    listed = [
        first + (f"\n    and {len(others)} more like it" if others else "")
        for first, *others in alike.values()
    ]
    if len(listed) > SHOWN:
        unseen = sum(map(len, list(alike.values())[SHOWN:]))
        listed[SHOWN:] = [f"  and {unseen} more"]
    message = "\n".join(filter(None, [summary, *listed, way_out]))
    return Problem(path, message, line=0 if path.endswith(NUMBERED_BY_ROW) else line)


def capped(problems: Sequence[Problem]) -> list[Problem]:
    """The first problems, and how many more there are."""
    if len(problems) <= SHOWN:
        return list(problems)
    more = f"and {len(problems) - SHOWN} more problems"
    return [*problems[:SHOWN], Problem(problems[SHOWN].path, more)]


def _leaves_some(kind: FaultKind, faults: Sequence[Fault], read: int) -> bool:
    """Whether something is left when what has these faults is dropped."""
    rows = {(fault.path, fault.line) for fault in faults}
    return kind == "missing_label" or len(rows) < read  # a label drops its response, not the row


def _way_out(kind: FaultKind, rule: FaultRule, *, leaves_some: bool) -> str:
    """What may be written in the suite."""
    no_remedy = {"fail"} if leaves_some else {"fail", "drop"}
    others = [action for action in rule.allowed if action not in no_remedy]
    what = {"drop": "leave them out", "keep": "keep them"}
    if kind == "missing_label":
        what["keep"] = "have them scored all the same, where those judged were drawn at random"
    return "\n".join(
        f"  to {what[action]}, write in the suite:\n"
        f"    pool:\n      faults:\n        {kind}: {action}"
        for action in others
    )
