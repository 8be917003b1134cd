"""Gao's curve of golden over the KL of an RL run."""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.overoptimization import GaoFit
from rmcheck.rl_logs.transfer import SeriesInterval
from rmcheck.stats.weights import Floats


@dataclass(frozen=True)
class RLCurve:
    """Gao's form for RL, golden = start + d (α − β ln d) with d = √KL in √nats.

    Least squares. The form has no intercept because R(0) = 0; what golden gave at the initial
    policy is not in a log without error, so `start` is fitted with the others.

    Attributes:
        beta: β; above 0 the curve has a peak.
        peak_kl: KL of the peak in nats, infinite where there is none.
        no_peak_share: Share of resamples whose peak lies beyond the largest KL of the log.
        rms: Root mean square of what it leaves, in golden's units.

    Reference:
        Gao, Schulman and Hilton 2022, arXiv 2210.10760.
    """

    start: SeriesInterval
    alpha: SeriesInterval
    beta: SeriesInterval
    peak_kl: SeriesInterval
    no_peak_share: float
    rms: float


def rl_curve(kl: Floats, golden: Floats, noise: Floats) -> RLCurve:
    """The curve through (T,) golden over (T,) KL, with (B, T) draws of golden's noise."""
    d = np.sqrt(kl)
    bend = d * np.log(np.where(d > 0, d, 1.0))
    design = np.stack([np.ones(d.size), d, -bend], axis=1)
    solve = np.linalg.pinv(design)
    found, drawn = solve @ golden, (golden + noise) @ solve.T
    with np.errstate(over="ignore"):  # a bend so weak that the peak is beyond all numbers
        peaks = GaoFit("rl", drawn[:, 1], drawn[:, 2]).peak_distance ** 2
        own = GaoFit("rl", np.asarray(found[1]), np.asarray(found[2])).peak_distance ** 2
    return RLCurve(
        start=SeriesInterval.of(found[0], drawn[:, 0]),
        alpha=SeriesInterval.of(found[1], drawn[:, 1]),
        beta=SeriesInterval.of(found[2], drawn[:, 2]),
        peak_kl=SeriesInterval.of(float(own), peaks),
        no_peak_share=float(np.mean(peaks > kl.max())),
        rms=float(np.sqrt(np.mean((golden - design @ found) ** 2))),
    )
