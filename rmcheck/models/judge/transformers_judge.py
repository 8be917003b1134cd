"""Judges that transformers runs in this process: `hf:DIR` as the engine of a judge."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.models import checkpoint_settings as known
from rmcheck.models.causal_scorer import CausalScorer
from rmcheck.models.checkpoint_model import loaded
from rmcheck.models.judge.file import JudgeFile
from rmcheck.models.judge.local_judge import LocalJudge
from rmcheck.models.judge.read import Score, YesNo
from rmcheck.models.model import ConformanceItem
from rmcheck.models.spec import ModelSpec, Setting, check_device
from rmcheck.models.torch_sampler import TorchSampler


class TransformersJudge(LocalJudge):
    """`hf:DIR`: transformers, in this process."""

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.DEVICE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.ATTENTION,
    )

    def __init__(self, spec: ModelSpec, judge: JudgeFile) -> None:
        super().__init__(spec, judge)
        if isinstance(judge.read, Score) and self._set["attention"] != "auto":
            raise UsageError(f"{spec.text}: attention is for yes and no; remove attention=")
        check_device(spec.text, self._set["device"])
        self._scorer: CausalScorer | None = None
        self._sampler: TorchSampler | None = None

    @property
    def description(self) -> Mapping[str, str]:
        """Also the device, which is `auto` until loaded."""
        engine = self._scorer or self._sampler
        return {**super().description, "device": str(engine.device) if engine else "auto"}

    @property
    def _facts(self) -> dict[str, object]:
        return {"attention": self._set["attention"]}

    def _is_loaded(self) -> bool:
        return (self._scorer or self._sampler) is not None

    def _open(self, read: YesNo | Score) -> None:
        shared: dict[str, Any] = {"dtype": self._set["dtype"], "device": self._set["device"]}
        if isinstance(read, YesNo):
            attention = self._set["attention"]
            self._scorer = CausalScorer(self.checkpoint, attention=attention, **shared)
        else:
            ends = self.tokenizer.end_ids(self.checkpoint)
            self._sampler = TorchSampler(self.checkpoint, eos_ids=ends, **shared)

    def _next(self) -> CausalScorer:
        return loaded(self._scorer, self.spec)

    def _sampled(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], read: Score
    ) -> list[list[int]]:
        return loaded(self._sampler, self.spec).sample(
            rows, seeds, temperature=read.temperature, max_tokens=read.max_tokens
        )

    def _position(self) -> tuple[ConformanceItem, ...]:
        """Logits made at the last id only, against the model's own forward."""
        row = self.tokenizer.opening
        words = [*self._words[0], *self._words[1]]
        scorer = self._next()
        gap = np.abs(scorer.next_token([row], words)[0] - scorer.own_next_token(row, words)).max()
        detail = f"the last token; {gap:.2g} nats from the model's own forward"
        if gap <= self.tolerance:
            return (ConformanceItem("position", "pass", detail),)
        detail += (
            f" (allowed {self.tolerance:g}); its logits are not the output layer's alone, and "
            f"rmcheck cannot read this architecture ({self.checkpoint.architecture})"
        )
        return (ConformanceItem("position", "fail", detail),)

    def close(self) -> None:
        """Release weights and tokenizer."""
        for engine in (self._scorer, self._sampler):
            if engine is not None:
                engine.close()
        self._scorer = self._sampler = None
        super().close()
