"""Charts for pages, drawn by matplotlib: lines with bands, points, and matrices, as SVG.

The same data give the same text. Lines and words take the colour of the page's text, so that a
chart can be read on light and on dark pages. Names are escaped by matplotlib.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import MissingDependencyError
from rmcheck.wording import excerpt, printable

Floats = NDArray[np.float64]

# Okabe and Ito's colours, told apart by everybody, with a violet for their black and yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a4fbf")
# Characters of a name that are shown.
LONGEST_NAME = 28
# A colour that no chart uses; it becomes that of the page's text.
_INK = "#010203"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rmcheck",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # to measure with; the page says in which font it shows
    "font.size": 10,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers of one name in a chart.

    Attributes:
        name: In the legend; empty shows none.
        x: (K,) positions.
        y: (K,) values; NaN leaves a gap.
        lower: (K,) lower end of a band; None without a band.
        upper: (K,) its upper end.
        dots: Whether to draw points instead of a line.
        dashed: Whether the line is dashed.
    """

    name: str
    x: Floats
    y: Floats
    lower: Floats | None = None
    upper: Floats | None = None
    dots: bool = False
    dashed: bool = False


def can_draw() -> bool:
    """Whether matplotlib is installed; it is an extra."""
    return find_spec("matplotlib") is not None


def chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    log_x: bool = False,
    diagonal: bool = False,
) -> str:
    """Points and lines over two axes.

    Args:
        title: Above it, and what a screen reader says.
        x_label: Below it.
        y_label: Beside it.
        series: What is drawn, in this order of colours.
        log_x: Whether the x axis is logarithmic.
        diagonal: Whether to draw the line on which y is x.
    """
    with _axes(title, (6.4, 3.8)) as (figure, axes):
        if diagonal:
            axes.axline((0, 0), slope=1, color=_INK, linewidth=0.8, linestyle=":")
        for i, one in enumerate(series):
            colour = COLOURS[i % len(COLOURS)]
            marker, line = ("o", "") if one.dots else ("", "--" if one.dashed else "-")
            name = _short(one.name) or None
            axes.plot(one.x, one.y, color=colour, label=name, marker=marker, linestyle=line)
            if one.lower is not None and one.upper is not None:
                axes.fill_between(one.x, one.lower, one.upper, color=colour, alpha=0.15, lw=0)
        if log_x:
            axes.set_xscale("log")
        axes.grid(color=_INK, alpha=0.12)
        axes.set(xlabel=x_label, ylabel=y_label)
        if any(one.name for one in series):
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return _svg(figure, title)


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], values: Floats) -> str:
    """A number in each cell, the larger the darker.

    Args:
        title: Above it.
        rows: (K,) names.
        columns: (L,) names, below.
        values: (K, L) numbers; NaN leaves a cell empty.
    """
    size = 2.2 + 0.55 * len(columns), 1.4 + 0.42 * len(rows)
    with _axes(title, size) as (figure, axes):
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
        shade = np.zeros((*values.shape, 4))
        shade[..., :3] = 0x00, 0x72 / 255, 0xB2 / 255
        shade[..., 3] = np.nan_to_num(0.08 + 0.6 * share) * np.isfinite(values)
        axes.pcolormesh(shade)  # an image would be a file that pages do not load
        axes.invert_yaxis()
        for i, j in np.argwhere(np.isfinite(values)).tolist():
            axes.text(j + 0.5, i + 0.5, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=9)
        names = [_short(name) for name in columns]
        axes.set_xticks(np.arange(len(columns)) + 0.5, names, rotation=35, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_short(name) for name in rows])
        return _svg(figure, title)


@contextmanager
def _axes(title: str, size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """A figure of its own: nothing global of the user's matplotlib is read or changed.

    Raises:
        MissingDependencyError: matplotlib is not installed; says the pip command.
    """
    if not can_draw():
        raise MissingDependencyError(
            'charts need matplotlib. Install it with: pip install "rmcheck[report]"'
        )
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=size)
        axes = figure.subplots()
        axes.set_title(printable(title), loc="left", fontsize=11)
        yield figure, axes


def _svg(figure: Any, title: str) -> str:
    """The drawing alone, in the colour of the text around it."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={**nothing})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", '<svg role="img" ', 1).replace(
        ">", f"><title>{_escaped(title)}</title>", 1
    )


def _escaped(text: str) -> str:
    from html import escape

    return escape(printable(text))


def _short(name: str) -> str:
    return excerpt(printable(name), LONGEST_NAME)
