"""The engine that scores in this process, block by block."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.model import Proven, ReadyModel, RewardModel, Session
from rmcheck.models.proof.conformance import spread_of_lengths
from rmcheck.models.sample import Encoded, TooLong
from rmcheck.pool.asked import columns_key
from rmcheck.scoring.batches import default_budget
from rmcheck.scoring.engine import Engine, Missing
from rmcheck.scoring.forward import Forward, Text, does_not_fit, rows_of
from rmcheck.scoring.progress import Progress, progress_of, tell_loading
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import golden_key
from rmcheck.store.parts import CutSide
from rmcheck.store.scores import ModelScores, Store


class OneProcess(Engine):
    """Scores in this process; a model that stays loaded is proved anew on more texts only."""

    _proven: Proven | None = None

    def score(
        self,
        model: RewardModel,
        missing: Missing,
        store: Store,
        *,
        budget: int | None,
        progress: TextIO | None,
    ) -> ScoringReport:
        if not self.holds(model):
            self._proven = None
            if type(model).load is not ReadyModel.load:
                tell_loading(model.spec, sum(map(len, missing.values())))
        session = self.session(model)
        scores = store.open(model.fingerprint)
        scorer = BlockScorer(
            session, scores, budget=budget, durable=store.durable, proven=self._proven
        )
        texts = scorer.encoded(missing)
        groups = scorer.without_stored_inputs(texts)
        total = sum(group[0].encoded.length for group in groups)
        with progress_of(model.spec, len(groups), total, progress) as bar:
            scorer.prove(groups)
            report = scorer.forward(groups, bar).run()
        self._proven = scorer.proven
        scores.compact()
        # Two modes that both leave a text whole want one score.
        wanted = sum(map(len, missing.values()))
        return replace(
            report, duplicates=wanted - len(texts), equal_inputs=len(texts) - len(groups)
        )


class BlockScorer:
    """A loaded model that scores texts block by block, once it has proved itself."""

    def __init__(
        self,
        session: Session,
        scores: ModelScores,
        *,
        budget: int | None,
        durable: bool,
        proven: Proven | None = None,
    ) -> None:
        self._session = session
        self._scores = scores
        self._budget = budget
        self._durable = durable
        self.proven = proven

    def encoded(self, missing: Missing) -> list[Text]:
        """All that is missing, as the model reads it; nothing has been scored when this raises.

        Raises:
            ScoringError: A conversation is too long.
        """
        model = self._session.model
        texts: dict[tuple[bytes, CutSide], Text] = {}
        for too_long, wanted in missing.items():
            encoded = self._session.encode(list(wanted.values()), too_long)
            if len(encoded) != len(wanted):
                raise ScoringError(
                    f"{model.spec}: {len(wanted)} samples, but {len(encoded)} encoded"
                )
            for key, item in zip(wanted, encoded, strict=True):
                text = _text(model, key, item, too_long)
                texts[key, text.side] = text
        return list(texts.values())

    def without_stored_inputs(self, texts: Sequence[Text]) -> list[list[Text]]:
        """Texts in groups of equal model input; those that have a score are stored and left out."""
        scores = self._scores
        stored = scores.lookup_inputs([text.input_key for text in texts])
        known = np.flatnonzero(~np.isnan(stored)).tolist()
        if known:
            scores.append(rows_of([texts[i] for i in known], stored[known]), scores.provenance)
        groups: dict[bytes, list[Text]] = {}
        for i in np.flatnonzero(np.isnan(stored)).tolist():
            groups.setdefault(texts[i].input_key, []).append(texts[i])
        return list(groups.values())

    def prove(self, groups: Sequence[Sequence[Text]]) -> None:
        """Let the model prove itself, where it has not on so many, on texts of different lengths.

        Fewer where they do not fit in one batch; nothing where there is nothing to score.

        Raises:
            ConformanceError: The model failed its proof.
            ScoringError: One sample alone does not fit, or a reward is NaN or infinite.
        """
        chosen = spread_of_lengths([group[0].encoded for group in groups])
        while len(chosen) > (self.proven.samples if self.proven else 0):
            try:
                self.proven = replace(self._session.prove(chosen), samples=len(chosen))
            except MemoryError as error:
                if len(chosen) == 1:
                    raise does_not_fit(self._session.model, chosen[0], error) from error
                chosen = chosen[: len(chosen) // 2]

    def forward(self, groups: Sequence[Sequence[Text]], bar: Progress) -> Forward:
        """What scores one text of each group, in batches."""
        proven, facts = self.proven or Proven(), self._session.facts
        packed = proven.shares_prefixes
        budget = self._budget or default_budget(facts, durable=self._durable, packed=packed)
        return Forward(self._session, proven, groups, self._scores, budget, bar)


def _text(model: RewardModel, key: bytes, item: Encoded, too_long: TooLong) -> Text:
    if item.cut and too_long == "error":
        raise ScoringError(
            f"{model.spec}: {item.sample.place} was truncated by {item.cut} tokens, and too_long "
            "is error"
        )
    input_key = item.key
    if model.reads_golden:
        input_key = golden_key(input_key, item.sample.golden)
    if model.asked:
        input_key = columns_key(input_key, item.sample.columns)
    side: CutSide = too_long if item.cut and too_long != "error" else ""
    return Text(key, item, input_key, side)
