"""What the texts look like that best-of-n picks on a suite, by the candidate and by golden."""

import numpy as np

from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics.picked_texts import PickedTexts, picked_texts
from rmcheck.metrics.policy_steps import only
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.traits import traits_with_rare
from rmcheck.run.loaded import LoadedSuite

# Responses whose texts are counted; a page needs no more, and texts take time to read.
MOST_RESPONSES = 4_000


def picks(
    loaded: LoadedSuite, candidate: Rewards, *, most: int = MOST_RESPONSES
) -> list[PickedTexts]:
    """Traits of the picks at the number of responses that nine in ten prompts have.

    Returns:
        One row a trait; none where prompts have one response.

    Raises:
        UndefinedMetricError: Some responses of the pool have no label or no reward.
    """
    texts = sum(len(prompt.responses) for prompt in loaded.pool.prompts)
    if texts != candidate.proxy.size:
        raise UndefinedMetricError(f"{texts - candidate.proxy.size} responses have no label")
    counts = candidate.counts
    n = int(np.quantile(counts, 0.1, method="lower")) if counts.size else 0
    if n < 2:
        return []
    order = np.random.default_rng(loaded.sampling.seed).permutation(len(counts))
    drawn = np.zeros(len(counts), dtype=bool)
    drawn[order[np.cumsum(counts[order]) <= max(most, int(counts.max()))]] = True
    prompts = [loaded.pool.prompts[i] for i in np.flatnonzero(drawn).tolist()]
    traits = traits_with_rare([text for prompt in prompts for text in prompt.responses])
    rewards = only(candidate, np.repeat(drawn, counts))
    return picked_texts(rewards, traits, [n])
