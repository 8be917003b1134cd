"""Whether golden followed proxy over an RL run, stopped following it, or fell."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.rl_logs.rl_curve import RLCurve, rl_curve
from rmcheck.rl_logs.training_log import TrainingLog
from rmcheck.rl_logs.training_outcome import HALF, Onset, Outcome, Reason, Run, Transfer
from rmcheck.rl_logs.transfer import Gains, SeriesInterval
from rmcheck.stats.weights import Floats
from rmcheck.wording import finite

Axis = Literal["step", "kl"]

# Longer logs are averaged down to this many points: what the tests need is the noise of a mean.
MAX_POINTS = 200
MEDIAN_OF = 5


@dataclass(frozen=True)
class TrainingAnalysis:
    """What a log says about the reward model that the run was trained on.

    Attributes:
        outcome: `follows`, `stopped`, `falls` or `undecided`. Each of the first three is a test at
            the 5 % level.
        reason: Why nothing was decided, in a word or two; empty where something was.
        sentence: The outcome in words, with the numbers that it rests on.
        points: Points used, after averaging.
        axis: What the fall and the onset were looked for over, `step` or `kl`.
        transfer: Gain of golden per gain of proxy. 1 is all of it, higher is better.
        late_transfer: Golden per proxy over the second half of proxy's climb.
        proxy_gain: Gain of proxy, in its units.
        golden_gain: Gain of golden over proxy's climb, in its units.
        onset: Where it stopped or began to fall; None where it did neither.
        golden_after: Change of golden from the onset to the end.
        lost_share: Share of the gain before the onset that was lost by the end; infinite where
            golden had gained nothing. Lower is better.
        p_falls: Evidence that golden falls from some point to the end.
        p_stops: Evidence that golden gains less than half of what proxy does from some point on;
            1 on unlike scales, where the transfer alone decides.
        difficulty_correlation: Correlation of the noise of golden and proxy: what easy batches do
            to both. Where it is above chance it is taken out of golden.
        kl_reached: Largest KL in nats, smoothed; None where the KL is not known.
        curve: Golden over √KL; None likewise.
    """

    outcome: Outcome
    reason: Reason
    sentence: str
    points: int
    axis: Axis
    transfer: Transfer
    late_transfer: SeriesInterval
    proxy_gain: SeriesInterval
    golden_gain: SeriesInterval
    onset: Onset | None
    golden_after: SeriesInterval | None
    lost_share: float | None
    p_falls: float
    p_stops: float
    difficulty_correlation: float
    kl_reached: float | None
    curve: RLCurve | None

    @property
    def tolerable(self) -> bool:
        """Whether nothing was decided because the interval lies on both sides, and no other way."""
        return self.outcome == "undecided" and self.reason == "noise"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; null where a number is infinite or none."""
        found: dict[str, Any] = finite(asdict(self))
        return found


def analyse_training(
    log: TrainingLog,
    *,
    axis: Axis = "step",
    unit: float | None = None,
    at_least: float = HALF,
    seed: int = 0,
) -> TrainingAnalysis:
    """Compare what golden and proxy gained, and look for a fall of golden.

    - `falls`: golden falls from some point to the end while proxy does not.
    - `stopped`: proxy rose, and over the run or from some point on golden gained less than half of
      what proxy gained.
    - `follows`: proxy rose, and golden gained at least half of what proxy did.

    Args:
        log: The run.
        axis: What a fall and the onset are looked for over.
        unit: Golden that one unit of proxy is worth where golden follows it in full. Not given, it
            is 1 where both rewards lie in [0, 1] at nine in ten points, such as two pass rates
            (one may have a bonus on top); on other scales it is what it was over the first half
            of proxy's climb.
        at_least: Share of proxy's gain that golden must keep to follow.
        seed: Of the resampling.

    Raises:
        UndefinedMetricError: Golden or proxy does not vary, or the axis is the KL and it was not
            measured.
    """
    log = _averaged(log)
    for name in ("golden", "proxy"):
        _require_noise(getattr(log, name), name)
    kl = _smooth_kl(log)
    if axis == "kl" and kl is None:
        measured = int(np.isfinite(log.kl).sum())
        raise UndefinedMetricError(
            f"KL is known at {measured} of {log.steps.size} points, too few for an axis; "
            "use --axis=step"
        )
    x = log.steps if axis == "step" or kl is None else kl
    run = Run(log.steps, x, kl, Gains.of(log.golden, log.proxy, kl, seed=seed), unit, at_least)
    onset = run.onset
    return TrainingAnalysis(
        outcome=run.outcome,
        reason=run.reason,
        sentence=_sentence(run),
        points=log.steps.size,
        axis=axis,
        transfer=run.transfer,
        late_transfer=run.gains.transfer(2),
        proxy_gain=run.gains.proxy_gain,
        golden_gain=run.gains.golden_gain,
        onset=onset,
        golden_after=None if onset is None else run.golden_after,
        lost_share=None if onset is None else run.lost_share,
        p_falls=run.p_falls,
        p_stops=run.p_stops,
        difficulty_correlation=run.gains.difficulty_correlation,
        kl_reached=None if kl is None else float(kl[-1]),
        curve=None if kl is None else rl_curve(kl, log.golden, run.gains.noise[0]),
    )


def _sentence(run: Run) -> str:
    """The outcome in words, with the numbers that it rests on."""
    gains, onset = run.gains, run.onset
    said = f"{run.transfer.measure} {_shown(run.transfer)}"
    if run.outcome == "follows":
        return f"Follows: proxy gained {_shown(gains.proxy_gain)}, and {said}."
    if onset is not None:
        where = f"step {onset.step:g} [{onset.lower:g}, {onset.upper:g}]"
        after = f"golden changed by {_shown(run.golden_after)} from there to the end"
        if run.outcome == "falls":
            return f"Falls from {where}: {after} (p = {run.p_falls:.2g}), and proxy does not fall."
        return (
            f"Stopped from {where}: proxy gained {_shown(gains.proxy_gain)} over the run, "
            f"{said}, and {after}."
        )
    reasons = {
        "together": f"golden falls (p = {run.p_falls:.2g}), and proxy falls with it, so that it "
        "is not optimisation going too far",
        "recovers": f"golden falls for a while (p = {run.p_falls:.2g}) and is highest again at "
        "the end",
        "no gain": f"proxy did not measurably rise ({_shown(gains.proxy_gain)}), so that there is "
        "nothing to follow",
        "no measure": "proxy and golden have unlike scales, and golden did not measurably rise "
        f"over the first half of proxy's climb ({_shown(gains.transfer(1))} per unit), so that "
        "nothing says what to expect of the second. --unit says what a unit of proxy is worth",
        "noise": f"the log is too noisy or too short: {said} lies on both sides of "
        f"{run.at_least:g}",
    }
    return f"Undecided: {reasons[run.reason]}."


def _shown(interval: SeriesInterval) -> str:
    return f"{interval.value:.3g} [{interval.lower:.3g}, {interval.upper:.3g}]"


def _require_noise(series: Floats, name: str) -> None:
    """Refuse values between which no noise can be seen, so that no number could have a bound."""
    grid = np.linspace(-1, 1, series.size)
    smooth = np.polynomial.Polynomial.fit(grid, series, 4)(grid)
    if np.sqrt(np.mean((series - smooth) ** 2)) <= 1e-12 * max(1.0, float(np.abs(series).max())):
        raise UndefinedMetricError(
            f"{name}: all {series.size} points lie on a smooth curve without any noise "
            f"(from {series[0]:.4g} to {series[-1]:.4g})"
        )


def _smooth_kl(log: TrainingLog) -> Floats | None:
    """(T,) KL without its noise: a rising curve through running medians, over all points.

    None where it was measured at too few of them.
    """
    from scipy.optimize import isotonic_regression

    if not log.kl_known:
        return None
    known = np.flatnonzero(np.isfinite(log.kl))
    side = MEDIAN_OF // 2
    padded = np.pad(log.kl[known], side, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_OF), axis=1)
    rising = isotonic_regression(medians).x
    return np.asarray(np.interp(log.steps, log.steps[known], rising))


def _averaged(log: TrainingLog) -> TrainingLog:
    """The log, neighbouring points averaged where there are too many; steps are the first ones."""
    size = log.steps.size
    if size <= MAX_POINTS:
        return log
    parts = np.array_split(np.arange(size), MAX_POINTS)
    known = [log.kl[part][np.isfinite(log.kl[part])] for part in parts]
    return replace(
        log,
        steps=log.steps[[part[0] for part in parts]],
        kl=np.array([values.mean() if values.size else np.nan for values in known]),
        proxy=np.array([log.proxy[part].mean() for part in parts]),
        golden=np.array([log.golden[part].mean() for part in parts]),
    )
