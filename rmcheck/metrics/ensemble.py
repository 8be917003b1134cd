"""Where the members of an ensemble disagree: at the optimiser's choices, or everywhere alike."""

import math
from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.at_n import AtN
from rmcheck.metrics.best_of_n import SELECTION, tied_bon_weights
from rmcheck.metrics.metric import NO_GOLDEN, ColumnMetric
from rmcheck.metrics.ranks import constant
from rmcheck.metrics.ratio import RatioMetric
from rmcheck.metrics.registration import register
from rmcheck.metrics.rewards import Block, Floats, Rewards

# The column that it needs; the rewards of an ensemble bring it.
DISAGREEMENT = "disagreement"


@register
@dataclass(frozen=True)
class DisagreementRatio(AtN, ColumnMetric, RatioMetric):
    """Disagreement at the ensemble's best-of-n choices, over that on all responses.

    Σ_i Σ_j w_ij d_ij / Σ_i mean_j d_ij, where d_ij is the standard deviation across members of
    their rewards for a response, each less its own mean over the prompt, and w_ij the exact
    probability that best-of-n by the ensemble chooses the response. Lower is better: 1 is no more
    disagreement where the optimiser goes than elsewhere, above 1 it goes where members disagree,
    which is where rewards are hacked. Undefined where the members agree on everything, and for a
    model that is no ensemble. Golden plays no part in it; the correlation of d with
    |proxy − golden|, both standardised inside prompts, is among its facts.

    Combinations that fear disagreement (`worst`, `uwo`) lower it by construction: it compares
    checkpoints under one combination.

    Args:
        n: Responses drawn; prompts with fewer are left out. None draws all of them, and then
            every prompt must have the same N.

    Caution:
        Members that were trained on the same data share their errors, and agree on them.

    Reference:
        Coste et al. 2023, arXiv 2310.02743 (ensembles); the ratio is rmcheck's own.
    """

    name = "disagreement_ratio"
    direction = "lower"
    range = (0.0, np.inf)
    invariances = SELECTION | NO_GOLDEN
    brought_by_model = True
    columns = (DISAGREEMENT,)
    studentised = True  # it is a ratio of two random means

    def without(self, column: str, rewards: Rewards) -> str:
        """What to say of a model that is no ensemble."""
        return (
            f"{self.name} needs an ensemble, and these rewards are one model's; name several as "
            "ensemble:SPEC,SPEC"
        )

    def block_sums(self, block: Block) -> Floats:
        """(p, 6): d at the choices, mean d, second moments of d with the error, and 1."""
        found = block.columns[DISAGREEMENT]
        weights = tied_bon_weights(block.proxy, self.n or block.proxy.shape[1])
        chosen = np.einsum("ij,ij->i", weights, found)
        moments = _moments(found, _error(block.proxy, block.golden))
        ones = np.ones(found.shape[0])
        return np.stack([chosen, found.mean(axis=1), *moments, ones], axis=-1)

    def facts(self, sums: Floats) -> dict[str, float]:
        """Mean disagreement at the choices and on all responses; its correlation with the error."""
        prompts = float(sums[5])
        if prompts == 0:
            return {}
        found = {
            "disagreement_at_choices": float(sums[0]) / prompts,
            "disagreement": float(sums[1]) / prompts,
        }
        spread = math.sqrt(float(sums[3]) * float(sums[4]))
        if spread > 0:
            found["error_correlation"] = float(sums[2]) / spread
        return found


def _error(proxy: Floats, golden: Floats) -> Floats:
    """(p, N) |proxy − golden|, each standardised in its prompt; 0 where one of them is constant."""
    errors = np.abs(_standardised(proxy) - _standardised(golden))
    return np.where((constant(proxy) | constant(golden))[:, None], 0.0, errors)


def _standardised(values: Floats) -> Floats:
    spread = values.std(axis=1, keepdims=True)
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.where(spread == 0, 1.0, spread))


def _moments(found: Floats, error: Floats) -> tuple[Floats, Floats, Floats]:
    """(p,) within-prompt sums of d·e, d² and e²; zeros where the error says nothing."""
    measured = error.any(axis=1, keepdims=True)
    d = np.where(measured, found - found.mean(axis=1, keepdims=True), 0.0)
    e = error - error.mean(axis=1, keepdims=True)
    return (
        np.einsum("ij,ij->i", d, e),
        np.einsum("ij,ij->i", d, d),
        np.einsum("ij,ij->i", e, e),
    )
