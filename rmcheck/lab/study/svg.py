"""Charts as SVG text: points, lines with bands, and matrices. The page's style gives the colours.

The same data give the same text. Nothing in it is code, and names are escaped.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.rewards import Floats
from rmcheck.wording import printable

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 48
# Characters of a name that are shown, and classes of colour in the page's style.
LONGEST_NAME, COLOURS = 18, 8
CELL = 44


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
    """

    name: str
    x: Floats
    y: Floats
    lower: Floats | None = None
    upper: Floats | None = None
    dots: bool = False


def chart(
    title: str, x_label: str, y_label: str, series: Sequence[Series], *, log_x: bool = False
) -> str:
    """Points and lines over two axes."""
    seen = [values for s in series for values in (s.y, s.lower, s.upper) if values is not None]
    x_axis = _Axis.over([s.x for s in series], LEFT, WIDTH - RIGHT, log=log_x)
    y_axis = _Axis.over(seen, HEIGHT - BOTTOM, TOP)
    legend = [s.name for s in series if s.name]
    height = HEIGHT + 20 * math.ceil(len(legend) / 3)
    drawn = [_frame(x_axis, y_axis, x_label, y_label)]
    drawn += [_series(s, i % COLOURS, x_axis, y_axis) for i, s in enumerate(series)]
    named = [(i, s.name) for i, s in enumerate(series) if s.name]
    drawn += [_key(place, i % COLOURS, name) for place, (i, name) in enumerate(named)]
    return _svg(title, WIDTH, height, "".join(drawn))


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], values: Floats) -> str:
    """A number in each cell, the larger the darker.

    Args:
        title: Above it.
        rows: (K,) names.
        columns: (L,) names, above.
        values: (K, L) numbers; NaN leaves a cell empty.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    left = 12 + 7 * max((len(_short(name)) for name in rows), default=0)
    top = 34 + 5 * max((len(_short(name)) for name in columns), default=0)
    drawn = [f'<text x="0" y="14">{_text(title)}</text>']
    drawn += [
        f'<text x="{left - 6}" y="{top + CELL * (i + 0.5) + 4:g}" text-anchor="end">'
        f"{_text(_short(name))}</text>"
        for i, name in enumerate(rows)
    ]
    for j, name in enumerate(columns):
        x, y = left + CELL * (j + 0.5), top - 6
        drawn.append(
            f'<text x="{x:g}" y="{y}" transform="rotate(-35 {x:g} {y})">'
            f"{_text(_short(name))}</text>"
        )
    for i, j in np.argwhere(np.isfinite(values)).tolist():
        share = (values[i, j] - low) / (high - low) if high > low else 0.5
        x, y = left + CELL * j, top + CELL * i
        drawn.append(
            f'<rect class="cell" x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" '
            f'fill-opacity="{0.08 + 0.6 * share:.2f}"/><text x="{x + CELL / 2 - 1:g}" '
            f'y="{y + CELL / 2 + 4:g}" text-anchor="middle">{values[i, j]:.2f}</text>'
        )
    wide = max(7.5 * len(title), left + CELL * len(columns) + 8 * LONGEST_NAME // 2)
    return _svg(title, wide, top + CELL * len(rows) + 8, "".join(drawn))


@dataclass(frozen=True)
class _Axis:
    """Numbers to pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    @classmethod
    def over(
        cls, values: Sequence[Floats], start: float, stop: float, *, log: bool = False
    ) -> "_Axis":
        every = np.concatenate([np.ravel(v) for v in values]) if values else np.zeros(0)
        known = every[np.isfinite(every)]
        if log:
            known = np.log10(known[known > 0])
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        margin = 0.04 * (high - low) or 0.5
        return cls(low - margin, high + margin, start, stop, log)

    def at(self, value: float) -> float:
        number = math.log10(value) if self.log else value
        share = (number - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """About five round numbers inside."""
        if self.log:
            low, high = 10**self.low, 10**self.high
            each = [m * 10.0**e for e in range(-6, 13) for m in (1, 2, 5)]
            found = [value for value in each if low <= value <= high]
            return found[:: math.ceil(len(found) / 7)] if found else []
        rough = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        first = math.ceil(self.low / step)
        return [k * step for k in range(first, math.floor(self.high / step) + 1)]


def _frame(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [
        f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y_axis.at(t)}" y2="{y_axis.at(t)}"/>'
        f'<text x="{LEFT - 6}" y="{y_axis.at(t) + 4}" text-anchor="end">{_number(t)}</text>'
        for t in y_axis.ticks()
    ]
    out += [
        f'<line class="grid" x1="{x_axis.at(t)}" x2="{x_axis.at(t)}" y1="{TOP}" y2="{bottom}"/>'
        f'<text x="{x_axis.at(t)}" y="{bottom + 16}" text-anchor="middle">{_number(t)}</text>'
        for t in x_axis.ticks()
    ]
    middle = (LEFT + right) / 2
    out.append(
        f'<text x="{middle:g}" y="{bottom + 36}" text-anchor="middle">{_text(x_label)}</text>'
    )
    return "".join(out) + f'<text x="4" y="16">{_text(y_label)}</text>'


def _series(series: Series, colour: int, x_axis: _Axis, y_axis: _Axis) -> str:
    known = np.flatnonzero(np.isfinite(series.x) & np.isfinite(series.y))
    x = [x_axis.at(float(series.x[k])) for k in known]
    y = [y_axis.at(float(series.y[k])) for k in known]
    out = ""
    if series.lower is not None and series.upper is not None:
        upper = [y_axis.at(float(series.upper[k])) for k in known]
        lower = [y_axis.at(float(series.lower[k])) for k in known]
        outline = [*zip(x, upper, strict=True), *reversed(list(zip(x, lower, strict=True)))]
        out += f'<polygon class="band f{colour}" points="{_points(outline)}"/>'
    if series.dots:
        marks = zip(x, y, strict=True)
        return out + "".join(
            f'<circle class="f{colour}" cx="{a}" cy="{b}" r="4"/>' for a, b in marks
        )
    return out + f'<polyline class="s{colour}" points="{_points(list(zip(x, y, strict=True)))}"/>'


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _key(place: int, colour: int, name: str) -> str:
    x, y = LEFT + 190 * (place % 3), HEIGHT + 4 + 20 * (place // 3)
    return (
        f'<rect class="f{colour}" x="{x}" y="{y - 9}" width="12" height="10"/>'
        f'<text x="{x + 18}" y="{y}">{_text(_short(name, 26))}</text>'
    )


def _svg(title: str, width: float, height: float, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{_text(title)}" font-size="13">{body}</svg>'
    )


def _number(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e4 else f"{value:.0e}"


def _short(name: str, most: int = LONGEST_NAME) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _text(text: str) -> str:
    return html.escape(printable(text))
