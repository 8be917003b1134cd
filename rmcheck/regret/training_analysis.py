"""Where an RL run over-optimised: the training RM keeps rising and the test RM falls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.overoptimization import GaoFit
from rmcheck.metrics.rewards import Floats
from rmcheck.regret.training_log import TrainingLog
from rmcheck.stats.turning_point import Trend, block_resampled, smoother

Outcome = Literal["over-optimised", "no sign", "cannot say"]

CONFIDENCE = 0.95
RESAMPLES = 2_000
# Longer logs are averaged down to this many points: what the test needs is the noise of a mean.
MAX_POINTS = 200
# Where a fall of more than this share of golden's gain would have gone unseen, nothing is said.
MAX_UNSEEN_SHARE = 1 / 3
_SERIES = ("kl", "proxy", "golden")


@dataclass(frozen=True)
class Interval:
    """A number with the two one-sided 95 % percentile bounds of a moving-block bootstrap."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class RLCurve:
    """Gao's form for RL, golden = start + d (α − β ln d) with d = √KL in √nats.

    Least squares. The form has no intercept because R(0) = 0; what golden gave at the initial
    policy is not in a log without error, so `start` is fitted with the others.

    Attributes:
        start: Golden at the initial policy.
        alpha: α.
        beta: β; above 0 the curve has a peak.
        peak_kl: KL of the peak in nats, infinite where there is none.
        no_peak_share: Share of resamples whose peak lies beyond the largest KL of the log.
        rms: Root mean square of what it leaves, in golden's units.

    Reference:
        Gao, Schulman and Hilton 2022, arXiv 2210.10760.
    """

    start: Interval
    alpha: Interval
    beta: Interval
    peak_kl: Interval
    no_peak_share: float
    rms: float


@dataclass(frozen=True)
class Split:
    """Where the test RM is highest, on a quartic over √KL, and what follows.

    Attributes:
        step: Step of that turn.
        kl: KL there in nats.
        golden_before: Change of golden up to the turn.
        golden_after: Change of golden from the turn to the end.
        proxy_after: Change of proxy from the turn to the end.
        lost_share: Share of `golden_before` that was lost by the end, 0 where golden did not fall
            and infinite where it had gained nothing. Lower is better.
        p_golden_falls: Evidence that golden falls from some step to the end (see
            `rmcheck.stats.turning_point`).
        p_proxy_rises: Evidence that proxy rises from the turn to the end.
        p_golden_rises_late: Evidence that golden rises over the second half.
        p_proxy_rises_late: Evidence that proxy rises over the second half.
        unseen_fall: Fall of golden over the second half that would just have been seen.
    """

    step: Interval
    kl: Interval
    golden_before: float
    golden_after: Interval
    proxy_after: float
    lost_share: float
    p_golden_falls: float
    p_proxy_rises: float
    p_golden_rises_late: float
    p_proxy_rises_late: float
    unseen_fall: float


@dataclass(frozen=True)
class TrainingAnalysis:
    """What a log says about over-optimisation.

    Attributes:
        outcome: `over-optimised`, `no sign` or `cannot say`.
        sentence: The same in words, with the numbers that it rests on.
        points: Points used, after averaging.
        curve: Golden over √KL.
        split: The turn of golden.
    """

    outcome: Outcome
    sentence: str
    points: int
    curve: RLCurve
    split: Split

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null where a number is infinite."""
        found: dict[str, Any] = _finite(asdict(self))
        return found


def analyse_training(log: TrainingLog, *, seed: int = 0) -> TrainingAnalysis:
    """Fit golden over √KL, find its turn, and test whether it falls while proxy rises.

    Over-optimisation is said only where golden falls and proxy rises after the turn, each at 5 %;
    `no sign` only where a fall of a third of golden's gain would have been seen.

    Args:
        log: The run.
        seed: Of the resampling.

    Raises:
        UndefinedMetricError: Golden or proxy does not vary, or fewer than ten points.
    """
    log = _averaged(log)
    golden = _trend(log.golden, "golden", seed)
    proxy = _trend(log.proxy, "proxy", seed)
    curve = _rl_curve(log, seed)
    split = _split(log, golden, proxy, seed)
    outcome, sentence = _judged(log, split)
    return TrainingAnalysis(outcome, sentence, log.steps.size, curve, split)


def _judged(log: TrainingLog, split: Split) -> tuple[Outcome, str]:
    falls = split.p_golden_falls <= 1 - CONFIDENCE
    recovers = split.step.value == log.steps[-1]
    rises = split.p_proxy_rises <= 1 - CONFIDENCE
    where = f"step {split.step.value:g}, KL {split.kl.value:.3g}"
    after = f"golden changed by {split.golden_after.value:+.3g}, proxy by {split.proxy_after:+.3g}"
    if falls and recovers:
        return "cannot say", (
            f"Cannot say: golden falls for a while (p = {split.p_golden_falls:.2g}), and is "
            "highest again at the end."
        )
    if falls and rises:
        return "over-optimised", (
            f"Over-optimised from {where}: since then {after} "
            f"(p = {split.p_golden_falls:.2g} and {split.p_proxy_rises:.2g})."
        )
    if falls:
        return "cannot say", (
            f"Cannot say: golden falls from {where}, but proxy does not clearly rise after it "
            f"({after}; p = {split.p_proxy_rises:.2g}), so that is not optimisation going too far."
        )
    gain, unseen = split.golden_before, split.unseen_fall
    if unseen > MAX_UNSEEN_SHARE * gain:
        return "cannot say", (
            f"Cannot say: the log is too noisy or too short. A fall of golden by {unseen:.3g} over "
            f"its second half might not have been seen, and golden gained {gain:.3g} at most."
        )
    change = split.golden_before + split.golden_after.value
    sentence = (
        f"No sign of over-optimisation up to KL {log.kl[-1]:.3g}: golden changed by {change:+.3g} "
        f"over the run (p = {split.p_golden_falls:.2g} for a fall; one of {unseen:.3g} over the "
        "second half would have been seen)."
    )
    if split.p_proxy_rises_late <= 1 - CONFIDENCE < split.p_golden_rises_late:
        sentence += " Over the second half proxy rises and golden does not measurably."
    return "no sign", sentence


def _rl_curve(log: TrainingLog, seed: int) -> RLCurve:
    d = np.sqrt(log.kl)
    bend = d * np.log(np.where(d > 0, d, 1.0))
    design = np.stack([np.ones(d.size), d, -bend], axis=1)
    solve = np.linalg.pinv(design)
    found = solve @ log.golden
    fitted = design @ found
    drawn = block_resampled(fitted, log.golden, RESAMPLES, seed=seed) @ solve.T
    with np.errstate(over="ignore"):  # a bend so weak that the peak is beyond all numbers
        peaks = GaoFit("rl", drawn[:, 1], drawn[:, 2]).peak_distance ** 2
        own = GaoFit("rl", np.asarray(found[1]), np.asarray(found[2])).peak_distance ** 2
    return RLCurve(
        start=_interval(found[0], drawn[:, 0]),
        alpha=_interval(found[1], drawn[:, 1]),
        beta=_interval(found[2], drawn[:, 2]),
        peak_kl=_interval(float(own), peaks),
        no_peak_share=float(np.mean(peaks > log.kl.max())),
        rms=float(np.sqrt(np.mean((log.golden - fitted) ** 2))),
    )


def _split(log: TrainingLog, golden: Trend, proxy: Trend, seed: int) -> Split:
    smooth = smoother(np.sqrt(log.kl))
    fitted = smooth @ log.golden
    drawn = block_resampled(fitted, log.golden, RESAMPLES, seed=seed) @ smooth.T
    turn, turns = int(np.argmax(fitted)), np.argmax(drawn, axis=1)
    before, after = float(fitted[turn] - fitted[0]), float(fitted[-1] - fitted[turn])
    proxies = smooth @ log.proxy
    half = golden.candidate_near(log.steps.size // 2)
    return Split(
        step=_interval(log.steps[turn], log.steps[turns]),
        kl=_interval(log.kl[turn], log.kl[turns]),
        golden_before=before,
        golden_after=_interval(after, drawn[:, -1] - drawn.max(axis=1)),
        proxy_after=float(proxies[-1] - proxies[turn]),
        lost_share=0.0 if after >= 0 else -after / before if before > 0 else np.inf,
        p_golden_falls=golden.p_fall,
        p_proxy_rises=proxy.p_rise_from(proxy.candidate_near(turn)),
        p_golden_rises_late=golden.p_rise_from(half),
        p_proxy_rises_late=proxy.p_rise_from(half),
        unseen_fall=golden.detectable_fall(half, CONFIDENCE),
    )


def _trend(series: Floats, name: str, seed: int) -> Trend:
    try:
        return Trend.of(series, seed=seed)
    except UndefinedMetricError as error:
        raise UndefinedMetricError(f"{name}: {error}") from None


def _averaged(log: TrainingLog) -> TrainingLog:
    """The log, neighbouring points averaged where there are too many; steps are the first ones."""
    size = log.steps.size
    if size <= MAX_POINTS:
        return log
    parts = np.array_split(np.arange(size), MAX_POINTS)
    means = {name: np.array([getattr(log, name)[p].mean() for p in parts]) for name in _SERIES}
    steps = log.steps[[part[0] for part in parts]]
    return TrainingLog(
        log.path, steps, **means, columns=log.columns, left_out=log.left_out, notes=log.notes
    )


def _interval(value: float, draws: Floats) -> Interval:
    # The order statistic, not one interpolated between a finite draw and an infinite one.
    lower, upper = np.quantile(draws, [1 - CONFIDENCE, CONFIDENCE], method="inverted_cdf")
    return Interval(float(value), min(float(lower), float(value)), max(float(upper), float(value)))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    return None if isinstance(data, float) and not np.isfinite(data) else data
