"""What a check that did not pass says: numbers first, then why, then what to do.

Ten lines a check, so that the failures of a suite fit on a screen; with `-v` all that
is known.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rmcheck.checks.record import CheckRecord, EstimateRecord, MistakeRecord, deciding
from rmcheck.reports.causes import cause_lines, suspicion
from rmcheck.reports.drift import drift_lines
from rmcheck.wording import apart, excerpt, printable

MOST_LINES = 10
# Columns taken by the words before a text.
INDENT = 14
# Characters shown before the place where two texts differ.
BEFORE = 24
# An accuracy below this, whatever chance.
UPSIDE_DOWN = 0.2
# How a worst pick is told, and a worst edit: the first line, and what its two texts are.
PICK_WORDS = (
    "worst pick: {id}, golden lost {loss:.3f}, reward margin {margin:.3f}",
    "picked:",
    "better:",
)
EDIT_WORDS = ("worst edit: {id}, reward higher by {margin:.3f}", "higher:", "lower:")
# What the names of facts mean, where the bare name can be misread.
FACTS = {
    "longer_is_better": "if the longest answer won",
    "proxy_gain": "golden gained, the candidate choosing",
    "shift_in_sd": "shift in standard deviations",
    "bad_beats_honest": "bad answers that beat the honest one",
    "bad_beats_honest_before": "before the edit",
    "golden_gain": "golden gained, golden choosing",
}


@dataclass(frozen=True)
class FailureView:
    """How a failure is shown.

    Attributes:
        models: Role (`candidate`, `baseline`) to the name of its model.
        options: Command-line options that repeat this run, for the rerun line.
        specs: Role to the spec of its model.
        verbose: Whether all that is known is wanted.
        same_picks: An earlier check that has shown the same worst picks; empty for none.
    """

    models: dict[str, str]
    options: Sequence[str] = ()
    specs: Mapping[str, str] = field(default_factory=dict)
    width: int = 100
    verbose: bool = False
    same_picks: str = ""


def failure_text(record: CheckRecord, look: FailureView) -> str:
    """The body of a failed check."""
    parts = [
        [record.reason],
        _numbers(record, look),
        _explanation(record),
        _causes(record, look),
        _mistakes(record, look),
        [f"  {line}" for line in drift_lines(record.drifts)],
    ]
    parts.append(_origin(record, look, MOST_LINES - sum(map(len, parts))))
    between = "\n\n" if look.verbose else "\n"
    return between.join("\n".join(map(printable, lines)) for lines in parts if lines) + "\n"


def training_text(record: CheckRecord, command: str) -> str:
    """The body of a failed check of the log of an RL run."""
    facts = [f"    {name.replace('_', ' ')}: {value:.4g}" for name, value in record.facts.items()]
    parts = [
        [record.reason],
        [
            f"  {record.metric} ({record.settings['measure']}), {record.n} points",
            f"    measured  {record.value:.3f}  [{record.lower:.3f}, {record.upper:.3f}]",
            f"    required  {record.bound:.3f}",
            *facts,
        ],
        [f"  {record.path}:{record.line}", f"  {record.signature}", f"  {command}"],
    ]
    return "\n".join("\n".join(map(printable, lines)) for lines in parts) + "\n"


def _numbers(record: CheckRecord, look: FailureView) -> list[str]:
    where = f" where {record.slice.replace('=', ' is ')}" if record.slice else ""
    title = f"  {record.metric}{_settings(record)}{where}, {record.n} independent prompts"
    if record.left_out:
        title += f" ({record.left_out} left out: too few responses)"
    if record.constant_golden:
        title += f" ({record.constant_golden} left out: all golden rewards equal)"
    title += f", {record.path}:{record.line}"
    if record.exact:
        return [title, *_exact_numbers(record, look.models), *_facts(record, look)]
    subject = "decay" if record.kind == "max_decay" else "candidate"
    estimate = record.candidate
    if record.kind in ("at_least", "at_most"):  # bounds as they decide: of a worst slice corrected
        estimate = EstimateRecord(record.value, record.lower, record.upper)
    rows = [(subject, look.models.get("candidate", ""), _estimate(estimate))]
    if record.baseline:
        rows.append(("baseline", look.models.get("baseline", ""), _estimate(record.baseline)))
    end = "lower" if record.kind == "at_least" else "upper"
    required = f"{record.bound:6.3f}  by the {end} {100 * record.confidence:g}% bound"
    if record.kind == "max_drop":
        drop = EstimateRecord(record.value, record.lower, record.upper)
        better = "  (below 0: better than the baseline)" if record.value < 0 else ""
        rows.append(("drop", "", f"{_estimate(drop)}{better}; required {required.strip()}"))
    else:
        rows.append(("required", "", required))
    width = max(len(name) for _, name, _ in rows)
    lines = [f"    {role:9s}  {name.ljust(width)}  {text}" for role, name, text in rows]
    facts = _facts(record, look)
    if look.verbose or not facts:
        return [title, *lines, *facts]
    return [title, *lines[:-1], f"{lines[-1]}; {facts[0].strip()}"]


def _settings(record: CheckRecord) -> str:
    given = ", ".join(f"{k} {v}" for k, v in record.settings.items() if v is not None)
    return f" ({given})" if given else ""


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


def _facts(record: CheckRecord, look: FailureView) -> list[str]:
    """Further numbers and how the value came about; the few that are always shown in one line."""
    form = ".6g" if record.exact else ".3f"
    whole, drops = look.verbose or record.exact, record.kind == "max_drop"
    facts = [
        f"{FACTS.get(name, name.replace('_', ' '))}: {value:{form}}"
        for name, value in record.facts.items()
        if whole or record.metric == "probe" or (name == "longer_is_better" and not drops)
    ]
    facts += [record.note] if record.note else []
    return [f"    {fact}" for fact in (facts if whole else filter(None, ["; ".join(facts)]))]


def _explanation(record: CheckRecord) -> list[str]:
    if record.verdict == "fail":
        return _upside_down(record)
    if record.concerns:
        return ["  Nothing can be decided:", *(f"    {concern}" for concern in record.concerns)]
    lines = []
    found = deciding(record.as_dict())
    if found is not None and found[2] > found[1]:
        what, have, needed = found
        lines.append(
            f"  {have} {what} cannot tell {record.value:.3f} from {record.bound:g}; "
            f"about {needed} could."
        )
    elif record.value == record.bound:
        return [
            "  The value lies on the bound: no number of prompts would decide. "
            "Ask for what you can accept."
        ]
    lines.append("  The gate stays closed: add prompts, or ask for what you can accept.")
    return lines


def _upside_down(record: CheckRecord) -> list[str]:
    """A model that is nearly always wrong is more often right, and golden the wrong way round."""
    if record.metric != "accuracy" or record.kind != "at_least" or record.upper >= UPSIDE_DOWN:
        return []
    return [
        "  So low that golden may be upside down: higher must be better, and a rank of 1 for the "
        "best is not."
    ]


def _causes(record: CheckRecord, look: FailureView) -> list[str]:
    """What is suspected, on one line; all suspects where that is asked for."""
    if not shows_picks(record, look) or (look.same_picks and not look.verbose):
        return []
    said = suspicion(record.causes)
    if look.verbose and said:
        return [f"  {said}", *(f"    {line}" for line in cause_lines(record.causes))]
    shown = record.causes and record.causes[0].suspected and not _upside_down(record)
    return [f"  {said}"] if shown else []


def shows_picks(record: CheckRecord, look: FailureView) -> bool:
    """Whether the worst picks belong into the text: they say why a check failed."""
    return bool(record.mistakes) and (record.verdict == "fail" or look.verbose)


def _mistakes(record: CheckRecord, look: FailureView) -> list[str]:
    if not shows_picks(record, look):
        return []
    if look.same_picks:
        return [f"  worst picks: as for {look.same_picks}"]
    wanted = record.mistakes if look.verbose else record.mistakes[:1]
    words = EDIT_WORDS if record.metric == "probe" else PICK_WORDS
    return [line for mistake in wanted for line in _mistake(mistake, look.width, *words)]


def _mistake(mistake: MistakeRecord, width: int, head: str, first: str, second: str) -> list[str]:
    most = max(40, width - INDENT)
    picked, better = apart(mistake.picked, mistake.better, BEFORE)
    found = {"id": mistake.prompt_id, "loss": mistake.golden_loss, "margin": mistake.margin}
    head = f"  {head.format(**found)}: "
    return [
        head + excerpt(mistake.prompt, max(40, width - len(head))),
        f"    {first:9} {excerpt(picked, most)}",
        f"    {second:9} {excerpt(better, most)}",
    ]


def _origin(record: CheckRecord, look: FailureView, room: int) -> list[str]:
    """The commands that show the worst pick whole and run the check again, if both have room."""
    again = f"  {shlex.join(['pytest', record.node, '--rmcheck', *look.options])}"
    row = _row_command(record, look)
    if look.verbose:
        return [f"  {record.signature}", *row, again]
    return [*row, again] if not row or len(row) < room else row


def _row_command(record: CheckRecord, look: FailureView) -> list[str]:
    """How to see the worst pick whole; nothing where none is shown."""
    if not shows_picks(record, look) or (look.same_picks and not look.verbose):
        return []
    models = [f"--model={look.specs['candidate']}"] if "candidate" in look.specs else []
    if record.baseline and "baseline" in look.specs:
        models.append(f"--baseline={look.specs['baseline']}")
    words = ["rmcheck", "explain", record.node, "--prompt", record.mistakes[0].prompt_id, *models]
    return [f"  {shlex.join(words)}"]
