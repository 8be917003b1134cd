"""A study as one HTML page, as Markdown, and as a CSV file a design."""

import csv
import html
import io
from collections.abc import Sequence
from importlib.resources import files

from rmcheck.lab.study.finding import DesignResult
from rmcheck.reports.page import page_style
from rmcheck.wording import json_text, printable


def study_html(
    title: str, facts: Sequence[str], findings: Sequence[DesignResult], lead: str = ""
) -> str:
    """The whole study, without scripts or other files.

    Args:
        title: Over it.
        facts: Points below the title.
        findings: A section each; one without a title has no heading.
        lead: A paragraph above the facts.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_printed
    )
    template = files("rmcheck.lab.study").joinpath("study.html.j2").read_text(encoding="utf-8")
    shown = {"title": title, "facts": facts, "findings": findings, "lead": lead}
    return environment.from_string(template).render(**shown, style=page_style()) + "\n"


def _printed(value: object) -> object:
    """What others wrote as text of a page; markup of ours as it is."""
    return printable(value) if type(value) is str else value


def study_markdown(
    title: str, facts: Sequence[str], findings: Sequence[DesignResult], lead: str = ""
) -> str:
    """The whole study without its figures; see `study_html`."""
    lines = [f"# {_cell(title)}", "", *([_cell(lead), ""] if lead else [])]
    lines += [f"- {_cell(fact)}" for fact in facts]
    for finding in findings:
        if finding.title:
            lines += ["", f"## {_cell(finding.title)}", "", _cell(finding.about)]
        lines += ["", f"| {' | '.join(map(_cell, finding.titles))} |"]
        lines.append(f"|---{'|---:' * (len(finding.titles) - 1)}|")
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in finding.texts]
        notes = [f"- {_cell(note)}" for note in finding.shown_notes]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def _cell(words: str) -> str:
    """Any text as one cell of a table in Markdown that is no markup."""
    return html.escape(printable(words), quote=False).replace("|", "\\|").replace("`", "'")


def finding_csv(finding: DesignResult) -> str:
    """Every row; an interval is three columns."""
    columns = list(dict.fromkeys(name for row in finding.data for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(finding.data)
    return out.getvalue()


def study_files(
    name: str, facts: Sequence[str], findings: Sequence[DesignResult]
) -> dict[str, str]:
    """File name to text of everything that a study writes."""
    told = {
        f.name: {"title": f.title, "about": f.about, "rows": f.data, "notes": list(f.notes)}
        for f in findings
    }
    title = f"Study: {name}"
    return {
        "study.json": json_text({"study": name, "facts": list(facts), "findings": told}),
        "study.md": study_markdown(title, facts, findings),
        "study.html": study_html(title, facts, findings),
        **{f"{finding.name}.csv": finding_csv(finding) for finding in findings},
    }
