"""Calibration: does the proxy's margin between two responses say how sure it should be?"""

import math
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.metric import Invariance, Metric, per_prompt_sums
from rmcheck.metrics.pairs import BETTER, SAME, TIED, PairChunk, pair_chunks, pair_limit
from rmcheck.metrics.pairwise import ORDER_ONLY
from rmcheck.metrics.ratio import ratio
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.metrics.settings import require_choice, require_whole_number
from rmcheck.stats.absolute_sum import debiased_sum
from rmcheck.stats.functions import logistic
from rmcheck.stats.unseen import Seen, Unseen

Target = Literal["hard", "soft"]

# Pairs of a pool above which only some of each prompt's pairs are read, and how many are read at
# least: with fewer, the choice among them would show.
MAX_PAIRS = 20_000_000
MIN_PAIRS_PER_PROMPT = 1_000
# Bin edges only have to divide the pairs evenly; this many fix them well enough.
MAX_EDGE_PAIRS = 250_000
# 1 was the sum with its noise.
DEFINITION = 2
# Golden rewards with more distinct values than this share of the responses come from a model.
REAL_VALUED_SHARE = 0.5
MIN_DISTINCT = 20
# Label of a pair by golden's verdict; a golden tie has none.
_LABELS = np.array([0.0, np.nan, 1.0, 0.5])


def counted_pairs(chunk: PairChunk, target: Target) -> tuple[NDArray[np.bool_], Floats]:
    """Which pairs count, and the probability or label that golden gives to the proxy's choice.

    A golden tie is no label and does not count in `hard`. A margin of 0 chooses neither: one half.
    """
    if target == "soft":
        label = logistic(chunk.golden)
        label[chunk.margin == 0] = 0.5
        return np.ones(label.shape, dtype=bool), label
    verdict = chunk.verdict
    return verdict != TIED, _LABELS[verdict]


@register
@dataclass(frozen=True)
class ECE(Metric):
    """Expected calibration error of the Bradley-Terry probability σ(margin) inside prompts.

    Pairs of responses are turned so that the proxy's margin m = |r_a − r_b|, and put into bins of
    equally many pairs by m: ECE = Σ_b |B_b| / M · |acc(B_b) − conf(B_b)| with conf the mean σ(m)
    and acc the share in which golden agrees. Golden ties are dropped; m = 0 counts one half.
    Undefined where no pair is left. Lower is better, from 0 to 1; it depends on the proxy's scale,
    and says nothing about the order inside a bin.

    Noise raises that sum: 30 pairs of a calibrated proxy have .19. What is measured is the sum
    without it (`rmcheck.stats.absolute_sum.debiased_sum`, with errors that know which pairs share a
    prompt, or a cluster); the sum itself is among the `facts`, and `value` of totals.

    The bin edges are those of the whole pool, fixed by `fitted`. Above 20 million pairs in a pool
    an even choice of each prompt's pairs is read, always the same one (`note` says so).

    Args:
        bins: Number of bins.
        target: `hard` compares with which response golden prefers: human choices. `soft` compares
            with σ(golden margin), for a golden reward that is itself a Bradley-Terry model; golden
            ties are then kept.

    Caution:
        Rewards that were not trained as Bradley-Terry log-odds (regression, verifiers, sums of
        heads) have no calibration to measure: then it measures their unit. Below about 100 pairs
        it has little power.

    Reference:
        Guo et al. 2017, On calibration of modern neural networks; Wen et al. 2024, eq. 13; Kumar
        et al. 2019, Verified uncertainty calibration, and Roelofs et al. 2022, Mitigating bias in
        calibration error estimation (its bias; bins of equally many pairs have the least).
    """

    name = "ece"
    direction = "lower"
    range = (0.0, 1.0)
    tells_direction = False  # a constant model is never sure, and so never wrong about it

    bins: int = 10
    target: Target = "hard"
    edges: tuple[float, ...] = field(default=(), init=False, repr=False)
    pairs_per_prompt: int = field(default=0, init=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        require_whole_number("bins", self.bins, 1)
        require_choice("target", self.target, ("hard", "soft"))

    @property
    def invariances(self) -> frozenset[Invariance]:
        """An offset of the proxy; of golden any order-preserving change, or an offset if soft."""
        if self.target == "soft":
            return frozenset({"proxy_shift", "golden_shift"})
        return ORDER_ONLY - {"proxy_scale", "proxy_monotone"}

    @property
    def note(self) -> str:
        """That pairs were left out, or that hard labels come from a model; empty if neither."""
        return "; ".join(self.remarks)

    @property
    def signature(self) -> str:
        """The settings, and the version of the definition that histories go by."""
        return f"{super().signature}|definition:{DEFINITION}"

    def fitted(self, rewards: Rewards) -> Self:
        """This metric with the bin edges of this pool.

        Raises:
            UndefinedMetricError: No prompt has two responses with different golden rewards.
        """
        self.require(rewards)
        limit = pair_limit(rewards.counts, MAX_PAIRS, MIN_PAIRS_PER_PROMPT)
        remarks = []
        most = int(rewards.counts.max())
        if most * (most - 1) // 2 > limit:
            remarks.append(f"an even choice of about {limit} pairs per prompt was read")
        warning = hard_labels_warning(rewards) if self.target == "hard" else None
        if warning:
            remarks.append(warning)
        edges = self._edges_of(rewards)
        return self.fixed(edges=edges, pairs_per_prompt=limit, remarks=tuple(remarks))

    def _edges_of(self, rewards: Rewards) -> tuple[float, ...]:
        limit = pair_limit(rewards.counts, MAX_EDGE_PAIRS, 64)
        margins, weights = [np.zeros(0)], [np.zeros(0)]
        for block in rewards.blocks(self.min_responses):
            for chunk in pair_chunks(block.proxy, block.golden, limit):
                counts = True if self.target == "soft" else chunk.verdict != TIED
                margins.append(chunk.margin[counts].ravel())
                weights.append(np.full(margins[-1].size, chunk.weight))
        margin, weight = np.concatenate(margins), np.concatenate(weights)
        if not margin.size:
            raise UndefinedMetricError(f"{self.name} needs pairs that differ in golden; none does")
        if weight.min() < weight.max():
            index = np.argsort(margin)
            margin, weight = margin[index], weight[index]
        else:  # ten times faster
            margin.sort()
        cumulated = np.cumsum(weight)
        # Steps, not interpolation, so that the pool twice over has the same edges.
        last = np.searchsorted(cumulated * self.bins, np.arange(1, self.bins) * cumulated[-1])
        return tuple(margin[last].tolist())

    def per_prompt(self, proxy: Floats, golden: Floats) -> Floats:
        """(p, 3 bins + 1): agreement − confidence in each bin; pairs; pairs and agreement in each.

        Raises:
            UndefinedMetricError: The bin edges have not been fixed by `fitted`.
        """
        if not self.pairs_per_prompt:
            raise UndefinedMetricError(f"{self.name} must first see the pool: call fitted(rewards)")
        out = np.zeros((proxy.shape[0], 3 * self.bins + 1))
        for chunk in pair_chunks(proxy, golden, self.pairs_per_prompt):
            counts, agree, confidence = self._bin_sums(chunk)
            pairs = counts.sum(axis=1, keepdims=True)
            out[chunk.rows] += np.hstack([agree - confidence, pairs, counts, agree]) * chunk.weight
        return out

    def _bin_sums(self, chunk: PairChunk) -> tuple[Floats, Floats, Floats]:
        """Pairs, agreement and confidence of the prompts of a chunk, (q, bins) each."""
        hard = self.target == "hard"
        kinds = _LABELS.size if hard else 1
        cells = self._cells(chunk, kinds)
        shape = (chunk.margin.shape[1], self.bins, kinds)

        def tally(values: Floats | None = None) -> Floats:
            weights = None if values is None else values.ravel()
            return np.bincount(cells, weights, math.prod(shape)).reshape(shape).astype(np.float64)

        counts, confidence = tally(), tally(chunk.confidence)
        if hard:
            agree = counts[..., BETTER] + counts[..., SAME] / 2
            counts[..., TIED] = confidence[..., TIED] = 0.0
        else:
            agree = tally(counted_pairs(chunk, "soft")[1])[..., 0]
        return counts.sum(axis=-1), agree, confidence.sum(axis=-1)

    def _cells(self, chunk: PairChunk, kinds: int) -> Ints:
        """(m q,) prompt, bin and verdict of each pair in one number; one kind is no verdict."""
        height, size = chunk.margin.shape[1], self.bins * kinds
        # As many comparisons as edges cost less than one binary search, in the narrowest integers.
        numbers = np.zeros(chunk.margin.shape, dtype=np.min_scalar_type(size - 1))
        above = np.empty(numbers.shape, dtype=bool)
        for edge in self.edges:
            numbers += np.greater(chunk.margin, edge, out=above).view(np.uint8)
        if kinds > 1:
            numbers *= kinds
            numbers += chunk.verdict
        numbers = numbers.astype(np.min_scalar_type(height * size))
        numbers += np.arange(0, height * size, size, dtype=numbers.dtype)
        return numbers.ravel().astype(np.int64)

    def compared(self, sums: Floats) -> NDArray[np.bool_]:
        """(n,) where some pair counts."""
        return np.asarray(sums[:, self.bins] > 0)

    @property
    def value_columns(self) -> int:
        """Agreement − confidence of each bin, and the pairs."""
        return self.bins + 1

    def value(self, sums: Floats) -> Floats:
        """Σ_b |agreement − confidence| over the pairs, noise and all; NaN where there is none."""
        return np.asarray(np.abs(self.terms(sums)).sum(axis=-1))

    def terms(self, sums: Floats) -> Floats:
        """(…, bins) agreement − confidence of each bin, over all pairs."""
        return ratio(sums[..., : self.bins], sums[..., self.bins, None])

    def debiased(self, sums: Floats) -> float | None:
        """ECE from the sums of n independent units; see the class."""
        totals, n = sums.sum(axis=0), len(sums)
        if n < 2:
            return None
        terms, pairs = self.terms(totals), totals[self.bins]
        apart = (sums[:, : self.bins] - sums[:, self.bins, None] * terms) / pairs
        errors = np.sqrt(n / (n - 1) * np.sum(apart**2, axis=0))
        shares = self.bin_sums(totals)[0] / pairs
        used = shares > 0
        return debiased_sum(terms[used], errors[used], shares[used])

    def unseen(self, seen: Seen) -> Unseen:
        """Units in which golden agrees with no pair, or with all."""
        counts, _, confidence = self.bin_sums(seen.mean)
        agree = np.stack([np.zeros_like(counts), counts])
        pairs, both = np.full((2, 1), counts.sum()), np.tile(counts, (2, 1))
        rows = np.hstack([agree - confidence, pairs, both, agree])
        return Unseen(rows, rows, rows, rows)

    def facts(self, sums: Floats) -> dict[str, float]:
        """The sum with its noise, the noise floor (`hard`), and calibration slope, from the bins.

        The floor is the sum that a calibrated proxy has on this many pairs if they are independent;
        a slope below 1 is over-confidence. See `calibration` for the slope from single pairs.
        """
        counts, agree, confidence = self.bin_sums(sums)
        found = {
            "with_noise": float(self.value(sums)),
            "slope": _slope(counts, agree, confidence),
        }
        if self.target == "hard":
            found["noise_floor"] = _noise_floor(counts, confidence)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def bin_sums(self, sums: Floats) -> tuple[Floats, Floats, Floats]:
        """Pairs, agreement and confidence of each bin."""
        apart, _, counts, agree = np.split(sums, np.cumsum([self.bins, 1, self.bins]), axis=-1)
        return counts, agree, agree - apart


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How well margins tell certainty, for reports.

    Attributes:
        ece: Expected calibration error, with the noise of these pairs.
        noise_floor: ECE that a calibrated proxy has on this many pairs, if they are independent.
        pairs: (bins,) pairs in each bin.
        confidence: (bins,) mean σ(margin); NaN in an empty bin.
        agreement: (bins,) share in which golden agrees; NaN in an empty bin.
    """

    ece: float
    noise_floor: float
    pairs: Floats
    confidence: Floats
    agreement: Floats


def calibration(rewards: Rewards, bins: int = 10) -> Calibration:
    """Reliability of the proxy's margins against hard golden labels.

    The floor is Σ_b w_b √(2 p_b (1 − p_b) / (π n_b)) with p the confidence, w the share and n the
    number of the pairs of bin b.

    Raises:
        UndefinedMetricError: No two responses of a prompt differ in golden.
    """
    metric = ECE(bins=bins).fitted(rewards)
    totals = per_prompt_sums(metric, rewards)[0].sum(axis=0)
    counts, agree, confidence = metric.bin_sums(totals)
    return Calibration(
        ece=float(metric.value(totals)),
        noise_floor=_noise_floor(counts, confidence),
        pairs=counts,
        confidence=ratio(confidence, counts),
        agreement=ratio(agree, counts),
    )


def hard_labels_warning(rewards: Rewards) -> str | None:
    """Why calibration against these golden rewards means little, or None.

    A golden RM gives a real number for every response, and who wins by it is certain. Thresholding
    it makes labels whose agreement with σ(margin) says nothing about calibration. Human labels and
    ratings have few distinct values.
    """
    distinct = np.unique(rewards.golden).size
    if distinct < MIN_DISTINCT or distinct <= REAL_VALUED_SHARE * rewards.golden.size:
        return None
    return (
        f"golden rewards are real-valued ({distinct} distinct in {rewards.golden.size}), so their "
        "hard labels are no probabilities: use human labels, or target: soft"
    )


def _noise_floor(counts: Floats, confidence: Floats) -> float:
    used = counts > 0
    n = counts[used]
    p = confidence[used] / n
    return float((n / n.sum() * np.sqrt(2 * p * (1 - p) / (math.pi * n))).sum())


def _slope(counts: Floats, agree: Floats, confidence: Floats) -> float:
    """Factor on the margins of bins that makes them fit golden best.

    It minimises Σ log(1 + e^(−a m y)) by Newton's method kept in a bracket, with m the margin that
    a bin's mean confidence states; infinite where golden agrees with every pair, or with none.
    """
    used = counts > 0
    n, k = counts[used], agree[used]
    p = np.minimum(confidence[used] / n, 1 - np.finfo(float).eps)
    m = np.log(p / (1 - p))
    right, wrong = float((m * k).sum()), float((m * (n - k)).sum())
    if right <= 0 or wrong <= 0:
        return math.nan if right <= 0 and wrong <= 0 else math.copysign(math.inf, right - wrong)
    low, high = -math.inf, math.inf
    a = 1.0
    for _ in range(200):
        fitted = logistic(a * m)
        first = float((m * (n * fitted - k)).sum())
        second = float((m**2 * n * fitted * (1 - fitted)).sum())
        low, high = (a, high) if first < 0 else (low, a)
        new = a - first / second if second > 0 else math.nan
        if not low <= new <= high:
            if math.isinf(low):
                new = a - 2 * max(1.0, abs(a))
            elif math.isinf(high):
                new = a + 2 * max(1.0, abs(a))
            else:
                new = (low + high) / 2
        if abs(new - a) <= 1e-10 * max(1.0, abs(a)):
            return new
        a = new
    return a
