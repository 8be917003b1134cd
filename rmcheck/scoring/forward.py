"""Forward passes, batch after batch, each in the store before the next one starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Never

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.model import Encoded, RewardModel, checked_rewards
from rmcheck.scoring.batches import batch_end, longest_first
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.parts import CutSide, Provenance, ScoreRows
from rmcheck.store.scores import ModelScores

if TYPE_CHECKING:
    from tqdm import tqdm


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

    A batch that does not fit in memory is halved, and so is the budget for the rest.

    Args:
        model: Loaded.
        groups: Texts of equal model input.
        scores: Where they are kept, batch by batch.
        budget: Padded tokens a batch.
        report: Of what was done so far.
        bar: Progress in tokens.

    Raises:
        ScoringError: A reward is NaN, infinite or missing, or one sample alone does not fit. The
            batches before are kept.
        StoreError: A batch could not be stored.
    """
    order = longest_first([group[0].encoded.length for group in groups])
    falling = [groups[i][0].encoded.length for i in order]
    provenance = Provenance.of(model)
    start = 0
    while start < len(order):
        end = batch_end(falling, start, budget)
        batch = [groups[i] for i in order[start:end]]
        inputs = [group[0].encoded for group in batch]
        try:
            rewards = np.asarray(model.score(inputs), dtype=np.float64)
        except MemoryError as error:
            if len(batch) == 1:
                raise does_not_fit(model, inputs[0], error) from error
            budget = falling[start] * (len(batch) // 2)
            report = replace(report, halvings=report.halvings + 1)
            continue
        checked_rewards(rewards, inputs, model.spec)
        texts = [text for group in batch for text in group]
        scores.append(rows_of(texts, np.repeat(rewards, list(map(len, batch)))), provenance)
        tokens = sum(falling[start:end])
        padded = falling[start] * len(batch) if inputs[0].ids else tokens
        report = replace(
            report,
            scored=report.scored + len(batch),
            tokens=report.tokens + tokens,
            padded_tokens=report.padded_tokens + padded,
            batches=report.batches + 1,
        )
        bar.update(tokens)
        start = end
    return report


def does_not_fit(model: RewardModel, encoded: Encoded, error: MemoryError) -> ScoringError:
    """The error for a sample that does not fit in memory even alone."""
    sample = encoded.sample
    return ScoringError(
        f"{model.spec}: prompt {sample.prompt_id!r}, response {sample.index} does not fit in "
        f"memory even alone ({encoded.length} tokens; {error}). Use a device with more memory or a "
        "smaller dtype, or limit the length of conversations."
    )
