"""A study as one HTML page, as Markdown, and as a CSV file a design."""

import csv
import io
from collections.abc import Iterable, Sequence

from rmcheck.lab.study.finding import Cell, DesignResult, Measured, Row
from rmcheck.lab.study.shell import html_page, markdown_cell, markdown_table, table_of, text
from rmcheck.wording import json_text

# Rows of a long table that the page shows; the CSV file has all.
SHOWN_ROWS = 60


def study_html(name: str, facts: Sequence[str], findings: Sequence[DesignResult]) -> str:
    """The whole study."""
    links = "".join(f'<li><a href="#{f.name}">{text(f.title)}</a></li>' for f in findings)
    said = "".join(f"<li>{text(fact)}</li>" for fact in facts)
    body = f"<ul>{said}</ul><nav><ul>{links}</ul></nav>"
    return html_page(f"Study: {name}", body + "".join(map(_section, findings)))


def _section(finding: DesignResult) -> str:
    figures = "".join(f'<div class="wide">{figure}</div>' for figure in finding.figures)
    notes = "".join(f"<li>{text(note)}</li>" for note in _notes(finding))
    shown = finding.rows[:SHOWN_ROWS]
    return (
        f'<section id="{finding.name}"><h2>{text(finding.title)}</h2><p>{text(finding.about)}</p>'
        f"{figures}{table_of(_titles(finding), _texts(shown))}<ul>{notes}</ul></section>"
    )


def study_markdown(name: str, facts: Sequence[str], findings: Iterable[DesignResult]) -> str:
    """The whole study without its figures."""
    lines = [f"# Study: {markdown_cell(name)}", "", *(f"- {markdown_cell(f)}" for f in facts)]
    for finding in findings:
        lines += ["", f"## {markdown_cell(finding.title)}", "", markdown_cell(finding.about), ""]
        lines += markdown_table(_titles(finding), _texts(finding.rows[:SHOWN_ROWS]))
        notes = [f"- {markdown_cell(note)}" for note in _notes(finding)]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def finding_csv(finding: DesignResult) -> str:
    """Every row; an interval is three columns."""
    rows = [_flat(row) for row in finding.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def finding_data(finding: DesignResult) -> dict[str, object]:
    """Plain data for JSON; null where a number is not defined."""
    return {
        "title": finding.title,
        "about": finding.about,
        "rows": [_flat(row) for row in finding.rows],
        "notes": list(finding.notes),
    }


def _notes(finding: DesignResult) -> list[str]:
    more = len(finding.rows) - SHOWN_ROWS
    told = [f"{more} more rows are in {finding.name}.csv"] if more > 0 else []
    return [*finding.notes, *told]


def _titles(finding: DesignResult) -> list[str]:
    return list(dict.fromkeys(name for row in finding.rows for name in row))


def _texts(rows: Iterable[Row]) -> list[list[str]]:
    rows = list(rows)
    titles = list(dict.fromkeys(name for row in rows for name in row))
    return [[_shown(row.get(title)) for title in titles] for row in rows]


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _flat(row: Row) -> dict[str, str | int | float | None]:
    out: dict[str, str | int | float | None] = {}
    for name, cell in row.items():
        if isinstance(cell, Measured):
            out |= {name: cell.value, f"{name} lower": cell.lower, f"{name} upper": cell.upper}
        else:
            out[name] = cell
    return out


def study_files(
    name: str, facts: Sequence[str], findings: Sequence[DesignResult]
) -> dict[str, str]:
    """File name to text of everything that a study writes."""
    data: dict[str, object] = {"study": name, "facts": list(facts)}
    data["findings"] = {finding.name: finding_data(finding) for finding in findings}
    return {
        "study.json": json_text(data),
        "study.md": study_markdown(name, facts, findings),
        "study.html": study_html(name, facts, findings),
        **{f"{finding.name}.csv": finding_csv(finding) for finding in findings},
    }
