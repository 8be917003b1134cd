"""One prompt of a check as text for a terminal."""

from collections.abc import Iterator

from rmcheck.run.loaded import PlannedCheck
from rmcheck.run.row import AnswerRow, PromptRow
from rmcheck.wording import aligned, excerpt, printable_lines


def row_lines(row: PromptRow, check: PlannedCheck, width: int = 100) -> Iterator[str]:
    """The prompt, its responses from the highest reward down, the pick, and what the check gains.

    Args:
        row: The prompt.
        check: The check.
        width: Columns of the terminal.
    """
    slices = ", ".join(f"{column}={value}" for column, value in row.slices.items())
    yield f"{printable_lines(row.prompt_id)}{f' ({printable_lines(slices)})' if slices else ''}:"
    yield from _indented(row.question)
    yield ""
    yield from _table(row, width)
    yield ""
    yield from _pick(row)
    yield from _share(row, check)


def _table(row: PromptRow, width: int) -> Iterator[str]:
    names = list(row.answers[0].numbers)
    order = sorted(range(len(row.answers)), key=lambda i: -row.answers[i].numbers["reward"])
    most = max(20, width - 12 * (len(names) + 2))
    cells = [
        [
            f"{i + 1}",
            *(_number(row.answers[i], name) for name in names),
            " ".join(word for word, at in (("picked", row.picked), ("best", row.best)) if at == i),
            excerpt(row.answers[i].text, most),
        ]
        for i in order
    ]
    head = ["#", *names, "", "response"]
    yield from (f"  {line}" for line in aligned([head, *cells], range(len(names) + 1)))


def _number(answer: AnswerRow, name: str) -> str:
    value = answer.numbers[name]
    return f"{value:.3f}" if value == value else ""


def _pick(row: PromptRow) -> Iterator[str]:
    """Both texts in full, where the pick is not the best; edits, where a probe made some."""
    lost = row.answers[row.best].numbers["golden"] - row.answers[row.picked].numbers["golden"]
    shown = {f"picked, golden lost {lost:.3f}": row.answers[row.picked].text}
    if lost:
        shown["best by golden"] = row.answers[row.best].text
    for i, answer in enumerate(row.answers):
        if answer.edited and answer.edited not in shown.values():
            change = answer.numbers["edited"] - answer.numbers["reward"]
            shown[f"{i + 1} edited, reward {change:+.3f}"] = answer.edited
    for title, text in shown.items():
        yield f"  {title}:"
        yield from _indented(text)
        yield ""


def _share(row: PromptRow, check: PlannedCheck) -> Iterator[str]:
    name = f"{check.suite.name}: {check.name}, {check.check.metric.name}"
    share = row.share
    if not share.counts:
        yield f"  {name}: this prompt takes no part (its slice, too few responses, or golden ties)"
        yield f"  all prompts: {share.whole:.4f}"
        return
    alone = f"{share.alone:.4f}" if share.alone == share.alone else "undefined"
    others = f"all prompts {share.whole:.4f}, without it {share.without:.4f}"
    yield f"  {name}:"
    yield f"  this prompt alone {alone}; {others}"


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in printable_lines(text).splitlines() or [""])
