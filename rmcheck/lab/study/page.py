"""A study of a table of reward models as data, Markdown and one HTML page."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from rmcheck.lab.study.correlations import CONFIDENCE, KINDS, Association, Correlation
from rmcheck.lab.study.rm_table import RmTable
from rmcheck.lab.study.shell import (
    html_page,
    markdown_cell,
    markdown_table,
    table_of,
    text,
)
from rmcheck.wording import excerpt

Associations = Mapping[str, Mapping[str, Association]]

WIDTH, HEIGHT, LABEL = 720, 26, 210


def study_data(table: RmTable, found: Associations) -> dict[str, Any]:
    """Plain data for `study.json`; null where a correlation is not defined."""
    return {
        "table": table.name,
        "outcome": table.outcome_name,
        "rows": len(table.outcome),
        "confidence": CONFIDENCE,
        "group": table.group_name or None,
        "groups": _sizes(table),
        "correlations": {
            column: {kind: _flat(association) for kind, association in kinds.items()}
            for column, kinds in found.items()
        },
        "sentences": sentences(table, found),
        "left_out": table.left_out,
        "notes": list(table.notes),
    }


def _flat(association: Association) -> dict[str, Any]:
    parts = {"within": association.within, "between": association.between}
    others = {name: None if part is None else asdict(part) for name, part in parts.items()}
    return {**asdict(association.overall), **others}


def _sizes(table: RmTable) -> dict[str, int]:
    if table.groups is None:
        return {}
    names, counts = np.unique(table.groups, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def sentences(table: RmTable, found: Associations) -> list[str]:
    """What the Spearman correlations say, the strongest first."""
    return [_sentence(column, table, found[column]["spearman"]) for column in by_strength(found)]


def by_strength(found: Associations) -> list[str]:
    """Columns, the largest Spearman correlation first; those without one last."""

    def strength(column: str) -> float:
        value = found[column]["spearman"].overall.value
        return -2.0 if value is None else value

    return sorted(found, key=strength, reverse=True)


def _sentence(column: str, table: RmTable, association: Association) -> str:
    overall, within = association.overall, association.within
    told = f"over {len(table.outcome)} reward models: Spearman {_told(overall)}"
    outcome = table.outcome_name
    if overall.value is None or not overall.ranks:
        said = f"{column} does not measurably rank {outcome} {told}"
    else:
        way = "ranks" if overall.value > 0 else "ranks in the opposite order"
        said = f"{column} {way} {outcome} {told}"
    if within is not None and within.value is not None and overall.value is not None:
        inside = f"inside {table.group_name}: {_told(within)}"
        said += f"; {inside}"
    return said + "."


def _told(found: Correlation) -> str:
    if found.value is None:
        return "not defined"
    if found.lower is None or found.upper is None:
        return f"{found.value:.2f} (no interval)"
    return f"{found.value:.2f} [{found.lower:.2f}, {found.upper:.2f}]"


def markdown(table: RmTable, found: Associations) -> str:
    """The study as Markdown."""
    lines = [f"# What ranks {markdown_cell(table.outcome_name)}", "", _head(table), ""]
    lines += [f"- {markdown_cell(sentence)}" for sentence in sentences(table, found)]
    lines += ["", *markdown_table(_titles(table), _rows(table, found)), ""]
    lines += [
        f"- left out: {markdown_cell(f'{name}: {why}')}" for name, why in table.left_out.items()
    ]
    lines += [f"- {markdown_cell(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _head(table: RmTable) -> str:
    sizes = ", ".join(f"{name} {count}" for name, count in _sizes(table).items())
    groups = f", groups by {table.group_name} ({sizes})" if sizes else ""
    return markdown_cell(
        f"{table.name}: {len(table.outcome)} reward models{groups}. Two-sided {CONFIDENCE:.0%} "
        "intervals, one reward model left out at a time."
    )


def _rows(table: RmTable, found: Associations) -> list[list[str]]:
    rows = []
    for column in by_strength(found):
        cells = [column, *(_told(found[column][kind].overall) for kind in KINDS)]
        if table.groups is not None:
            spearman = found[column]["spearman"]
            cells += [_told(part) for part in (spearman.within, spearman.between) if part]
        rows.append(cells)
    return rows


def _titles(table: RmTable) -> list[str]:
    titles = ["column", "Spearman", "Kendall", "Pearson"]
    inside = ["Spearman inside groups", "Spearman between groups"]
    return titles + (inside if table.groups is not None else [])


def page(table: RmTable, found: Associations) -> str:
    """The study as one HTML page without scripts or other files."""
    title = f"What ranks {table.outcome_name}"
    said = "".join(f"<li>{text(s)}</li>" for s in sentences(table, found))
    apart = [f"left out: {name}: {why}" for name, why in table.left_out.items()]
    notes = "".join(f"<li>{text(note)}</li>" for note in [*apart, *table.notes])
    shown = table_of(_titles(table), _rows(table, found))
    return html_page(
        title,
        f'<p>{_head(table)}</p><ul>{said}</ul><div class="wide">{_figure(found)}</div>{shown}'
        f"<ul>{notes}</ul>",
    )


def _figure(found: Associations) -> str:
    """Spearman of every column with its interval, on a line from −1 to 1."""
    columns = by_strength(found)
    tall = HEIGHT * (len(columns) + 1)
    ticks = "".join(
        f'<line class="grid" x1="{_x(at)}" x2="{_x(at)}" y1="0" y2="{tall - HEIGHT}" />'
        f'<text x="{_x(at)}" y="{tall - 8}" text-anchor="middle">{at:g}</text>'
        for at in (-1, -0.5, 0, 0.5, 1)
    )
    marks = "".join(
        _mark(column, found[column]["spearman"].overall, HEIGHT * (i + 0.5))
        for i, column in enumerate(columns)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {tall}" width="{WIDTH}" role="img" font-size="13" '
        f'aria-label="Spearman correlations with their intervals">{ticks}{marks}</svg>'
    )


def _mark(column: str, found: Correlation, y: float) -> str:
    name = excerpt(column, 28)
    out = f'<text x="{LABEL - 10}" y="{y + 5}" text-anchor="end">{text(name)}</text>'
    if found.lower is not None and found.upper is not None:
        out += (
            f'<line class="mark" x1="{_x(found.lower)}" x2="{_x(found.upper)}" y1="{y}" y2="{y}"/>'
        )
    if found.value is not None:
        out += f'<circle class="dot" cx="{_x(found.value)}" cy="{y}" r="4"/>'
    return out


def _x(value: float) -> float:
    return round(LABEL + (value + 1) / 2 * (WIDTH - LABEL - 20), 1)
