"""The drawings of a suite on the page of a run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.metrics.best_of_n import bon_kl
from rmcheck.reports.charts import Floats, Series, can_draw, chart, forest

if TYPE_CHECKING:
    from markupsafe import Markup

CURVES = (
    "Golden and proxy gain of best-of-n, each in its own standard deviations inside prompts, over "
    "the distance from the policy, with bands that hold for the whole curve. Where golden bends "
    "down while the proxy rises, a policy is over-optimised. Dotted: beyond the responses of a "
    "prompt, extrapolated from the tail that all prompts have together; nothing is decided on it."
)
CALIBRATION = (
    "How often golden agrees with the preferred response, over the probability that the margin "
    "states. On the dotted line a margin says the truth; the band is what the noise of so many "
    "pairs alone would show of a calibrated model."
)
POINTS = (
    "Each point is a response: reward and golden less the mean of its prompt, in standard "
    "deviations inside prompts. The line is golden's mean in each tenth of the reward: where it "
    "stays flat or falls at the right, higher rewards buy nothing. Colours are thirds of length "
    "inside prompts: where they lie in columns, the reward is length."
)
SLICES = "Accuracy on the whole pool and on each slice, with one-sided bounds."
TITLES = {
    "curves": "Over-optimisation",
    "points": "Reward and golden",
    "slices": "Accuracy by slice",
    "calibration": "Calibration",
    "traits": "What picked answers look like",
}
THIRDS = ("short", "middle", "long")


@dataclass(frozen=True)
class Figure:
    """A drawing of one suite."""

    title: str
    svgs: "tuple[Markup, ...]"
    caption: str


def figures(suite: Mapping[str, Any]) -> list[Figure]:
    """Drawings of a suite of `report.json`; none where matplotlib is not installed."""
    found = suite.get("drawings", {})
    if not can_draw():
        return []
    from markupsafe import Markup

    makers = {
        "curves": (_curves, CURVES),
        "points": (_points, POINTS),
        "slices": (_slices, SLICES),
        "calibration": (_calibration, CALIBRATION),
    }
    return [
        Figure(TITLES[name], tuple(map(Markup, draw(found[name]))), caption)
        for name, (draw, caption) in makers.items()
        if found.get(name)
    ]


def left_out(suite: Mapping[str, Any]) -> list[str]:
    """Sentences on what a suite has no drawing of, and why."""
    found = suite.get("drawings", {})
    said = [
        f"{TITLES.get(one['drawing'], one['drawing'])} of the {one['role']} is not drawn: "
        f"{one['why']}"
        for one in found.get("left_out", ())
    ]
    if found and not can_draw():
        said.append('Curves need matplotlib: pip install "rmcheck[report]", then rmcheck report.')
    if more := sum(one.get("left_out", 0) for one in found.get("slices", {}).values()):
        said.append(f"{more} small slices are not drawn.")
    return said


def _curves(curves: Mapping[str, Any]) -> Iterator[str]:
    series: list[Series] = []
    most = 1
    for colour, (role, curve) in enumerate(curves.items()):
        series += _curve(role, curve, colour)
        most = max(most, *curve["n"], *curve.get("beyond", {}).get("n", []))
    top = {math.sqrt(bon_kl(4**i)): str(4**i) for i in range(int(math.log(most, 4) + 1e-9) + 1)}
    label = "√KL from the policy, in √nats"
    above = "n of best-of-n"
    yield chart(TITLES["curves"], label, "gain in sd", series, top=top, top_label=above)


def _curve(role: str, curve: Mapping[str, Any], colour: int) -> Iterator[Series]:
    x = _numbers(curve["root_kl"])
    yield Series(f"golden, {role}", x, *_band(curve["golden"]), colour=colour)
    if beyond := curve.get("beyond"):
        at, ends = _numbers(beyond["root_kl"]), _band(beyond["golden"])
        yield Series("the same, extrapolated", at, *ends, dotted=True, colour=colour)
    yield Series(f"proxy, {role}", x, *_band(curve["proxy"]), dashed=True, colour=colour)
    if role == "candidate":
        yield Series("golden choosing", x, *_band(curve["best"]), colour=2)


def _points(points: Mapping[str, Any]) -> Iterator[str]:
    for role, found in points.items():
        x, y, length = (_numbers(found[name]) for name in ("proxy", "golden", "length"))
        series = [
            Series(f"{name} answers", x[length == i], y[length == i], dots=True, small=True)
            for i, name in enumerate(THIRDS)
            if (length == i).any()
        ]
        means = found["means"]
        series.append(Series("golden's mean", _numbers(means["proxy"]), *_band(means), colour=6))
        yield chart(f"{TITLES['points']}, {role}", "reward in sd", "golden in sd", series)


def _slices(slices: Mapping[str, Any]) -> Iterator[str]:
    known = {role: {row["name"]: row for row in one["rows"]} for role, one in slices.items()}
    names = list(dict.fromkeys(name for rows in known.values() for name in rows))
    series = []
    for role, rows in known.items():
        value, lower, upper = (
            _numbers([rows.get(name, {}).get(key) for name in names])
            for key in ("value", "lower", "upper")
        )
        series.append(Series(role, value, value, lower, upper))
    shown = [name or "all" for name in names]
    yield forest(TITLES["slices"], "accuracy", shown, series)


def _calibration(bins: Mapping[str, Any]) -> Iterator[str]:
    series = []
    for colour, (role, found) in enumerate(bins.items()):
        x, y, pairs = (_numbers(found[k]) for k in ("confidence", "agreement", "pairs"))
        noise = 1.96 * np.sqrt(x * (1 - x) / np.maximum(pairs, 1))
        ece = "" if found.get("ece") is None else f": ECE {found['ece']:.3f}"
        series.append(Series(f"{role}{ece}", x, y, colour=colour))
        floor = found.get("noise_floor")
        of_noise = "" if floor is None else f" {floor:.3f}"
        ends = x - noise, x + noise
        series.append(Series(f"of noise alone{of_noise}", x, x, *ends, dotted=True, colour=colour))
    label = "share that golden prefers"
    yield chart(TITLES["calibration"], "probability by the margin", label, series, diagonal=True)


def _band(found: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
    values, lower, upper = (_numbers(found[name]) for name in ("values", "lower", "upper"))
    return values, lower, upper


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])
