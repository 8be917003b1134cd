"""Does the proxy like long responses more than golden does?"""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.metric import ColumnMetric
from rmcheck.metrics.moments import within_moments
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats

LENGTH = "length"
# A share of variance below this, left after golden, is rounding.
NOTHING_LEFT = 1e-12


@register
@dataclass(frozen=True)
class LengthBias(ColumnMetric):
    """Size of the partial correlation of proxy and length given golden, pooled inside prompts.

    |ρ_rl·g| with ρ_rl·g = (ρ_rl − ρ_rg ρ_lg) / √((1 − ρ_rg²)(1 − ρ_lg²)), where each ρ comes from
    within-prompt covariances averaged over prompts (with N − 1, each prompt with the same weight):
    how much of what the proxy sees beyond golden is length. Lower is better: 0 is a proxy that
    uses length only as far as golden does. The sign is a fact beside it: liking short responses is
    a bias too, and a bound on the signed value would let it pass. Undefined where nothing of the
    proxy or of length is left beyond golden, as for golden itself. Needs the column `length`.

    It is about the errors alone: a proxy that is nearly golden, with length in the little that is
    left, has a large one. Read it beside accuracy.

    Caution:
        Where golden itself misjudges length, it blames the model for being right.

    Reference:
        Singhal et al. 2023, A long way to go, arXiv 2310.03716.
    """

    name = "length_bias"
    direction = "lower"
    range = (0.0, 1.0)
    invariances = frozenset({"proxy_shift", "proxy_reversal", "golden_shift", "golden_scale"})
    columns = (LENGTH,)

    def block_sums(self, block: Block) -> Floats:
        """(p, 6): variances of proxy, length and golden; covariances rl, rg, lg."""
        return within_moments(block.proxy, block.columns[LENGTH], block.golden)

    def value(self, sums: Floats) -> Floats:
        """|partial correlation|; NaN where nothing is left beyond golden."""
        return np.abs(_partial(sums))

    def parts(self, sums: Floats) -> Floats:
        """(…, 2) the signed value and its opposite: the bounds know that the larger was taken."""
        found = _partial(sums)
        return np.stack([found, -found], axis=-1)

    def facts(self, sums: Floats) -> dict[str, float]:
        """The partial correlation with its sign: positive likes long responses."""
        return {"partial_correlation": float(_partial(sums))}


def _partial(sums: Floats) -> Floats:
    """(…) partial correlation of the first two given the third, from (…, 6) totals."""
    r, length, golden, rl, rg, lg = np.moveaxis(sums, -1, 0)
    # Golden that is constant everywhere explains nothing.
    explained = np.where(golden > 0, golden, 1.0)
    left_r, left_l = r - rg**2 / explained, length - lg**2 / explained
    shared = rl - rg * lg / explained
    defined = (left_r > NOTHING_LEFT * r) & (left_l > NOTHING_LEFT * length)
    scale = np.sqrt(np.where(defined, left_r * left_l, 1.0))
    return np.where(defined, np.clip(shared / scale, -1.0, 1.0), np.nan)
