"""What a check that did not pass says: numbers first, then why, then what to do."""

import shlex
from collections.abc import Sequence

from rmcheck.checks.record import CheckRecord, EstimateRecord, MistakeRecord
from rmcheck.reports.drift import drift_lines
from rmcheck.wording import excerpt, printable

TEXT_WIDTH = 72


def failure_text(record: CheckRecord, *, models: dict[str, str], options: Sequence[str]) -> str:
    """The body of a failed check.

    Args:
        record: The check.
        models: Role (`candidate`, `baseline`) to the name of its model.
        options: Command-line options that repeat this run, for the rerun line.
    """
    parts = [
        [record.reason],
        _numbers(record, models),
        _explanation(record),
        _mistakes(record.mistakes),
        [f"  {line}" for line in drift_lines(record.drifts)],
        _origin(record, options),
    ]
    return "\n\n".join("\n".join(map(printable, lines)) for lines in parts if lines) + "\n"


def _numbers(record: CheckRecord, models: dict[str, str]) -> list[str]:
    where = f" where {record.slice.replace('=', ' is ')}" if record.slice else ""
    settings = ", ".join(f"{k} {v}" for k, v in record.settings.items() if v is not None)
    setting = f" ({settings})" if settings else ""
    title = f"  {record.metric}{setting}{where}, {record.n} prompts"
    if record.left_out:
        title += f" ({record.left_out} left out: too few responses)"
    if record.exact:
        return [title, *_exact_numbers(record, models), *_facts(record)]
    rows = [("candidate", models.get("candidate", ""), _estimate(record.candidate))]
    if record.baseline:
        rows.append(("baseline", models.get("baseline", ""), _estimate(record.baseline)))
    if record.kind == "max_drop":
        drop = EstimateRecord(record.value, record.lower, record.upper)
        rows.append(("drop", "", _estimate(drop)))
    end = "lower" if record.kind == "at_least" else "upper"
    level = f"{100 * record.confidence:g}%"
    rows.append(("required", "", f"{record.bound:6.3f}  by the {end} {level} bound"))
    width = max(len(name) for _, name, _ in rows)
    lines = [f"    {role:9s}  {name.ljust(width)}  {text}" for role, name, text in rows]
    return [title, *lines, *_facts(record)]


def _exact_numbers(record: CheckRecord, models: dict[str, str]) -> list[str]:
    """The engines compared, and a number that has no interval."""
    rows = [(role, models[role]) for role in ("candidate", "serving") if role in models]
    width = max((len(role) for role, _ in rows), default=0)
    return [
        *(f"    {role.ljust(width)}  {name}" for role, name in rows),
        f"    measured   {record.value:.6g}, exact on these rows",
        f"    required   {record.required}",
    ]


def _estimate(e: EstimateRecord) -> str:
    return f"{e.value:6.3f}  [{e.lower:.3f}, {e.upper:.3f}]"


def _facts(record: CheckRecord) -> list[str]:
    form = ".6g" if record.exact else ".3f"
    facts = [
        f"    {name.replace('_', ' ')}: {value:{form}}" for name, value in record.facts.items()
    ]
    return facts + ([f"    {record.note}"] if record.note else [])


def _explanation(record: CheckRecord) -> list[str]:
    if record.verdict == "fail":
        return []
    if record.concerns:
        return ["  Nothing can be decided:", *(f"    {concern}" for concern in record.concerns)]
    lines = []
    if record.prompts_needed is not None and record.prompts_needed > record.n:
        lines.append(
            f"  {record.n} prompts cannot tell {record.value:.3f} from {record.bound:g}; "
            f"about {record.prompts_needed} could."
        )
    elif record.value == record.bound:
        lines.append("  The value lies on the bound: no number of prompts would decide.")
    lines.append("  The gate stays closed: add prompts, or ask for what you can accept.")
    return lines


def _mistakes(mistakes: Sequence[MistakeRecord]) -> list[str]:
    if not mistakes:
        return []
    lines = ["  picks that lose the most golden reward", "      lost   margin  prompt"]
    for m in mistakes:
        prompt, picked, better = (excerpt(t, TEXT_WIDTH) for t in (m.prompt, m.picked, m.better))
        lines += [
            f"    {m.golden_loss:6.3f}  {m.margin:7.3f}  {m.prompt_id}: {prompt}",
            f"                     picked: {picked}",
            f"                     better: {better}",
        ]
    return lines


def _origin(record: CheckRecord, options: Sequence[str]) -> list[str]:
    command = shlex.join(["pytest", record.node, "--rmcheck", *options])
    return [f"  {record.path}:{record.line}", f"  {record.signature}", f"  {command}"]
