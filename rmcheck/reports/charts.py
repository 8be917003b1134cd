"""Charts for pages, drawn by matplotlib: lines with bands, points, and matrices, as SVG.

The same data give the same text. Lines and words take the colour of the page's text, so that a
chart can be read on light and on dark pages. Names are escaped by matplotlib.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
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
        lower: (K,) lower end of a band; None without a band.
        dots: Whether to draw points instead of a line.
        dotted: Whether it is dotted, with its points marked: what is not measured but followed.
        small: Whether points are small and pale, where there are hundreds.
        colour: Number of its colour; None takes that of its place among the series.
    """

    name: str
    x: Floats
    y: Floats
    lower: Floats | None = None
    upper: Floats | None = None
    dots: bool = False
    dashed: bool = False
    dotted: bool = False
    small: bool = False
    colour: int | None = None

    def drawn_on(self, axes: Any, place: int) -> None:
        """Draw it, as the one at this place among others."""
        colour = COLOURS[(place if self.colour is None else self.colour) % len(COLOURS)]
        line = "" if self.dots else ":" if self.dotted else "--" if self.dashed else "-"
        look: dict[str, Any] = {"marker": "o" if self.dots or self.dotted else ""}
        if self.small:
            look |= {"markersize": 3.5, "alpha": 0.5, "markeredgewidth": 0}
        elif self.dotted:
            look |= {"markersize": 4}
        name = _short(self.name) or None
        axes.plot(self.x, self.y, color=colour, label=name, linestyle=line, **look)
        if self.lower is not None and self.upper is not None:
            axes.fill_between(self.x, self.lower, self.upper, color=colour, alpha=0.15, lw=0)


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
    top: Mapping[float, str] = MappingProxyType({}),
    top_label: str = "",
) -> str:
    """Points and lines over two axes.

    Args:
        title: Above it, and what a screen reader says.
        x_label: Below it.
        y_label: Beside it.
        series: What is drawn, in this order of colours.
        log_x: Whether the x axis is logarithmic.
        diagonal: Whether to draw the line on which y is x.
        top: Words above some places of the x axis, such as another unit.
        top_label: What they are.
    """
    named = any(one.name for one in series)
    free = (0.8, 2.7 if named else 0.2, 0.6, 0.9 if top else 0.4)
    with _axes(title, (4.8, 3.0), free) as (figure, axes):
        if diagonal:
            first = np.nanmin(np.concatenate([one.x for one in series]))
            axes.axline((first, first), slope=1, color=_INK, linewidth=0.8, linestyle=":")
        for i, one in enumerate(series):
            one.drawn_on(axes, i)
        if log_x:
            axes.set_xscale("log")
        axes.grid(color=_INK, alpha=0.12)
        axes.set(xlabel=printable(x_label), ylabel=printable(y_label))
        if named:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        if top:
            above = axes.secondary_xaxis("top")
            above.set_xticks(list(top), [_short(words) for words in top.values()])
            above.set_xlabel(printable(top_label))
            above.spines["top"].set_visible(False)
            axes.set_title(printable(title), loc="left", fontsize=11, pad=14)
        return _svg(figure, title)


def forest(title: str, x_label: str, rows: Sequence[str], series: Sequence[Series]) -> str:
    """A line a row with the (K,) values and bounds of each series in it; NaN leaves one out."""
    names = [_short(name) for name in rows]
    free = (0.3 + 0.085 * max(map(len, names), default=0), 1.5, 0.6, 0.4)
    with _axes(title, (4.8, 0.3 + 0.3 * len(rows)), free) as (figure, axes):
        for i, one in enumerate(series):
            y = np.arange(len(rows)) + 0.22 * (i - (len(series) - 1) / 2)
            ends = (one.x if end is None else end for end in (one.lower, one.upper))
            reach = np.maximum([np.abs(one.x - end) for end in ends], 0)
            look = {"fmt": "o", "markersize": 4, "color": COLOURS[i % len(COLOURS)]}
            axes.errorbar(one.x, y, xerr=reach, label=_short(one.name), **look)
        axes.set_yticks(np.arange(len(rows)), names)
        axes.invert_yaxis()
        axes.grid(color=_INK, alpha=0.12)
        axes.set(xlabel=printable(x_label))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return _svg(figure, title)


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], values: Floats) -> str:
    """A (K, L) number in each cell, the larger the darker; NaN leaves it empty."""
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
        return _svg(figure, title, "tight")


@contextmanager
def _axes(
    title: str,
    size: tuple[float, float],
    free: tuple[float, float, float, float] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """A figure of its own: nothing global of the user's matplotlib is read or changed.

    Args:
        title: Above it.
        size: Inches of the figure; where `free` is given, of the axes alone.
        free: Inches left, right, below and above the axes; None is found when it is drawn, which
            takes twice as long.
    """
    if not can_draw():
        raise MissingDependencyError(
            'charts need matplotlib. Install it with: pip install "rmcheck[report]"'
        )
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a name in letters that the font lacks is shown by the page's
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        left, right, below, above = free or (0.0, 0.0, 0.0, 0.0)
        width, height = size[0] + left + right, size[1] + below + above
        figure = Figure(figsize=(width, height))
        place = (left / width, below / height, size[0] / width, size[1] / height)
        axes = figure.add_axes(place) if free else figure.subplots()
        axes.set_title(printable(title), loc="left", fontsize=11)
        yield figure, axes


def _svg(figure: Any, title: str, box: str | None = None) -> str:
    """The drawing alone, in the colour of the text around it."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, bbox_inches=box, metadata={**nothing})
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
