"""What the report says of any ensemble: whether its members agree where the optimiser goes."""

import numpy as np

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.ensemble import DISAGREEMENT, DisagreementRatio
from rmcheck.metrics.rewards import Rewards


def ensemble_remarks(rewards: Rewards, sampling: Sampling) -> dict[str, str]:
    """One sentence under `disagreement` for rewards of an ensemble; nothing for other rewards.

    Best-of-n is taken at the median number of responses, which half of the prompts have.
    """
    several = rewards.counts[rewards.counts >= 2]
    if DISAGREEMENT not in rewards.columns or not several.size:
        return {}
    n = int(np.median(several))
    try:
        found = measure(DisagreementRatio(n=n), rewards, sampling=sampling)
    except UndefinedMetricError as error:
        return {DISAGREEMENT: str(error)}
    e = found.estimate
    told = (
        f"members disagree {e.value:.2f} times [{e.lower:.2f}, {e.upper:.2f}] as much on "
        f"best-of-{n} choices as on all responses"
    )
    error_correlation = found.facts.get("error_correlation")
    if error_correlation is not None:
        told += f"; correlation of disagreement with the error {error_correlation:.2f}"
    return {DISAGREEMENT: told}
