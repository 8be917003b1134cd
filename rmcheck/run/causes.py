"""What may be why a check of a suite failed: its responses' traits, slices, cut texts and ties."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.causes import find_causes, thinned
from rmcheck.checks.record import CauseRecord
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.run.fill import Filled
from rmcheck.run.plan import PlannedSuite
from rmcheck.scoring.request import read_scores

# Values of a slice column that are suspects: the most frequent ones.
MOST_VALUES = 12


def causes(
    suite: PlannedSuite, filled: Filled, conditions: Mapping[str, str]
) -> tuple[CauseRecord, ...]:
    """Suspects for what the candidate loses on a slice of a suite, or of the part that was seen.

    Traits are read of some responses of each prompt, drawn at random, and everything is computed
    on these.
    """
    loaded = suite.loaded
    whole = filled.reading(suite, "candidate").rewards
    drawn = loaded.drawn_traits
    inside = np.repeat(whole.matching(conditions), whole.counts)[drawn.places]
    places = drawn.places[inside]
    part = thinned(whole, places)
    if not len(part):
        return ()
    other = filled.known(suite, "baseline")
    traits = {"length": _length(part), **_columns(drawn.traits, inside)}
    where = {**_slices(part, conditions), **_cut(suite, filled, places, part)}
    baseline = other.rewards.proxy[places] if other else None
    return find_causes(part, traits, where, loaded.sampling.seed, baseline)


def _length(part: Rewards) -> Floats:
    """Characters, and their logarithm: a model may follow either."""
    length = part.columns[LENGTH]
    return np.stack([length, np.log1p(length)], axis=1)


def _columns(traits: Mapping[str, Floats], inside: NDArray[np.bool_]) -> dict[str, Floats]:
    return {name: v[inside][:, None] for name, v in traits.items() if name != "words"}


def _slices(part: Rewards, conditions: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
    found = {}
    for column, values in part.slices.items():
        if column in conditions:
            continue
        known, counts = np.unique(values[values != ""], return_counts=True)
        for value in known[np.argsort(-counts, kind="stable")][:MOST_VALUES].tolist():
            found[f"{column}={value}"] = values == value
    return found


def _cut(
    suite: PlannedSuite, filled: Filled, places: NDArray[np.int64], part: Rewards
) -> dict[str, NDArray[np.bool_]]:
    """Prompts with a response of which the candidate did not read all."""
    if suite.loaded.suite.too_long == "error":
        return {}
    request = filled.request(suite, "candidate")
    cuts = [read_scores(one, filled.store_of(one.model)).cuts > 0 for one in request.members]
    cut = np.any(cuts, axis=0)[suite.loaded.is_labelled][places]
    return {"texts that were cut": np.logical_or.reduceat(cut, part.offsets[:-1])}
