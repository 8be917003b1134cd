"""What judges in this process have in common, whichever engine runs them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.settings import chosen_dtype
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.kinds.checkpoint_model import loaded
from rmcheck.models.kinds.judge.engine import Answer, JudgeEngine, Replies, answer_seed
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.read import Odds, Score, YesNo
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.model import ConformanceItem, Encoded, Sample, TooLong, named_prompts
from rmcheck.models.proof.conformance import tolerated
from rmcheck.models.spec import ModelSpec, check_settings
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)


class LanguageModel(Protocol):
    """What a judge asks of a loaded model."""

    def next_token(
        self,
        rows: Sequence[Sequence[int]],
        tokens: Sequence[int],
        way: Way = "padded",
        **how: int,
    ) -> Floats:
        """(len(rows), len(tokens)) log-probabilities in nats."""
        ...

    def likeliest(self, rows: Sequence[Sequence[int]], count: int) -> list[list[tuple[int, float]]]:
        """The likeliest tokens after each row, likeliest first."""
        ...


class LocalJudge(JudgeEngine):
    """A checkpoint folder of a causal language model, with its own chat template.

    Args:
        spec: Where the folder is, and settings that differ from the defaults.
        judge: What is asked and how the answer is read.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: A setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter; or there is no tokenizer.
        ConformanceError: It is no causal language model, or has no chat template.
    """

    def __init__(self, spec: ModelSpec, judge: JudgeFile) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        self._judge = judge
        self.checkpoint = CausalCheckpoint(spec.path)
        self.checkpoint.check()
        self._set["dtype"] = chosen_dtype(self._set, self.checkpoint)
        if self._set["template"] == "pair":
            raise UsageError(f"{spec.text}: a judge needs a chat template; template is a file")
        self._template = chosen_template(
            spec, self.checkpoint, self._set["template"], "keep", self._set["date"]
        )
        self._limit = token_limit(spec, self.checkpoint, self._set["max_length"])
        self.tolerance = tolerated(self._set["dtype"])
        # Rounding that a batch's shape changes may change a sampled token.
        self.exact = self._set["dtype"] == "float32"
        self._tokenizer: JudgeTokenizer | None = None
        self._words: tuple[list[int], list[int]] = ([], [])

    @property
    def name(self) -> str:
        """The last two parts of the path, as in `judge-7b/final`."""
        return self.checkpoint.short_name

    @property
    def fingerprint(self) -> str:
        """Weights, tokenizer, chat template, type, engine and its version."""
        facts: dict[str, object] = {
            "scheme": f"judge:{self.scheme}",
            "max_length": self._limit,
            **self._template.facts,
            "dtype": self._set["dtype"],
            "transformers": installed_version("transformers"),
            **self._facts,
        }
        return self.checkpoint.fingerprint(facts, self.checkpoint.generation_files)

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, path, conventions, versions."""
        return {
            "engine": self.scheme,
            "architecture": self.checkpoint.architecture,
            "path": str(self.checkpoint.path),
            "dtype": self._set["dtype"],
            "quantisation": self.checkpoint.quantisation,
            "chat template": self._template.described(self._set["template"]),
            "max_length": str(self._limit or "no limit"),
            "transformers": installed_version("transformers"),
        }

    @property
    def tokenizer(self) -> JudgeTokenizer:
        """The loaded tokenizer."""
        return loaded(self._tokenizer, self.spec)

    def load(self) -> None:
        """See `JudgeEngine.load`."""
        if self._is_loaded():
            return
        read = self._judge.read
        self._tokenizer = JudgeTokenizer(
            load_tokenizer(self.checkpoint),
            chat_template=self._template,
            question=self._judge.question,
            system=self._judge.system,
            max_length=self._limit,
            room=read.max_tokens if isinstance(read, Score) else 1,
        )
        if isinstance(read, YesNo):
            self._words = self.tokenizer.words(read)
        self._open(read)

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """See `JudgeTokenizer.encode`.

        Raises:
            ScoringError: Also for ids that the model has no embedding for.
        """
        encoded = self.tokenizer.encode(samples, too_long)
        size = self.checkpoint.vocabulary_size
        outside = [e.sample for e in encoded if size is not None and max(e.ids) >= size]
        if outside:
            raise ScoringError(
                f"{self.spec}: the tokenizer gives ids that the model has no embedding for (it has "
                f"{size}); prompts {named_prompts(outside)}"
            )
        return encoded

    def odds(self, batch: Sequence[Encoded], read: YesNo) -> Replies[Odds]:
        """See `JudgeEngine.odds`; log-probabilities from float32 logits at the last id."""
        found = self._probabilities(batch, "packed" if self.shares_prefixes else "padded")
        pairs = zip(*self._sides(found), strict=True)
        return Replies({i: Odds(float(yes), float(no)) for i, (yes, no) in enumerate(pairs)})

    def answers(self, batch: Sequence[Encoded], read: Score) -> Replies[tuple[Answer, ...]]:
        """See `JudgeEngine.answers`."""
        rows = [e.ids for e in batch for _ in range(read.samples)]
        seeds = [answer_seed(e.key, i) for e in batch for i in range(read.samples)]
        found = [
            Answer(self.tokenizer.plain_text(ids), len(ids) >= read.max_tokens)
            for ids in self._sampled(rows, seeds, read)
        ]
        n = read.samples
        return Replies({i: tuple(found[i * n : (i + 1) * n]) for i in range(len(batch))})

    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        """See `JudgeEngine.likeliest`."""
        ranked = self._next().likeliest([e.ids for e in batch], count)
        return [{self.tokenizer.text([token]): p for token, p in row} for row in ranked]

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """Precision, the question as it is read, and the words."""
        return (self._precision(), self._question(samples[0]), self._specials(), *self._worded())

    def close(self) -> None:
        """See `JudgeEngine.close`."""
        self._tokenizer = None

    @property
    @abstractmethod
    def _facts(self) -> dict[str, object]:
        """What else changes answers."""

    @abstractmethod
    def _is_loaded(self) -> bool: ...

    @abstractmethod
    def _open(self, read: YesNo | Score) -> None:
        """Read the weights."""

    @abstractmethod
    def _next(self) -> LanguageModel: ...

    def _probabilities(self, batch: Sequence[Encoded], way: Way = "padded", **how: int) -> Floats:
        """(len(batch), words) log-probabilities of the words of both sides."""
        rows, words = [e.ids for e in batch], [*self._words[0], *self._words[1]]
        return self._next().next_token(rows, words, way, **how)

    @abstractmethod
    def _sampled(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], read: Score
    ) -> list[list[int]]: ...

    def _sides(self, found: Floats) -> tuple[Floats, ...]:
        """(len(rows),) log-sums of the words on each side."""
        middle = len(self._words[0])
        sides = found[:, :middle], found[:, middle:]
        return tuple(np.asarray(np.logaddexp.reduce(side, axis=1)) for side in sides)

    def _precision(self) -> ConformanceItem:
        dtype, quantised = self._set["dtype"], self.checkpoint.quantisation
        exact = dtype == "float32" and quantised == "none"
        detail = f"{dtype}, quantisation {quantised}; log-softmax in float32"
        return ConformanceItem("precision", "pass" if exact else "note", detail)

    def _question(self, sample: Encoded) -> ConformanceItem:
        text = self.tokenizer.text(sample.ids)
        detail = f"begins {text[:60]!r}, and the answer follows {text[-60:]!r}"
        if self.tokenizer.opens_answer:
            return ConformanceItem("question", "pass", detail)
        return ConformanceItem(
            "question",
            "note",
            f"{detail}; the chat template writes nothing where add_generation_prompt is true",
        )

    def _specials(self) -> ConformanceItem:
        return ConformanceItem(
            "special_tokens",
            "pass",
            "those of the chat template only; where a prompt or response spells one, its letters "
            "are read",
        )

    def _worded(self) -> tuple[ConformanceItem, ...]:
        read = self._judge.read
        if not isinstance(read, YesNo):
            return ()
        ids = zip((*read.yes, *read.no), (*self._words[0], *self._words[1]), strict=True)
        detail = "one token each: " + ", ".join(f"{word!r} {token}" for word, token in ids)
        return (ConformanceItem("words", "pass", detail), *self._position())

    def _position(self) -> tuple[ConformanceItem, ...]:
        return ()
