"""Regressional Goodhart in closed form: accuracy ↔ ρ ↔ drop, and what a pool says of it.

The model: inside a prompt the proxy is r = g + ε with golden g and error ε independent and
Gaussian, and ρ = corr(r, g) within prompts. Then one number ties everything together: every
function here goes to ρ or comes from it, so that the drop at an accuracy of 0.7 is

    drop_from_correlation(correlation_from_accuracy(0.7))   # 0.412

The retention (NDR_n, the share of golden's gain that best-of-n keeps) is ρ itself, at every n.
`expected_and_observed` puts the model beside the pool.

All functions take numbers or arrays and give an array of the same shape. A value outside the
domain is a UsageError with the value and the valid range; nothing is clipped.

Reference:
    Wen et al. 2024, arXiv 2410.05584, eqs. 6, 7 and 17 to 22; Gao et al. 2023, appendix A.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import NDR
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Floats, Rewards

# Mean ξ of a prompt with N responses at each ρ, by Monte-Carlo of the model with an error of about
# 0.001; the ends are exact: 0 at ρ = 0, and (N − 2) / (N + 1) at ρ = 1.
XI_TABLE_CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
XI_TABLE = {
    3: (0.0, 0.007, 0.024, 0.054, 0.078, 0.119, 0.152, 1 / 4),
    5: (0.0, 0.020, 0.057, 0.127, 0.181, 0.258, 0.321, 3 / 6),
    10: (0.0, 0.033, 0.094, 0.203, 0.287, 0.404, 0.493, 8 / 11),
    20: (0.0, 0.041, 0.115, 0.251, 0.352, 0.491, 0.597, 18 / 21),
    50: (0.0, 0.047, 0.134, 0.282, 0.390, 0.547, 0.662, 48 / 51),
}


def correlation_from_accuracy(accuracy: ArrayLike) -> Floats:
    """ρ = sin(π (accuracy − ½)), from −1 to 1.

    Args:
        accuracy: Share of pairs in golden's order, 0 to 1.
    """
    return np.asarray(np.sin(np.pi * (_within("accuracy", accuracy, 0, 1) - 0.5)))


def accuracy_from_correlation(correlation: ArrayLike) -> Floats:
    """½ + asin(ρ) / π: the inverse of `correlation_from_accuracy`."""
    return np.asarray(0.5 + np.arcsin(_within("correlation", correlation, -1, 1)) / np.pi)


def drop_from_correlation(correlation: ArrayLike) -> Floats:
    """Drop ratio 1 − ρ of best-of-n at any n; lower is better, 0 to 2."""
    return np.asarray(1 - _within("correlation", correlation, -1, 1))


def correlation_from_drop(drop: ArrayLike) -> Floats:
    """The inverse of `drop_from_correlation`."""
    return np.asarray(1 - _within("drop ratio", drop, 0, 2))


def d_pi_from_correlation(correlation: ArrayLike) -> Floats:
    """The paper's d_π = J_golden / J_proxy = ρ², with r = g + ε in common units.

    It is not the retention: that is ρ, which is also what J_golden / J_proxy becomes when both
    rewards are first scaled to unit standard deviation. Higher is better; the sign of ρ is lost.

    Reference:
        Wen et al. 2024, eqs. 20 and 22.
    """
    return np.asarray(_within("correlation", correlation, -1, 1) ** 2)


def correlation_from_d_pi(d_pi: ArrayLike) -> Floats:
    """The ρ ≥ 0 that gives this d_π."""
    return np.asarray(np.sqrt(_within("d_pi", d_pi, 0, 1)))


def xi_from_correlation(correlation: ArrayLike) -> Floats:
    """Chatterjee's ξ of many responses: 3 asin((1 + ρ²) / 2) / π − ½ (N → ∞).

    At few responses mean ξ is far below it: 0.127 instead of 0.303 at N = 5 and ρ = 0.7.
    """
    square = _within("correlation", correlation, -1, 1) ** 2
    return np.asarray(3 / np.pi * np.arcsin((1 + square) / 2) - 0.5)


def correlation_from_xi(xi: ArrayLike, size: int | None = None) -> Floats:
    """The ρ ≥ 0 that gives this mean ξ (ξ does not see the sign).

    Args:
        xi: Mean over prompts of the plain (not normalised) ξ.
        size: N, responses a prompt, one of `XI_TABLE`; None is the limit of many responses. There
            is no closed form at finite N, so ρ² is interpolated in the table, monotonically
            (PCHIP).

    Raises:
        UsageError: N is not in the table, or a ξ is outside 0 to the largest at this N.
    """
    if size is None:
        angle = np.pi / 3 * (_within("xi", xi, 0, 1) + 0.5)
        # At ξ = 0 rounding could leave a square of −1e-16.
        return np.asarray(np.sqrt(np.clip(2 * np.sin(angle) - 1, 0, 1)))
    if size not in XI_TABLE:
        valid = ", ".join(map(str, XI_TABLE))
        raise UsageError(f"xi has no table at N = {size!r}; valid: {valid}.")
    from scipy.interpolate import PchipInterpolator

    means = XI_TABLE[size]
    squares = PchipInterpolator(means, np.square(XI_TABLE_CORRELATIONS))
    found = squares(_within(f"xi at N = {size}", xi, 0, means[-1]))
    return np.asarray(np.sqrt(np.clip(found, 0, 1)))


def annotator_from_agreement(agreement: ArrayLike) -> Floats:
    """ρ_a = √sin(π (agreement − ½)): correlation of golden with what an annotator labels by.

    An annotator labels sign(Δg + η) with Gaussian noise η.

    Args:
        agreement: Share of pairs that two annotators of equal noise order alike, ½ to 1.
    """
    angle = np.pi * (_within("agreement", agreement, 0.5, 1) - 0.5)
    return np.asarray(np.sqrt(np.sin(angle)))


def max_attainable_accuracy(agreement: ArrayLike) -> Floats:
    """Accuracy of golden itself against an annotator's labels: ½ + asin(ρ_a) / π."""
    return accuracy_from_correlation(annotator_from_agreement(agreement))


def correlation_without_annotator_noise(accuracy: ArrayLike, agreement: ArrayLike) -> Floats:
    """ρ of proxy and golden from the accuracy against noisy labels: sin(π (acc − ½)) / ρ_a.

    Args:
        accuracy: Share of pairs in the annotator's order, 0 to 1.
        agreement: Share of pairs that two such annotators order alike, above ½ and up to 1.

    Raises:
        UsageError: A value is outside its range, labels carry no signal (agreement ½), or an
            accuracy is further from ½ than golden's own could be.
    """
    observed = correlation_from_accuracy(accuracy)
    annotator = annotator_from_agreement(agreement)
    if np.any(annotator == 0):
        raise UsageError("agreement is 0.5; valid: above 0.5, since such labels carry no signal.")
    found = observed / annotator
    if np.any(np.abs(found) > 1):
        worst = np.unravel_index(np.argmax(np.abs(found)), found.shape)
        most = np.broadcast_to(max_attainable_accuracy(agreement), found.shape)[worst]
        given = np.broadcast_to(np.asarray(accuracy, dtype=np.float64), found.shape)[worst]
        raise UsageError(
            f"accuracy is {given:g}; valid: {1 - most:.4g} to {most:.4g}, the accuracy of golden "
            "itself at this agreement."
        )
    return np.asarray(found)


@dataclass(frozen=True, slots=True)
class ExpectedAndObserved:
    """What the Gaussian model expects of best-of-n, beside what a pool shows.

    Attributes:
        n: Responses drawn.
        prompts: Prompts with n responses; all numbers are of these.
        accuracy: Mean accuracy over prompts; higher is better.
        correlation: ρ̂ = NDR_2, which is ρ under the model even where prompts differ in scale.
        drop_from_accuracy: 1 − sin(π (accuracy − ½)); lower is better. Prompts of different ρ, and
            errors that are not Gaussian, both move it away from the observed drop.
        drop_from_ndr: 1 − NDR_2; lower is better.
        drop_observed: 1 − NDR_n; lower is better.
    """

    n: int
    prompts: int
    accuracy: float
    correlation: float
    drop_from_accuracy: float
    drop_from_ndr: float
    drop_observed: float

    @property
    def excess(self) -> float:
        """Observed drop above 1 − NDR_2: what the metric `tail_excess` tests; 0 under the model."""
        return self.drop_observed - self.drop_from_ndr


def expected_and_observed(rewards: Rewards, n: int) -> ExpectedAndObserved:
    """The drop that accuracy and NDR_2 promise at n, and the drop measured there.

    Raises:
        UsageError: n is below 2.
        UndefinedMetricError: No prompt has n responses, or golden gains nothing.
    """
    observed, measured = per_prompt_sums(NDR(n=n), rewards)
    accuracy = _value(Accuracy(), rewards, measured)
    correlation = _value(NDR(n=2), rewards, measured)
    return ExpectedAndObserved(
        n=n,
        prompts=int(measured.sum()),
        accuracy=accuracy,
        correlation=correlation,
        drop_from_accuracy=float(drop_from_correlation(correlation_from_accuracy(accuracy))),
        drop_from_ndr=1 - correlation,
        drop_observed=1 - float(NDR(n=n).value(observed.sum(axis=0))),
    )


def _value(metric: Metric, rewards: Rewards, among: np.ndarray) -> float:
    sums, _ = per_prompt_sums(metric, rewards)
    found = float(metric.value(sums[among].sum(axis=0)))
    if not math.isfinite(found):
        raise UndefinedMetricError(
            f"{metric.name} is undefined: golden is constant on all {among.sum()} prompts"
        )
    return found


def _within(name: str, values: ArrayLike, low: float, high: float) -> Floats:
    """The values as an array, refused where one is outside low to high (NaN is)."""
    found = np.asarray(values, dtype=np.float64)
    outside = ~((found >= low) & (found <= high))
    if outside.any():
        raise UsageError(f"{name} is {found[outside][0]:g}; valid: {low:g} to {high:.4g}.")
    return found
