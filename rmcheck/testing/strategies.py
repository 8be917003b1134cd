"""Hypothesis strategies for rewards: many ties, no ties, ragged pools."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rmcheck.metrics.metric import Metric
from rmcheck.metrics.rewards import Floats, Rewards

MAX_PROMPTS = 6
MAX_RESPONSES = 8


def tied_scores(size: int) -> st.SearchStrategy[Floats]:
    """`size` whole numbers from 0 to 3, so that ties are common."""
    return st.lists(st.integers(0, 3), min_size=size, max_size=size).map(_floats)


def distinct_scores(size: int) -> st.SearchStrategy[Floats]:
    """A permutation of 0 to `size` − 1: no ties."""
    return st.permutations(list(range(size))).map(_floats)


def scores(size: int) -> st.SearchStrategy[Floats]:
    """`size` whole numbers, with or without ties. Sums and differences of them are exact."""
    return st.one_of(tied_scores(size), distinct_scores(size))


def gappy(size: int) -> st.SearchStrategy[Floats]:
    """Scores of which some are missing (NaN)."""
    known = st.lists(st.booleans(), min_size=size, max_size=size)
    return st.builds(lambda values, known: np.where(known, values, np.nan), scores(size), known)


@st.composite
def rewards(
    draw: st.DrawFn,
    *,
    min_responses: int = 1,
    max_responses: int = MAX_RESPONSES,
    equal_n: bool = False,
    max_prompts: int = MAX_PROMPTS,
    columns: Sequence[str] = (),
    with_gaps: Sequence[str] = (),
) -> Rewards:
    """Rewards of one to `max_prompts` prompts.

    Args:
        draw: Given by Hypothesis.
        min_responses: Fewest responses of a prompt.
        max_responses: Most responses of a prompt.
        equal_n: Give every prompt the same number of responses.
        max_prompts: Most prompts.
        columns: Names of further numbers a response.
        with_gaps: Those of them that some responses have not (NaN).
    """
    size = st.integers(min_responses, max_responses)
    prompts = draw(st.integers(1, max_prompts))
    counts = [draw(size)] * prompts if equal_n else [draw(size) for _ in range(prompts)]
    proxy, golden = ([draw(scores(n)) for n in counts] for _ in range(2))
    further = {
        name: [draw(scores(n) if name not in with_gaps else gappy(n)) for n in counts]
        for name in columns
    }
    return Rewards.from_arrays(proxy, golden, columns=further)


def rewards_for(metric: Metric) -> st.SearchStrategy[Rewards]:
    """Rewards that the metric accepts."""
    least = metric.min_responses
    return rewards(
        min_responses=least,
        max_responses=max(MAX_RESPONSES, least + 3),
        equal_n=metric.depends_on_n,
        columns=metric.columns,
        with_gaps=metric.reward_columns,
    )


@st.composite
def increasing_maps(draw: st.DrawFn, *, most: int = 64) -> NDArray[np.float64]:
    """Distinct whole numbers in ascending order: the images of the scores 0, 1, … under a map.

    A lookup table, because exp or a power would round different scores to equal ones.
    """
    steps = draw(st.lists(st.integers(1, 50), min_size=most, max_size=most))
    return np.cumsum(steps).astype(np.float64) - draw(st.integers(0, 100))


def _floats(values: Sequence[int]) -> Floats:
    return np.asarray(values, dtype=np.float64)
