"""A study of a table of reward models as data, Markdown and one HTML page."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from rmcheck.lab.study.correlations import KINDS, Association, Correlation
from rmcheck.lab.study.finding import DesignResult, banded
from rmcheck.lab.study.measured import CONFIDENCE
from rmcheck.lab.study.rm_table import RmTable
from rmcheck.lab.study.study_page import study_html, study_markdown
from rmcheck.reports.charts import Series, can_draw, forest
from rmcheck.wording import json_text

Associations = Mapping[str, Mapping[str, Association]]


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


def table_files(table: RmTable, found: Associations) -> dict[str, str]:
    """File name to text of everything that a study of a table writes."""
    told, facts = finding(table, found), sentences(table, found)
    title, lead = f"What ranks {table.outcome_name}", _head(table)
    return {
        "study.json": json_text(study_data(table, found)),
        "study.md": study_markdown(title, facts, [told], lead),
        "study.html": study_html(title, facts, [told], lead),
    }


def finding(table: RmTable, found: Associations) -> DesignResult:
    """A row a column of the table, the one that ranks the outcome best first."""
    rows = []
    for column in by_strength(found):
        row = {kind.capitalize(): _told(found[column][kind].overall) for kind in KINDS}
        spearman = found[column]["spearman"]
        if spearman.within and spearman.between:
            row |= {"Spearman inside groups": _told(spearman.within)}
            row |= {"Spearman between groups": _told(spearman.between)}
        rows.append({"column": column, **row})
    apart = [f"left out: {name}: {why}" for name, why in table.left_out.items()]
    figures = [_figure(found)] if can_draw() else []
    return DesignResult("correlations", "", "", rows, figures, [*apart, *table.notes])


def _head(table: RmTable) -> str:
    sizes = ", ".join(f"{name} {count}" for name, count in _sizes(table).items())
    groups = f", groups by {table.group_name} ({sizes})" if sizes else ""
    return (
        f"{table.name}: {len(table.outcome)} reward models{groups}. Two-sided {CONFIDENCE:.0%} "
        "intervals, one reward model left out at a time."
    )


def _figure(found: Associations) -> str:
    """Spearman of every column with its interval."""
    columns = by_strength(found)
    line = banded("Spearman", np.empty(0), [found[c]["spearman"].overall for c in columns])
    across = Series("", line.y, line.y, line.lower, line.upper)
    return forest("Spearman correlations with their intervals", "Spearman", columns, [across])
