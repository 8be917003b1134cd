"""What is decided about an RL run, and on what."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rmcheck.rl_logs.transfer import CONFIDENCE, Gains, SeriesInterval
from rmcheck.stats.turning_point import p_fall, peak, peak_bounds, slopes_to_the_end
from rmcheck.stats.weights import Floats

Outcome = Literal["follows", "stopped", "falls", "undecided"]
OUTCOMES: tuple[Outcome, ...] = ("follows", "stopped", "falls", "undecided")
# Why nothing is decided.
Reason = Literal["", "together", "recovers", "no gain", "no measure", "noise"]

# Golden that gains less than half of what proxy does has stopped: the middle between all and none.
HALF = 0.5
# Share of the points of a reward that lie in [0, 1] where that is its scale.
MOSTLY = 0.9
LEVEL = 1 - CONFIDENCE
# Draws of which the bounds of the onset take a quantile at every point.
BOUND_DRAWS = 500


@dataclass(frozen=True)
class Transfer(SeriesInterval):
    """What golden gained for each unit that proxy gained.

    Attributes:
        measure: `golden per proxy`, or on unlike scales `late over early`: that number over the
            second half of proxy's climb against the same over the first half.
    """

    measure: Literal["golden per proxy", "late over early"]


@dataclass(frozen=True)
class Onset:
    """From where golden no longer follows (`stopped`) or falls (`falls`).

    Attributes:
        lower: It is not before this step (95 %, one-sided), for any course that rises and then
            falls; a neighbouring point at the nearest, because a log says nothing between points.
        upper: It is not after this step.
        kl: KL at the step in nats, smoothed; NaN where the log has none.
    """

    step: float
    lower: float
    upper: float
    kl: float


@dataclass(frozen=True, eq=False)
class Run:
    """A run with everything that is decided on it.

    Attributes:
        steps: (T,) steps.
        x: (T,) what a fall is looked for over, never falling: the steps or the KL.
        kl: (T,) smoothed KL, or None.
        unit: Golden that a unit of proxy is worth, where it was given.
        at_least: Share of proxy's gain that golden must keep.
    """

    steps: Floats
    x: Floats
    kl: Floats | None
    gains: Gains
    unit: float | None = None
    at_least: float = HALF

    @property
    def alike(self) -> bool:
        """Whether golden and proxy have one scale, up to a known unit."""
        both = np.stack([self.gains.golden, self.gains.proxy])
        inside = np.mean((both >= 0) & (both <= 1), axis=1).min() >= MOSTLY
        return self.unit is not None or bool(inside and np.abs(both - 0.5).max() <= 1)

    @cached_property
    def transfer(self) -> Transfer:
        """Golden per proxy, in units of what full transfer would give; else late over early."""
        if not self.alike:
            found = self.gains.late_over_early
            return Transfer(found.value, found.lower, found.upper, "late over early")
        found, unit = self.gains.transfer(0), self.unit or 1.0
        return Transfer(
            found.value / unit, found.lower / unit, found.upper / unit, "golden per proxy"
        )

    @property
    def outcome(self) -> Outcome:
        """What happened to golden."""
        return self._decided[0]

    @property
    def reason(self) -> Reason:
        """Why nothing was decided; empty where something was."""
        return self._decided[1]

    @cached_property
    def _decided(self) -> tuple[Outcome, Reason]:
        if self.p_falls <= LEVEL:
            if self._proxy_falls:
                return "undecided", "together"
            return ("undecided", "recovers") if self._recovers else ("falls", "")
        if not self.gains.proxy_gain.lower > 0:
            return "undecided", "no gain"
        if not self.alike and not self.gains.transfer(1).lower > 0:
            return "undecided", "no measure"
        if self._stopped:
            return "stopped", ""
        follows = self.transfer.lower > self.at_least and not self._late < self.at_least
        return ("follows", "") if follows else ("undecided", "noise")

    @property
    def _stopped(self) -> bool:
        if not self.alike:
            return self.transfer.upper < self.at_least
        # A proxy that jumped early without golden, and that golden follows since, is no stop.
        now = not self._late >= self.at_least or p_fall(*self._beyond, self._slopes) <= LEVEL
        return self.p_stops <= LEVEL and now

    @property
    def _late(self) -> float:
        """Share of full transfer over the second half of proxy's climb; NaN where it has none."""
        if not self.alike:
            return self.transfer.value
        return self.gains.transfer(2).value / (self.unit or 1.0)

    @cached_property
    def p_falls(self) -> float:
        """Evidence that golden falls from some point to the end."""
        return p_fall(*self.gains.beyond(0.0), self._slopes)

    @cached_property
    def p_stops(self) -> float:
        """Evidence that golden gains too little from some point on; 1 on unlike scales."""
        if not self.alike:
            return 1.0
        return p_fall(*self._beyond, np.vstack([self._slopes, self.gains.contrasts[:1]]))

    @cached_property
    def _beyond(self) -> tuple[Floats, Floats]:
        """Golden less what it must gain, with draws of its noise."""
        return self.gains.beyond(self._required)

    @property
    def _slopes(self) -> Floats:
        """(C, T) contrasts: the slopes from each candidate point to the end."""
        return slopes_to_the_end(self.x)[1]

    @property
    def _required(self) -> float:
        """Golden that must be gained for each unit of proxy."""
        full = (self.unit or 1.0) if self.alike else self.gains.transfer(1).value
        return self.at_least * full

    @property
    def _proxy_falls(self) -> bool:
        """Whether proxy falls too, from where golden is highest."""
        points, slopes = slopes_to_the_end(self.x)
        turn = int(np.argmax(self._golden_curve))
        chosen = max(int(np.searchsorted(points, turn, side="right")) - 1, 0)
        gains = self.gains
        return p_fall(gains.proxy, gains.noise[1], slopes[chosen : chosen + 1]) <= LEVEL

    @property
    def _recovers(self) -> bool:
        return int(np.argmax(self._golden_curve)) == self.steps.size - 1

    @cached_property
    def _golden_curve(self) -> Floats:
        smooth = self.gains.smooth
        return np.asarray(smooth @ (smooth.T @ self.gains.golden))

    @cached_property
    def _turn(self) -> tuple[int, int, int]:
        """The point from where golden gains too little or falls, and its bounds."""
        series, noise = self.gains.beyond(0.0) if self.outcome == "falls" else self._beyond
        turn = peak(series)
        ends = peak_bounds(series, noise[:BOUND_DRAWS], self.x, CONFIDENCE)
        # Neighbours at the nearest: between two points the log says nothing.
        last = self.steps.size - 1
        return turn, max(min(turn - 1, *ends), 0), min(max(turn + 1, *ends), last)

    @cached_property
    def onset(self) -> Onset | None:
        """Where golden stopped or began to fall; None where it did neither."""
        if self.outcome not in ("stopped", "falls"):
            return None
        turn, lower, upper = self._turn
        kl = float("nan") if self.kl is None else float(self.kl[turn])
        step, low, high = (float(self.steps[point]) for point in (turn, lower, upper))
        return Onset(step, low, high, kl)

    @property
    def golden_after(self) -> SeriesInterval:
        """Change of golden from the onset to the end, of the curve through it."""
        smooth, turn = self.gains.smooth, self._turn[0]
        weights = smooth @ (smooth[-1] - smooth[turn])
        gains = self.gains
        return SeriesInterval.of(
            float(weights @ gains.golden), (gains.golden + gains.noise[0]) @ weights
        )

    @property
    def lost_share(self) -> float:
        """Share of golden's gain before the onset that was lost after it."""
        curve, turn = self._golden_curve, self._turn[0]
        before, after = float(curve[turn] - curve[0]), float(curve[-1] - curve[turn])
        return 0.0 if after >= 0 else -after / before if before > 0 else float("inf")
