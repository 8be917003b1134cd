"""Forward passes, some at the same time, each in the store as soon as it is done."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import PartialScoringError, ScoringError, StoreError
from rmcheck.models.model import Proven, RewardModel, Session
from rmcheck.models.sample import Encoded, checked_rewards
from rmcheck.pool.keys import as_keys
from rmcheck.scoring.batches import (
    BatchOrder,
    PackedOrder,
    PaddedOrder,
    fair_share,
    spare_tokens,
)
from rmcheck.scoring.progress import Progress
from rmcheck.scoring.report import ScoringReport
from rmcheck.store.parts import CutSide, Provenance, ScoreRows
from rmcheck.store.scores import ModelScores
from rmcheck.wording import first_lines

# Batches without a reward that a message tells in full.
FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Text:
    """One text to store.

    Attributes:
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
        as_keys([text.key for text in texts]),
        as_keys([text.input_key for text in texts]),
        scores,
        np.array([text.encoded.length for text in texts], dtype=np.int32),
        np.array([text.encoded.cut for text in texts], dtype=np.int32),
        [text.side for text in texts],
    )


@dataclass(frozen=True)
class _Batch:
    """Samples from one place of the order to another."""

    start: int
    end: int
    groups: list[Sequence[Text]]

    @property
    def inputs(self) -> list[Encoded]:
        """What the model reads."""
        return [group[0].encoded for group in self.groups]


class Forward:
    """Scores one text of each group and stores the reward for all of the group.

    As many batches are scored at the same time as the model has workers; each is stored as soon as
    it is scored. A batch that does not fit in memory is halved, and so is the budget for the rest.
    Where some texts of a batch have no reward the others are stored, and so are the batches after
    it.
    """

    def __init__(
        self,
        session: Session,
        proven: Proven,
        groups: Sequence[Sequence[Text]],
        scores: ModelScores,
        budget: int,
        bar: Progress,
    ) -> None:
        self._session, self._model = session, session.model
        self._groups = groups
        self._scores = scores
        self._provenance = Provenance.of(session, proven)
        self._score = session.scoring(proven)
        self._samples = batch_order(proven, [group[0].encoded for group in groups])
        # Places of the order; the last are next.
        self._left = [(0, len(groups))] if groups else []
        self._budget, self._spare = budget, spare_tokens(budget)
        self._together, self._ahead = 1, 0
        self._report = ScoringReport(self._model.spec)
        self._bar = bar
        self._faults: dict[int, str] = {}
        self._unscored = 0
        self._error: Exception | None = None

    def run(self) -> ScoringReport:
        """Score all of it.

        Raises:
            ScoringError: A reward is NaN, infinite or missing, or one sample alone does not fit.
                The batches before are kept, and what a `PartialScoringError` carries.
            StoreError: A batch could not be stored.
        """
        running: dict[Future[NDArray[np.float64]], _Batch] = {}
        with self._session.workers() as workers:
            self._together, self._ahead = workers.count, workers.ahead
            while self._left or running:
                while self._left and len(running) < self._together + self._ahead:
                    batch = self._next()
                    running[workers.submit(self._score, batch.inputs)] = batch
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._take(running.pop(future), future)
        if self._error is not None:
            raise self._error
        if self._faults:
            faults = [self._faults[start] for start in sorted(self._faults)]
            raise ScoringError(
                _without_reward(self._model, faults, self._unscored, len(self._groups))
            )
        return self._report

    def _next(self) -> _Batch:
        start, stop = self._left.pop()
        share = fair_share(self._samples.left(start), self._together, self._budget)
        spare = self._spare + self._budget - share  # groups are completed, whatever the share
        end = min(stop, self._samples.end(start, share, spare))
        if self._model.largest_batch is not None:
            end = min(end, start + self._model.largest_batch)
        if end < stop:
            self._left.append((end, stop))
        return _Batch(start, end, [self._groups[i] for i in self._samples.order[start:end]])

    def _take(self, batch: _Batch, scored: "Future[NDArray[np.float64]]") -> None:
        """Store what came of a batch. After an error others are stored, and no more are begun."""
        try:
            rewards = np.asarray(scored.result(), dtype=np.float64)
            self._keep(batch, checked_rewards(rewards, batch.inputs, self._model.spec))
        except MemoryError as error:
            self._report = replace(self._report, halvings=self._report.halvings + 1)
            self._ask_for_less(batch, error)
        except PartialScoringError as error:
            self._faults[batch.start] = str(error)
            self._unscored += len(batch.groups) - len(error.rewards)
            self._keep(
                replace(batch, groups=[batch.groups[i] for i in error.rewards]),
                np.array(list(error.rewards.values()), dtype=np.float64),
            )
            if not error.goes_on:
                self._left = []
        except StoreError:
            raise
        except Exception as error:
            self._stop(error)

    def _ask_for_less(self, batch: _Batch, error: MemoryError) -> None:
        """Of a batch that did not fit: its first half, and nothing at the same time."""
        count = len(batch.groups)
        if count == 1 and self._together + self._ahead == 1:
            self._stop(does_not_fit(self._model, batch.inputs[0], error))
            return
        if count > 1:
            half = self._samples.computed(batch.start, batch.start + count // 2)
            self._budget, self._spare = min(self._budget, half), 0
        self._together, self._ahead = 1, 0
        self._left.append((batch.start, batch.end))

    def _stop(self, error: Exception) -> None:
        self._error = self._error or error
        self._left = []

    def _keep(self, batch: _Batch, rewards: NDArray[np.float64]) -> None:
        texts = [text for group in batch.groups for text in group]
        if texts:
            repeats = list(map(len, batch.groups))
            self._scores.append(rows_of(texts, np.repeat(rewards, repeats)), self._provenance)
        tokens = sum(encoded.length for encoded in batch.inputs)
        self._report = replace(
            self._report,
            scored=self._report.scored + len(batch.groups),
            tokens=self._report.tokens + tokens,
            padded_tokens=self._report.padded_tokens + self._computed(batch, tokens),
            batches=self._report.batches + 1,
        )
        self._bar.update(tokens)

    def _computed(self, batch: _Batch, tokens: int) -> int:
        """Tokens that the model computed; a server does not tell what it pads or shares."""
        on_server = self._session.facts.device == "server"
        if on_server or not any(encoded.ids for encoded in batch.inputs):
            return tokens
        return self._samples.computed(batch.start, batch.end)


def _without_reward(model: RewardModel, faults: Sequence[str], unscored: int, total: int) -> str:
    """The message for all batches: their number first, and what the first of them say."""
    if len(faults) == 1:
        return faults[0]
    count = f"{model.spec}: {unscored:,} of {total:,} texts have no reward"
    shown = first_lines(faults, FAULTS_SHOWN, "batches with such texts", indent="")
    return "\n".join([count, *shown])


def batch_order(proven: Proven, encoded: Sequence[Encoded]) -> BatchOrder:
    """The samples in the order in which a model that has proved this scores them fastest."""
    if proven.shares_prefixes:
        return PackedOrder([e.ids for e in encoded], proven.prefix_block)
    return PaddedOrder([e.length for e in encoded])


def does_not_fit(model: RewardModel, encoded: Encoded, error: MemoryError) -> ScoringError:
    """The error for a sample that does not fit in memory even alone."""
    return ScoringError(
        f"{model.spec}: {encoded.sample.place} does not fit in memory even alone "
        f"({encoded.length} tokens; {error}). Use a device with more memory or a smaller dtype, or "
        "limit the length of conversations."
    )
