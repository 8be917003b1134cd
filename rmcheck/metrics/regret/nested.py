"""Nested annotation design: labels where the proxy leads, and a few at random.

A large pool is scored by the proxy, which costs little. Of every prompt people label a few random
responses and the ones that the proxy would choose as the best of the first 4, 16, 64, … responses.
The labels of the choices are an unbiased sample of what best-of-n against this proxy gives, for
any shape of its errors; the random ones give the mean to measure from and the spread of golden.
About ten labels a prompt tell what five random ones cannot.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.best_of_n import SELECTION, gain_facts
from rmcheck.metrics.metric import ColumnMetric
from rmcheck.metrics.moments import l_moments
from rmcheck.metrics.ratio import MAX_UNDEFINED_SHARE, RatioMetric
from rmcheck.metrics.regret.nested_columns import CHOSEN_AT, RANDOM
from rmcheck.metrics.rewards import Block, Floats, Ints
from rmcheck.metrics.settings import require_number, require_whole_number

Bools = NDArray[np.bool_]

# A golden reward with tails like these makes m_n standard deviations a wrong best. L-kurtosis is 0
# for a uniform golden, 0.123 for a Gaussian one, 0.19 for Student's t with 5 degrees of freedom.
L_KURTOSIS = (0.0, 0.19)
# Share of prompts whose chosen responses may stand in another order than the candidate's scores.
MAX_OTHER_ORDER = 0.01


@dataclass(frozen=True)
class Chosen:
    """The responses of one prompt that must be labelled.

    Attributes:
        responses: (k,) their positions in the prompt, in random order.
        random: (k,) 1 where a response was drawn at random.
        chosen_at: (k,) largest n of the design at which the proxy chooses it; 0 where at none.
    """

    responses: Ints
    random: Ints
    chosen_at: Ints


def choose(
    proxy: Floats, *, at: Sequence[int], random: int, generator: np.random.Generator
) -> Chosen:
    """What to label of one prompt.

    The responses are put in random order first, since a pool's own order may mean something.

    Args:
        proxy: (N,) rewards of the model under test.
        at: The n of best-of-n, each of which chooses from the first n responses.
        random: Responses drawn at random, 2 or more; the first of the same order.
        generator: Of the random order.

    Raises:
        UsageError: N is smaller than the largest n, or than `random`.
    """
    most = max(*at, random)
    if proxy.size < most:
        raise UsageError(f"the design needs {most} responses a prompt; this one has {proxy.size}")
    order = generator.permutation(proxy.size)
    chosen_at = np.zeros(proxy.size, dtype=np.int64)
    for n in sorted(at):
        first = order[:n]
        chosen_at[first[np.argmax(proxy[first])]] = n
    drawn = np.zeros(proxy.size, dtype=np.int64)
    drawn[order[:random]] = 1
    responses = np.flatnonzero((drawn > 0) | (chosen_at > 0))
    responses = generator.permutation(responses)
    return Chosen(responses, drawn[responses], chosen_at[responses])


@functools.cache
def expected_maximum(n: int) -> float:
    """Mean of the largest of n independent standard normal numbers, m_n."""
    from scipy.integrate import quad
    from scipy.special import log_ndtr

    def density(x: float) -> float:
        log_normal = -x * x / 2 - math.log(2 * math.pi) / 2
        return x * n * math.exp(log_normal + (n - 1) * float(log_ndtr(x)))

    value, _ = quad(density, -10, 10, points=[math.sqrt(2 * math.log(max(2, n)))], limit=200)
    return float(value)


@dataclass(frozen=True)
class NestedDrop(ColumnMetric, RatioMetric):
    """Drop ratio of best-of-n from labels of the nested design.

    1 − Σ_i [g(proxy's choice among n) − ḡ(random)]_i / (m_n σ̂ P), where σ̂ = (√π / 2) mean |Δg|
    over pairs of random responses is golden's standard deviation and m_n σ̂ the gain of golden's
    own best of n, if golden is Gaussian inside a prompt. Lower is better. Undefined where the
    random labels of every prompt are equal.

    Args:
        n: One of the design's n.
        min_golden_gain: Golden gain, in golden units, below which nothing is decided.
    """

    name = "nested_drop"
    direction = "lower"
    range = (-np.inf, np.inf)
    attainable = (0.0, 2.0)
    invariances = SELECTION
    columns = (RANDOM, CHOSEN_AT)
    studentised = True  # a ratio of two random means

    n: int
    min_golden_gain: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        require_whole_number("n", self.n, 2)
        require_number("min_golden_gain", self.min_golden_gain, 0)

    @property
    def note(self) -> str:
        """How the value was found."""
        return f"measured at n={self.n} from the labels of a nested design"

    def block_sums(self, block: Block) -> Floats:
        """(p, 7): gain of the choice, golden's gain, 1; then sums that tell whether to trust it.

        Those are: 1 where the prompt is complete, 1 where the choices stand in another order than
        the proxy's scores, and the second and fourth L-moment of the random labels.

        Raises:
            UndefinedMetricError: The design was drawn for another RM, or not with this n.
        """
        random, chosen_at = block.columns[RANDOM] > 0, block.columns[CHOSEN_AT]
        _require_design(self.n, chosen_at)
        choice = _choice(chosen_at, self.n)
        drawn = random.sum(axis=1)
        complete = (drawn >= 2) & (choice >= 0)
        mean = (block.golden * random).sum(axis=1) / np.maximum(1, drawn)
        chosen = np.take_along_axis(block.golden, np.maximum(0, choice)[:, None], axis=1)[:, 0]
        spread = np.array([_mean_gap(g[r]) for g, r in zip(block.golden, random, strict=True)])
        best = expected_maximum(self.n) * math.sqrt(math.pi) / 2 * spread
        moments = np.array([l_moments(g[r]) for g, r in zip(block.golden, random, strict=True)])
        gains = np.stack([chosen - mean, best], axis=1)
        other = _other_order(block.proxy, chosen_at)
        return np.concatenate(
            [
                np.where(complete[:, None], gains, 0.0),
                np.ones((len(gains), 1)),
                complete[:, None].astype(float),
                other[:, None].astype(float),
                moments,
            ],
            axis=1,
        )

    def value(self, sums: Floats) -> Floats:
        """1 − the choices' gain over golden's own."""
        return 1 - super().value(sums)

    def gradient(self, sums: Floats) -> Floats:
        return -super().gradient(sums)

    def concerns(self, sums: Floats) -> tuple[str, ...]:
        """Another RM's design, labels that are missing, or a golden that is far from Gaussian."""
        total = sums.sum(axis=0)
        prompts, complete, other = total[2], total[3], total[4]
        found = []
        if other > MAX_OTHER_ORDER * prompts:
            found.append(
                f"on {other:.0f} of {prompts:.0f} prompts the responses that the design's RM chose "
                "score in another order: the labels were drawn for another RM"
            )
        if complete < (1 - MAX_UNDEFINED_SHARE) * prompts:
            found.append(f"{prompts - complete:.0f} of {prompts:.0f} prompts lack labels")
        if complete and total[1] / complete <= self.min_golden_gain:
            found.append(f"golden gain near zero: {total[1] / complete:.3g}")
        kurtosis = total[6] / total[5] if total[5] else math.nan
        low, high = L_KURTOSIS
        if not low <= kurtosis <= high:
            found.append(
                f"golden is far from Gaussian (L-kurtosis {kurtosis:.2f}, outside {low:g} to "
                f"{high:g}), so its own best of {self.n} cannot be told from random labels"
            )
        return tuple(found)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Gains per complete prompt in golden units, and the choice's in golden's s.d."""
        complete = float(sums[3])
        if not complete or not sums[1]:
            return {}
        deviation = float(sums[1]) / complete / expected_maximum(self.n)
        gains = gain_facts(sums[0], sums[1], complete)
        return {**gains, "proxy_gain_in_sd": gains["proxy_gain"] / deviation}


def _require_design(n: int, chosen_at: Floats) -> None:
    known = np.unique(chosen_at[chosen_at > 0]).astype(int)
    if n > chosen_at.max(initial=0):
        raise UndefinedMetricError(
            f"the design has no choice at n={n}; it has them at {', '.join(map(str, known))}"
        )


def _choice(chosen_at: Floats, n: int) -> Ints:
    """(p,) position of the response chosen at n, which may be chosen at larger n too; −1: none."""
    reach = np.where(chosen_at >= n, chosen_at, np.inf)
    found: Ints = np.where(np.isfinite(reach.min(axis=1)), reach.argmin(axis=1), -1)
    return found


def _other_order(proxy: Floats, chosen_at: Floats) -> Bools:
    """(p,) whether a response that is chosen from more responses has a lower proxy reward."""
    place = np.argsort(np.where(chosen_at > 0, chosen_at, np.inf), axis=1, kind="stable")
    arranged = np.take_along_axis(np.where(chosen_at > 0, proxy, np.inf), place, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.any(np.diff(arranged, axis=1) < 0, axis=1))


def _mean_gap(golden: Floats) -> float:
    """Mean absolute difference over all pairs; 0 of fewer than two."""
    if golden.size < 2:
        return 0.0
    return float(2 * l_moments(golden)[0])
