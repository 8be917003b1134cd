"""Judges that transformers runs in this process: `hf:DIR` as the engine of a judge."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.asked import Floats
from rmcheck.models.engines.token_probabilities import next_token
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.torch.sampler import TorchSampler
from rmcheck.models.kinds.checkpoint_model import loaded
from rmcheck.models.kinds.judge.engine import warned
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.local_judge import LocalJudge
from rmcheck.models.kinds.judge.read import Score, YesNo
from rmcheck.models.model import ConformanceItem, Encoded, EngineFacts
from rmcheck.models.proof.conformance import Proven, grafted, packed_agrees
from rmcheck.models.spec import ModelSpec, Setting, check_device
from rmcheck.models.workers import Workers


class TransformersJudge(LocalJudge):
    """`hf:DIR`: transformers, in this process."""

    scheme: ClassVar[str] = "hf"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.DEVICE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        known.ATTENTION,
        known.PREFIX,
    )

    def __init__(self, spec: ModelSpec, judge: JudgeFile) -> None:
        super().__init__(spec, judge)
        for name in ("attention", "prefix"):
            if isinstance(judge.read, Score) and self._set[name] != "auto":
                raise UsageError(f"{spec.text}: {name} is for yes and no; remove {name}=")
        self.shares_prefixes = self._set["prefix"] == "shared"
        check_device(spec.text, self._set["device"])
        self._scorer: CausalScorer | None = None
        self._sampler: TorchSampler | None = None

    @property
    def description(self) -> Mapping[str, str]:
        """Also the device, which is `auto` until loaded."""
        engine = self._scorer or self._sampler
        shared = {True: "shared", False: "off"}[self.shares_prefixes]
        prefix = self._set["prefix"] if engine is None else shared
        device = str(engine.device) if engine else "auto"
        return {**super().description, "device": device, "prefix": prefix}

    @property
    def facts(self) -> EngineFacts:
        """Those of what is loaded."""
        engine = self._scorer or self._sampler
        return engine.facts if engine else EngineFacts()

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

    def workers(self) -> Workers:
        """On a CPU a thread for each core, while memory allows; one where answers are written."""
        return self._scorer.workers() if self._scorer else Workers()

    def _next(self) -> CausalScorer:
        return loaded(self._scorer, self.spec)

    def _sampled(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], read: Score
    ) -> list[list[int]]:
        return loaded(self._sampler, self.spec).sample(
            rows, seeds, temperature=read.temperature, max_tokens=read.max_tokens
        )

    def sharing(self, samples: Sequence[Encoded], allowed: float) -> Proven:
        """See `JudgeEngine.sharing`; `prefix=off` and `prefix=shared` decide without it."""
        self.shares_prefixes = False
        if self._set["prefix"] == "off":
            off = ConformanceItem("shared_prefix", "pass", "off, as prefix=off says")
            return Proven((off,), False)
        rows = [*samples, *grafted(samples, self._next().window)]
        alone = np.concatenate([self._log_odds(self._probabilities([row])) for row in rows])
        agrees, said = packed_agrees(
            "log-odds",
            alone,
            lambda: self._log_odds(self._probabilities(rows, "packed", least=1)),
            len(rows),
            allowed,
        )
        if not agrees:
            return self._not_shared(said)
        self.shares_prefixes = True
        detail = f"what questions begin with is computed once a batch; {said}"
        return Proven((ConformanceItem("shared_prefix", "pass", detail),), True)

    def _not_shared(self, why: str) -> Proven:
        if self._set["prefix"] == "shared":
            said = f"prefix=shared, but {why}; use prefix=off"
            return Proven((ConformanceItem("shared_prefix", "fail", said),), False)
        said = f"every question is computed whole: {why}"
        return Proven((warned("shared_prefix", said),), False, said)

    def _log_odds(self, found: Floats) -> Floats:
        yes, no = self._sides(found)
        return yes - no

    def _position(self) -> tuple[ConformanceItem, ...]:
        """Logits made at the last id only, against the model's own forward."""
        row = self.tokenizer.opening
        words = [*self._words[0], *self._words[1]]
        scorer = self._next()
        own = scorer.whole(next_token(row, words))
        gap = np.abs(scorer.next_token([row], words) - own).max()
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
