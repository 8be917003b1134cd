"""Forward passes, batch after batch, each in the store before the next one starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Never

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, ScoringError
from rmcheck.models.model import Encoded, RewardModel, checked_rewards
from rmcheck.scoring.batches import BatchOrder, PackedOrder, PaddedOrder, spare_tokens
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.parts import CutSide, Provenance, ScoreRows
from rmcheck.store.scores import ModelScores

if TYPE_CHECKING:
    from tqdm import tqdm

# Batches without a reward that a message tells in full.
FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Text:
    """One text to store.

    Attributes:
        key: What it is stored under.
        encoded: How its model reads it.
        input_key: Name of what the model reads.
        side: The side that was cut; empty where it is read whole.
    """

    key: bytes
    encoded: Encoded
    input_key: bytes
    side: CutSide


def rows_of(texts: Sequence[Text], scores: NDArray[np.float64]) -> ScoreRows:
    """Texts with their scores as rows of the store."""
    return ScoreRows(
        [text.key for text in texts],
        [text.input_key for text in texts],
        scores,
        np.array([text.encoded.length for text in texts], dtype=np.int32),
        np.array([text.encoded.cut for text in texts], dtype=np.int32),
        [text.side for text in texts],
    )


def score_groups(
    model: RewardModel,
    groups: Sequence[Sequence[Text]],
    scores: ModelScores,
    budget: int,
    report: ScoringReport,
    bar: "tqdm[Never]",
) -> ScoringReport:
    """Score one text of each group and store the reward for all of the group.

    A batch that does not fit in memory is halved, and so is the budget for the rest. Where some
    texts of a batch have no reward the others are stored, and so are the batches after it.

    Args:
        model: Loaded.
        groups: Texts of equal model input.
        scores: Where they are kept, batch by batch.
        budget: Computed tokens a batch, padding included.
        report: Of what was done so far.
        bar: Progress in tokens.

    Raises:
        ScoringError: A reward is NaN, infinite or missing, or one sample alone does not fit. The
            batches before are kept, and what a `PartialScoringError` carries.
        StoreError: A batch could not be stored.
    """
    samples = batch_order(model, [group[0].encoded for group in groups])
    provenance = Provenance.of(model)
    on_server = model.description.get("device") == "server"
    faults: list[str] = []
    unscored = 0
    spare = spare_tokens(budget)
    start = 0
    while start < len(groups):
        end = samples.end(start, budget, spare)
        if model.largest_batch is not None:
            end = min(end, start + model.largest_batch)
        computed = samples.computed(start, end)
        batch = [groups[i] for i in samples.order[start:end]]
        inputs = [group[0].encoded for group in batch]
        try:
            rewards = np.asarray(model.score(inputs), dtype=np.float64)
            checked_rewards(rewards, inputs, model.spec)
        except MemoryError as error:
            if len(batch) == 1:
                raise does_not_fit(model, inputs[0], error) from error
            budget, spare = samples.computed(start, start + len(batch) // 2), 0
            report = replace(report, halvings=report.halvings + 1)
            continue
        except PartialScoringError as error:
            faults.append(str(error))
            unscored += len(batch) - len(error.rewards)
            rewards = np.array(list(error.rewards.values()), dtype=np.float64)
            batch = [batch[i] for i in error.rewards]
            inputs = [group[0].encoded for group in batch]
            if not error.goes_on:
                end = len(groups)
        texts = [text for group in batch for text in group]
        if texts:
            scores.append(rows_of(texts, np.repeat(rewards, list(map(len, batch)))), provenance)
        tokens = sum(encoded.length for encoded in inputs)
        # A server does not tell what it pads or shares.
        if on_server or not (inputs and inputs[0].ids):
            computed = tokens
        report = replace(
            report,
            scored=report.scored + len(batch),
            tokens=report.tokens + tokens,
            padded_tokens=report.padded_tokens + computed,
            batches=report.batches + 1,
        )
        bar.update(tokens)
        start = end
    if faults:
        raise ScoringError(_without_reward(model, faults, unscored, len(groups)))
    return report


def _without_reward(model: RewardModel, faults: Sequence[str], unscored: int, total: int) -> str:
    """The message for all batches: their number first, and what the first of them say."""
    if len(faults) == 1:
        return faults[0]
    count = f"{model.spec}: {unscored:,} of {total:,} texts have no reward"
    more = len(faults) - FAULTS_SHOWN
    rest = [f"and {more:,} more batches with such texts"] if more > 0 else []
    return "\n".join([count, *faults[:FAULTS_SHOWN], *rest])


def batch_order(model: RewardModel, encoded: Sequence[Encoded]) -> BatchOrder:
    """The samples in the order in which this model scores them fastest."""
    if model.shares_prefixes:
        return PackedOrder([e.ids for e in encoded], model.prefix_block)
    return PaddedOrder([e.length for e in encoded])


def does_not_fit(model: RewardModel, encoded: Encoded, error: MemoryError) -> ScoringError:
    """The error for a sample that does not fit in memory even alone."""
    sample = encoded.sample
    return ScoringError(
        f"{model.spec}: prompt {sample.prompt_id!r}, response {sample.index} does not fit in "
        f"memory even alone ({encoded.length} tokens; {error}). Use a device with more memory or a "
        "smaller dtype, or limit the length of conversations."
    )
