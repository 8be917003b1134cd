"""What a sequence classification model must prove, whichever engine runs it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.kinds.checkpoint_model import ClassifierModel
from rmcheck.models.kinds.engine_session import TokensSession
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.ways import CheckpointProof
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import ConversationTokenizer


class ClassifierProof(CheckpointProof):
    """The checks, over one set of samples and the rewards they get one at a time."""

    _model: ClassifierModel

    def __init__(
        self,
        session: TokensSession[ClassifierModel, Any, ConversationTokenizer],
        encoded: Sequence[Encoded],
    ) -> None:
        model, self._scorer = session.model, session.scorer
        self._checkpoint = model.checkpoint
        super().__init__(model, session.tokenizer, [self._scorer], encoded)

    def checks(self) -> tuple[Callable[[], ConformanceItem | None], ...]:
        """In the order of the page; sharing before the batches that may use it."""
        return (
            self.head,
            self.precision,
            self.attention,
            self.template,
            self.response_kept,
            self.tokenizer_file,
            self.bos,
            self.eos,
            self.position,
            self.pad_eos,
            self.sharing,
            self.batch_invariance,
            self.activation,
            self.length,
            self.normalisation,
        )

    @abstractmethod
    def position(self) -> ConformanceItem:
        """The token at which the reward is read, against the one transformers reads."""

    @abstractmethod
    def activation(self) -> ConformanceItem:
        """Raw logits, not probabilities."""

    def head(self) -> ConformanceItem:
        """Loaded, not random; one logit, or named ones; in float32."""
        checkpoint, dtype = self._model.checkpoint, self._scorer.head_dtype
        one = "one logit" if len(checkpoint.labels) == 1 else f"{len(checkpoint.labels)} logits"
        reward = self._model.head.formula
        detail = f"read from the weights; {one}, the reward is {reward}; computed in {dtype}"
        return ConformanceItem("head", "pass" if dtype == "float32" else "note", detail)

    def precision(self) -> ConformanceItem:
        """Type, device and quantisation."""
        slow = self._model.dtype == "float16" and str(self._scorer.device) == "cpu"
        more = "; float16 on a CPU is slow and overflows at 65504" if slow else ""
        return self._precision(more)

    def response_kept(self) -> ConformanceItem:
        """Whether templates that rewrite turns (dropping a thinking part) changed a response."""
        changed = [s for s in self._samples if not s.cut and not self._holds_response(s)]
        if not changed:
            return ConformanceItem(
                "response_kept", "pass", "every response stands in its text as it is"
            )
        named = ", ".join(repr(s.sample.prompt_id) for s in changed[:3])
        return ConformanceItem(
            "response_kept",
            "note",
            f"{len(changed)} of {len(self._samples)} responses are not in their text word for word "
            f"(prompts {named}): the template or the tokenizer rewrites them",
        )

    def tokenizer_file(self) -> ConformanceItem:
        """Whether the tokenizer that transformers builds reads as tokenizer.json says."""
        differing = self._tokenizer.differing_from_file(
            self._model.checkpoint.text_path / "tokenizer.json", [s.sample for s in self._samples]
        )
        if differing is None:
            return ConformanceItem("tokenizer_file", "note", "not compared with tokenizer.json")
        if not differing:
            return ConformanceItem("tokenizer_file", "pass", "same ids as tokenizer.json gives")
        return ConformanceItem(
            "tokenizer_file",
            "note",
            f"{differing} of {len(self._samples)} texts get other ids than tokenizer.json gives: "
            f"transformers builds {self._tokenizer.class_name} for this model type. Engines "
            "that read tokenizer.json give other rewards",
        )

    def eos(self) -> ConformanceItem:
        """How the text ends, and how much the reward hangs on its EOS."""
        tokenizer = self._tokenizer
        eos, last = tokenizer.eos_id, self._samples[0].ids[-1]
        detail = f"the text ends with {tokenizer.text([last])!r} (id {last})"
        if eos is None or not self._scorer.reads_last_token:
            return ConformanceItem("eos", "note", detail)
        with_eos = [s.ids[-1] == eos for s in self._samples]
        toggled = self._without_last() if all(with_eos) else self._toggled(eos)
        change = np.abs(toggled - self._alone[: len(toggled)]).mean()
        name = tokenizer.text([eos])
        verb = "without" if all(with_eos) else "with" if not any(with_eos) else "toggling"
        return ConformanceItem(
            "eos",
            "note",
            f"{detail}; {sum(with_eos)} of {len(with_eos)} end with EOS {name!r}; "
            f"{verb} it rewards change by {change:.3g} on average (their spread is "
            f"{self._spread:.3g})",
        )

    def pad_eos(self) -> ConformanceItem:
        """Whether padding and EOS are one token, which hides the EOS from transformers."""
        pad, eos = self._scorer.pad_id, self._tokenizer.eos_id
        if pad is None or pad != eos:
            return ConformanceItem("pad_eos", "pass", f"padding id {pad}, EOS id {eos}")
        return ConformanceItem(
            "pad_eos",
            "note",
            f"padding and EOS are one token, {self._token(pad)}; transformers takes a closing EOS "
            "for padding and reads the reward before it (see position)",
        )

    def normalisation(self) -> ConformanceItem:
        """Whether training normalised rewards by a mean and a standard deviation."""
        config = self._model.checkpoint.config
        stated = {k: config[k] for k in ("mean", "std") if config.get(k) is not None}
        if not stated:
            return ConformanceItem("normalisation", "pass", "config.json states none")
        values = ", ".join(f"{key} {value}" for key, value in stated.items())
        return ConformanceItem(
            "normalisation",
            "note",
            f"training normalised rewards ({values}); these are raw, so compare ranks or "
            "standardise before comparing values",
        )

    def _undecided(self, detail: str) -> ConformanceItem:
        """Two tokens could be meant, and nothing says which."""
        return ConformanceItem(
            "position",
            "fail",
            f"{detail}. Say at which one the model was trained: position=last (OpenRLHF, vLLM) or "
            "position=transformers (trained with transformers or TRL)",
        )

    def _without_last(self) -> Floats:
        """(n,) rewards of the samples without their last token."""
        return self._rewards_alone([s.ids[:-1] or s.ids for s in self._samples])

    def _toggled(self, eos: int) -> Floats:
        """Rewards of the shorter half of the samples without their EOS, or with one."""
        some = self._samples[: (len(self._samples) + 1) // 2]
        rows = [(s.ids[:-1] or s.ids) if s.ids[-1] == eos else (*s.ids, eos) for s in some]
        return self._rewards_alone(rows)

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        rows, types = [s.ids for s in samples], [s.type_ids for s in samples]
        return list(self._scorer.rewards(rows, types, way, **how)[:, None])

    def _rewards_alone(self, rows: Sequence[Sequence[int]]) -> Floats:
        return np.concatenate([self._scorer.rewards([row]) for row in rows])

    def _flips(self, alone: Floats, together: Floats) -> str:
        flips = sum(
            (alone[i] - alone[j]) * (together[i] - together[j]) < 0
            for i, j in combinations(range(len(alone)), 2)
        )
        return f"; {flips} of {len(alone) * (len(alone) - 1) // 2} pairs flip"

    def _holds_response(self, encoded: Encoded) -> bool:
        words = "".join(encoded.sample.response.split())
        return words in "".join(self._tokenizer.text(encoded.ids).split())
