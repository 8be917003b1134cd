"""The drawings of a suite on the page of a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.reports.charts import Floats, Series, can_draw, chart

if TYPE_CHECKING:
    from markupsafe import Markup

CURVES = (
    "Golden and proxy gain of best-of-n, each in its own standard deviations inside prompts, over "
    "√KL from the policy, with simultaneous bands. Where golden bends down while the proxy rises, "
    "a policy is over-optimised. The last point is the pool's last: nothing is extrapolated."
)
CALIBRATION = (
    "How often golden agrees with the preferred response, over the probability that the margin "
    "states. On the dotted line a margin says the truth."
)


@dataclass(frozen=True)
class Figure:
    """A drawing of one suite.

    Attributes:
        svg: The drawing, made by this package.
        caption: What it shows.
    """

    svg: "Markup"
    caption: str


def figures(suite: Mapping[str, Any]) -> list[Figure]:
    """Drawings of a suite of `report.json`; none where matplotlib is not installed.

    Args:
        suite: One of `suites` of the report, with what `rmcheck.run.drawings` found.
    """
    found = suite.get("drawings", {})
    if not found or not can_draw():
        return []
    from markupsafe import Markup

    drawn = []
    if curves := found.get("curves"):
        series = [one for role in curves for one in _curves(role, curves[role])]
        svg = chart("Over-optimisation", "√KL in √nats", "gain in sd", series)
        drawn.append(Figure(Markup(svg), CURVES))
    if bins := found.get("calibration"):
        series = [_bins(role, one) for role, one in bins.items()]
        label = "share that golden prefers"
        svg = chart("Calibration", "probability by the margin", label, series, diagonal=True)
        drawn.append(Figure(Markup(svg), CALIBRATION))
    return drawn


def _curves(role: str, curve: Mapping[str, Any]) -> Iterator[Series]:
    x = _numbers(curve["root_kl"])
    names = {"golden": f"golden, {role}", "proxy": f"proxy, {role}"}
    if role == "candidate":
        names["best"] = "golden choosing"
    for part, name in names.items():
        values, lower, upper = (_numbers(curve[part][k]) for k in ("values", "lower", "upper"))
        yield Series(name, x, values, lower, upper, dashed=part == "proxy")


def _bins(role: str, found: Mapping[str, Any]) -> Series:
    confidence, agreement = _numbers(found["confidence"]), _numbers(found["agreement"])
    return Series(role, confidence, agreement)


def _numbers(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])
