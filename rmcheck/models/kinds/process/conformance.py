"""What a process reward model must prove before its rewards count."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.kinds.process.scorer import ProcessScorer
from rmcheck.models.kinds.process.step_odds import StepOdds, odds
from rmcheck.models.kinds.process.tokenizer import TAG, ProcessTokenizer
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.conformance import LEAST_MASS, ProvableCheckpoint
from rmcheck.models.proof.vllm_ways import VllmWays
from rmcheck.models.proof.ways import CheckpointProof, TorchProof
from rmcheck.models.sample import Encoded


class ProcessProof(CheckpointProof):
    """The checks, over one set of samples and the log-odds of their steps one at a time."""

    cut_texts = "prompts"
    numbers = "log-odds"
    _tokenizer: ProcessTokenizer

    def __init__(
        self,
        model: ProvableCheckpoint,
        tokenizer: ProcessTokenizer,
        scorer: StepOdds,
        formula: str,
        encoded: Sequence[Encoded],
    ) -> None:
        self._scorer = scorer
        self._formula = formula
        super().__init__(model, tokenizer, [scorer], encoded)

    def checks(self) -> tuple[Callable[[], ConformanceItem | None], ...]:
        """In the order of the page."""
        return (
            self.reward,
            self.head,
            self.answers,
            self.precision,
            self.attention,
            self.template,
            self.bos,
            self.tag,
            self.tags,
            self.steps,
            self.own_forward,
            self.sharing,
            self.batch_invariance,
            self.length,
        )

    def reward(self) -> ConformanceItem:
        """The formula."""
        return ConformanceItem("reward", "note", self._formula)

    def head(self) -> ConformanceItem:
        """Loaded, not random; loading has refused what is not."""
        what = "labels" if self._scorer.checkpoint.kind == "head" else "output layer"
        return ConformanceItem("head", "pass", f"{what} read from the weights; float32")

    def answers(self) -> ConformanceItem:
        """Which two logits a step's log-odds are the difference of."""
        good, bad = self._scorer.answers
        if self._scorer.checkpoint.kind == "head":
            labels = self._scorer.checkpoint.labels
            detail = f"right step {labels[good]!r} ({good}), wrong step {labels[bad]!r} ({bad})"
        else:
            detail = f"right step {self._token(good)}, wrong step {self._token(bad)}"
        shortest = self._samples[0]
        mass = float(
            np.median(self._scorer.answer_mass(self._scorer.asked(shortest.ids, shortest.type_ids)))
        )
        detail += f"; together {mass:.2g} of the probability at a tag (median)"
        if mass >= LEAST_MASS:
            return ConformanceItem("answers", "pass", detail)
        return self._warned(
            "answers",
            f"{detail}. The model would rather say something else, and its log-odds may mean "
            "little; is it a process reward model, and are `tag`, `good` and `bad` its own?",
        )

    def tag(self) -> ConformanceItem:
        """The tokens of the tag; of several the last is read."""
        ids = self._tokenizer.tag_ids
        pieces = ", ".join(map(self._token, ids))
        if len(ids) == 1:
            return ConformanceItem("tag", "pass", f"one token, {pieces}")
        tag = self._tokenizer.tag
        return ConformanceItem(
            "tag", "note", f"{tag!r} is {len(ids)} tokens ({pieces}); read at the last"
        )

    def tags(self) -> ConformanceItem:
        """As many tags as steps, and at each of them one token."""
        read = [self._read_tokens(e) for e in self._samples]
        wanted = [len(self._tokenizer.steps(e.sample)) for e in self._samples]
        wrong = [i for i, tokens in enumerate(read) if len(tokens) != wanted[i]]
        if wrong:
            first = wrong[0]
            return ConformanceItem(
                "tags",
                "fail",
                f"prompt {self._samples[first].sample.prompt_id!r}: {len(read[first])} tags for "
                f"{wanted[first]} steps",
            )
        different = sorted({token for tokens in read for token in tokens})
        detail = f"{sum(wanted)} tags for as many steps, read at " + ", ".join(
            map(self._token, different[:4])
        )
        return ConformanceItem("tags", "pass" if len(different) == 1 else "fail", detail)

    def steps(self) -> ConformanceItem:
        """How many steps responses have, and the worst of one."""
        counts = [len(steps) for steps in self._parts]
        if max(counts) == 1:
            detail = "every response has one step: is `step` right?"
            return ConformanceItem("steps", "note", f"{detail} ({len(counts)} responses)")
        longest = int(np.argmax(counts))
        values = self._parts[longest]
        text = self._tokenizer.steps(self._samples[longest].sample)[int(values.argmin())]
        return ConformanceItem(
            "steps",
            "pass",
            f"{min(counts)} to {max(counts)} a response, log-odds from {self._alone.min():.3g} to "
            f"{self._alone.max():.3g}; the worst of {len(values)} is {text[:60]!r}",
        )

    @abstractmethod
    def own_forward(self) -> ConformanceItem | None:
        """Two logits made at the tags only, against the model's own forward."""

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        rows, marks = [s.ids for s in samples], [s.type_ids for s in samples]
        return self._scorer.log_odds(rows, marks, way, **how)

    def _check(self, numbers: Floats, samples: Sequence[Encoded]) -> None:
        if not np.isfinite(numbers).all():
            raise ScoringError(f"{self._model.spec}: log-odds of steps are NaN or infinite")

    def _read_tokens(self, encoded: Encoded) -> list[int]:
        marked = zip(encoded.ids, encoded.type_ids, strict=True)
        return [token for token, mark in marked if mark == TAG]


class TorchProcessProof(TorchProof, ProcessProof):
    """The same where torch runs the model."""

    _scorer: ProcessScorer

    def own_forward(self) -> ConformanceItem:
        """Two logits made at the tags only, against the model's own forward."""
        shortest = self._samples[0]
        own = odds(self._scorer.whole(self._scorer.asked(shortest.ids, shortest.type_ids)))
        gap = float(np.abs(own - self._parts[0]).max())
        detail = f"{gap:.2g} from the model's own forward"
        if gap <= self._tolerance:
            return ConformanceItem("logits", "pass", detail)
        return ConformanceItem(
            "logits",
            "fail",
            f"{detail} (allowed {self._tolerance:.2g}); more than its last layer makes its logits, "
            f"and rmcheck cannot read this architecture ({self._scorer.checkpoint.architecture})",
        )


class VllmProcessProof(VllmWays, ProcessProof):
    """The same where vLLM runs the model."""

    def sharing(self) -> ConformanceItem:
        """Beginnings from the cache for answer tokens; for labels each text is computed whole."""
        if self._scorer.checkpoint.kind == "head":
            detail = "off: vLLM gives no states of tokens that come from its cache"
            return ConformanceItem("prefix_cache", "note", detail)
        return super().sharing()
