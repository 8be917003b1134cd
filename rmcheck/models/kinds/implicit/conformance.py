"""What a policy and its reference must prove before their implicit rewards count."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.token_probabilities import response_tokens
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.model import TorchModel
from rmcheck.models.kinds.implicit.scorer import ImplicitScorer
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.conformance import ProvableCheckpoint, tolerated
from rmcheck.models.proof.vllm_ways import VllmWays
from rmcheck.models.proof.ways import CheckpointProof, TorchProof
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import ConversationTokenizer


class ImplicitProof(CheckpointProof):
    """The checks, over one set of samples and the rewards they get one at a time."""

    def __init__(
        self,
        model: ProvableCheckpoint,
        tokenizer: ConversationTokenizer,
        scorer: ImplicitScorer,
        formula: str,
        encoded: Sequence[Encoded],
    ) -> None:
        self._scorer = scorer
        self._formula = formula
        # A reward's unit is beta nats, so a share of that is what a small spread may move.
        super().__init__(model, tokenizer, scorer.models, encoded, unit=scorer.beta)

    def checks(self) -> tuple[Callable[[], ConformanceItem | None], ...]:
        """In the order of the page."""
        return (
            self.reward,
            self.lm_head,
            self.vocabulary,
            self.precision,
            self.attention,
            self.template,
            self.response_tokens,
            self.bos,
            self.eos,
            self.own_forward,
            self.sharing,
            self.batch_invariance,
            self.difference,
            self.length,
        )

    def reward(self) -> ConformanceItem:
        """The formula."""
        return ConformanceItem("reward", "note", self._formula)

    def lm_head(self) -> ConformanceItem:
        """Loaded or tied, not random; loading has refused what is not."""
        detail = "both read from the weights or tied to the embeddings; log-softmax in float32"
        return ConformanceItem("lm_head", "pass", detail)

    def vocabulary(self) -> ConformanceItem:
        """Policy and reference give probabilities to the same tokens."""
        policy, reference = (one.vocabulary_size for one in self._scorer.models)
        detail = f"same tokenizer entries; {policy} and {reference} probabilities a token"
        return ConformanceItem("vocabulary", "pass" if policy == reference else "fail", detail)

    def response_tokens(self) -> ConformanceItem:
        """Where responses begin and end, and whether more than the response counts."""
        first = self._samples[0]
        at = np.flatnonzero(first.type_ids)
        detail = (
            "every prompt's ids are the first of its conversation; that of prompt "
            f"{first.sample.prompt_id!r} is followed by the response, tokens {at[0]} to {at[-1]} "
            f"of {first.length}, {self._counted(first)[:80]!r}"
        )
        # Cut responses begin or end elsewhere.
        more = [s for s in self._samples if not s.cut and not self._begins_with_response(s)]
        if not more:
            return ConformanceItem("response_tokens", "pass", detail)
        return ConformanceItem(
            "response_tokens",
            "note",
            f"{detail}; in {len(more)} of {len(self._samples)} texts the template writes more "
            f"between its generation prompt and the response, or rewrites it, and that counts too "
            f"(prompt {more[0].sample.prompt_id!r}: {self._counted(more[0])[:40]!r})",
        )

    def eos(self) -> ConformanceItem:
        """How many responses end with an EOS, whose probability counts."""
        eos = self._tokenizer.eos_id
        ends = [s.ids[int(np.flatnonzero(s.type_ids)[-1])] == eos for s in self._samples]
        name = "none" if eos is None else repr(self._tokenizer.text([eos]))
        return ConformanceItem(
            "eos",
            "note",
            f"{sum(ends)} of {len(ends)} responses end with EOS ({name}), whose probability counts",
        )

    @abstractmethod
    def own_forward(self) -> ConformanceItem | None:
        """Logits made at response tokens only, against each model's own forward."""

    def difference(self) -> ConformanceItem:
        """Policy and reference are not the same model under two names."""
        low, high = self._alone.min(), self._alone.max()
        detail = f"rewards from {low:.3g} to {high:.3g}"
        if np.abs(self._alone).any():
            return ConformanceItem("difference", "pass", detail)
        return ConformanceItem(
            "difference", "fail", f"{detail}: policy and reference give the same probabilities"
        )

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        rows, marks = [s.ids for s in samples], [s.type_ids for s in samples]
        return list(self._scorer.rewards(rows, marks, way, **how)[:, None])

    def _counted(self, sample: Encoded) -> str:
        marked = zip(sample.ids, sample.type_ids, strict=True)
        return self._tokenizer.text([token for token, mark in marked if mark])

    def _begins_with_response(self, sample: Encoded) -> bool:
        counted = "".join(self._counted(sample).split())
        return counted.startswith("".join(sample.sample.response.split()))


class TorchImplicitProof(TorchProof, ImplicitProof):
    """The same where torch runs both models."""

    _engines: Sequence[CausalScorer]

    def own_forward(self) -> ConformanceItem:
        """Logits made at response tokens only, against each model's own forward."""
        shortest = self._samples[0]
        row = response_tokens(shortest.ids, shortest.type_ids)
        gaps = [
            abs(float(one.whole(row).sum() - one.numbers([row])[0].sum())) for one in self._engines
        ]
        share = tolerated(self._model.dtype)
        detail = f"{max(gaps):.2g} nats from the models' own forward"
        if max(gaps) <= share:
            return ConformanceItem("log_probabilities", "pass", detail)
        named = self._engines[int(np.argmax(gaps))].checkpoint.architecture
        return ConformanceItem(
            "log_probabilities",
            "fail",
            f"{detail} (allowed {share:g}); its logits are not the output layer's alone, and "
            f"rmcheck cannot read this architecture ({named})",
        )

    def _of_attention(self, engine: TorchModel) -> str:
        return f"{engine.checkpoint.path}"


class VllmImplicitProof(VllmWays, ImplicitProof):
    """The same where vLLM runs both models."""

    def sharing(self) -> ConformanceItem:
        """Not by vLLM, whose cache has no probabilities of a prompt's tokens."""
        detail = "off: vLLM computes a text whole where it reads its tokens' probabilities"
        return ConformanceItem("prefix_cache", "note", detail)
