"""Loaded judges in this process: the weights of a folder, and questions as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmcheck.models.engines.asked import Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.engines.token_probabilities import next_token
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.engines.vllm.sampler import VllmSampler
from rmcheck.models.engines.writing import Answer
from rmcheck.models.kinds.judge.engine import AnswersSession, JudgeSession, OddsSession, answer_seed
from rmcheck.models.kinds.judge.read import Odds, Written, YesNo
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.kinds.language_model import LanguageModel, Writer
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.conformance import tolerated
from rmcheck.models.sample import Encoded, Sample, TooLong, checked_ids


@dataclass(frozen=True)
class FolderSession(JudgeSession):
    """A folder's weights with its tokenizer.

    Attributes:
        model: The folder, and what its spec says of it.
        tokenizer: Makes the token ids of questions.
        weights: In memory.
    """

    model: LanguageModel
    tokenizer: JudgeTokenizer
    weights: CausalScorer | VllmGenerator | TorchSampler | VllmSampler

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `JudgeTokenizer.encode`.

        Raises:
            ScoringError: Also for ids that the model has no embedding for.
        """
        encoded = self.tokenizer.encode(samples, too_long)
        return checked_ids(encoded, self.model.checkpoint.vocabulary_size, self.model.spec)

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """Precision, the question as it is read, and who may write special tokens."""
        dtype, quantised = self.model.dtype, self.model.checkpoint.quantisation
        exact = dtype == "float32" and quantised == "none"
        precision = f"{dtype}, quantisation {quantised}; log-softmax in float32"
        item = ConformanceItem("precision", "pass" if exact else "note", precision)
        return (item, *self.tokenizer.items(samples[0]))


@dataclass(frozen=True)
class FolderOdds(FolderSession, OddsSession):
    """Weights that are asked for the next token.

    Attributes:
        read: The words of both sides.
        yes: Their tokens.
        no: Those of the other side.
    """

    weights: CausalScorer | VllmGenerator
    read: YesNo
    yes: list[int]
    no: list[int]

    @property
    def tolerance(self) -> float:
        """The tolerance of the weights' type."""
        return tolerated(self.model.dtype)

    @property
    def window(self) -> int | None:
        """None on vLLM, which has one way."""
        return self.weights.window if isinstance(self.weights, CausalScorer) else None

    def odds(self, batch: Sequence[Encoded], way: Way = "padded", **how: int) -> Replies[Odds]:
        """See `OddsSession.odds`; log-probabilities from float32 logits at the last id."""
        rows, words = [e.ids for e in batch], [*self.yes, *self.no]
        found = self.weights.next_token(rows, words, way, **how)
        middle = len(self.yes)
        yes, no = (np.logaddexp.reduce(x, axis=1) for x in (found[:, :middle], found[:, middle:]))
        return Replies({i: Odds(float(yes[i]), float(no[i])) for i in range(len(batch))})

    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        ranked = self.weights.likeliest([e.ids for e in batch], count)
        return [{self.tokenizer.text([token]): p for token, p in row} for row in ranked]

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """Also the words with their tokens, and the position at which torch reads them."""
        pairs = zip((*self.read.yes, *self.read.no), (*self.yes, *self.no), strict=True)
        detail = "one token each: " + ", ".join(f"{word!r} {token}" for word, token in pairs)
        words = ConformanceItem("words", "pass", detail)
        position = (self._position(self.weights),) if isinstance(self.weights, CausalScorer) else ()
        return (*super().items(samples), words, *position)

    def _position(self, scorer: CausalScorer) -> ConformanceItem:
        """Logits made at the last id only, against the model's own forward."""
        row = next_token(self.tokenizer.opening, [*self.yes, *self.no])
        gap = np.abs(scorer.numbers([row])[0] - scorer.whole(row)).max()
        detail = f"the last token; {gap:.2g} nats from the model's own forward"
        if gap <= self.tolerance:
            return ConformanceItem("position", "pass", detail)
        detail += (
            f" (allowed {self.tolerance:g}); its logits are not the output layer's alone, and "
            f"rmcheck cannot read this architecture ({self.model.checkpoint.architecture})"
        )
        return ConformanceItem("position", "fail", detail)


@dataclass(frozen=True)
class FolderAnswers(FolderSession, AnswersSession):
    """Weights that write.

    Attributes:
        read: How many answers, and how they are drawn.
    """

    weights: TorchSampler | VllmSampler
    read: Written

    @property
    def exact(self) -> bool:
        """Rounding that a batch's shape changes may change a sampled token."""
        return self.model.dtype == "float32"

    def answers(self, batch: Sequence[Encoded], numbers: Sequence[int]) -> Replies[Answer]:
        found = Writer(self.tokenizer, self.weights).answers(
            [one.ids for one in batch],
            [answer_seed(one.key, number) for one, number in zip(batch, numbers, strict=True)],
            temperature=self.read.temperature,
            max_tokens=self.read.max_tokens,
        )
        return Replies(dict(enumerate(found)))

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """Also whether answers are held to their schema."""
        if self.read.schema is None:
            return super().items(samples)
        if isinstance(self.weights, VllmSampler):
            schema = ConformanceItem("schema", "pass", "vLLM holds answers to the criteria's JSON")
        else:
            detail = "torch holds answers to no JSON schema; the prompt has to ask for the object"
            schema = ConformanceItem("schema", "note", detail)
        return (*super().items(samples), schema)
