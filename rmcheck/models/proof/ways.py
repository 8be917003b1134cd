"""One proof for all kinds: the ways to compute a row agree, alone and in company."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rmcheck.models.engines.asked import Floats
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.compared import TokensProof
from rmcheck.models.proof.conformance import ProvableCheckpoint, Status, tolerated
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import ConversationTokenizer

if TYPE_CHECKING:
    from rmcheck.models.engines.torch.model import TorchModel


class CheckpointProof(TokensProof):
    """The checks that models in this process share, over the numbers of samples one at a time.

    A subclass reads what is compared (`_read`) and lists its checks.

    Args:
        engines: The weights: one model, or those whose numbers make one reward.
    """

    _model: ProvableCheckpoint

    def __init__(
        self,
        model: ProvableCheckpoint,
        tokenizer: ConversationTokenizer,
        engines: Sequence[Any],
        encoded: Sequence[Encoded],
        unit: float = 1.0,
    ) -> None:
        self._engines = engines
        self._model, self._prefix, share = model, model.prefix, tolerated(model.dtype)
        super().__init__(
            model.spec, model.template_source, tokenizer, encoded, share=share, unit=unit
        )

    def attention(self) -> ConformanceItem | None:
        """Which attention runs, where the engine says so."""
        return None

    def precision(self) -> ConformanceItem:
        """Type, that of the weights as stored, device and quantisation."""
        return self._precision()

    def _compared(self, alone: Floats, together: Floats, count: int) -> tuple[Status, str]:
        status, detail = super()._compared(alone, together, count)
        return status, f"{detail}{self._flips(alone, together)}"

    def _batch(self) -> slice:
        """The shortest and the longest, where padding is largest, for few tokens."""
        return slice(0, None, max(1, len(self._samples) - 1))

    def _flips(self, alone: Floats, together: Floats) -> str:
        return ""

    def _precision(self, more: str = "") -> ConformanceItem:
        checkpoints = [engine.checkpoint for engine in self._engines]
        dtype = self._model.dtype
        stored, quantised = ([c.dtype for c in checkpoints], [c.quantisation for c in checkpoints])
        detail = (
            f"{dtype} on {self._engines[0].device}, weights stored as {', '.join(stored)}, "
            f"quantisation {', '.join(quantised)}{more}"
        )
        exact = dtype == "float32" and set(quantised) == {"none"}
        return ConformanceItem("precision", "pass" if exact else "note", detail)


class TorchProof(CheckpointProof):
    """The checks of models that torch runs: padded rows, packed rows, and the kernel of both."""

    # Whose attention it is, for a message.
    of_attention: ClassVar[str] = "the model"
    once = "a prompt is computed once for all of its responses"
    whole = "prompts are not shared, every response is computed with its whole prompt"
    unshared = "off: the model reads a text in both directions"
    _engines: Sequence["TorchModel"]

    def attention(self) -> ConformanceItem:
        """Which attention runs, and whether it drops soft-capping."""
        for engine in self._engines:
            if engine.checkpoint.soft_caps_attention and engine.attention != "eager":
                return ConformanceItem(
                    "attention",
                    "fail",
                    f"{self._of_attention(engine)} soft-caps attention and {engine.attention} "
                    "leaves that out; use attention=eager",
                )
        used = ", ".join(engine.attention + engine.rope.note for engine in self._engines)
        return ConformanceItem("attention", "pass", used)

    @property
    def _window(self) -> int | None:
        decoders = all(engine.is_decoder for engine in self._engines)
        return max(engine.window for engine in self._engines) if decoders else None

    def _batch(self) -> slice:
        """Where prompts are shared all were in one packed row, and none is padded later."""
        if self._shares_prefixes:
            return slice(0, max(2, len(self._samples) // 2))
        return super()._batch()

    def _of_attention(self, engine: "TorchModel") -> str:
        return self.of_attention
