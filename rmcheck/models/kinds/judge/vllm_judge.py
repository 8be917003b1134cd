"""Judges that vLLM runs in this process: `vllm:DIR` as the engine of a judge."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.vllm.engine import answering, running, share_of_memory, vllm_version
from rmcheck.models.engines.vllm.generation import MOST_TOKENS, VllmGenerator
from rmcheck.models.engines.vllm.logits import LogitsWatch
from rmcheck.models.kinds.judge.engine import Answer, Replies
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.local_judge import LocalJudge
from rmcheck.models.kinds.judge.read import Odds, Score, YesNo
from rmcheck.models.model import Encoded
from rmcheck.models.spec import ModelSpec, Setting

# vLLM raises smaller temperatures than this.
LEAST_TEMPERATURE = 0.01


class VllmJudge(LocalJudge):
    """`vllm:DIR`: vLLM, in this process. Loading one closes the vLLM model that is loaded."""

    scheme: ClassVar[str] = "vllm"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        known.GPU_MEMORY,
    )

    def __init__(self, spec: ModelSpec, judge: JudgeFile) -> None:
        super().__init__(spec, judge)
        self._memory = share_of_memory(spec, self._set["gpu_memory"])
        self._generator: VllmGenerator | None = None
        self._watch: LogitsWatch | None = None
        read = judge.read
        if isinstance(read, YesNo) and len(read.yes) + len(read.no) > MOST_TOKENS:
            raise UsageError(f"{spec.text}: vLLM shows at most {MOST_TOKENS} words")
        if isinstance(read, Score) and 0 < read.temperature < LEAST_TEMPERATURE:
            raise UsageError(
                f"{spec.text}: temperature is {read.temperature:g}; vLLM samples at 0 or at "
                f"{LEAST_TEMPERATURE} and more"
            )

    @property
    def description(self) -> Mapping[str, str]:
        """Also vLLM's version; no device, since vLLM makes its own batches."""
        return {**super().description, "vllm": vllm_version()}

    @property
    def _facts(self) -> dict[str, object]:
        return {"vllm": vllm_version()}

    def _is_loaded(self) -> bool:
        return self._generator is not None and self._generator.loaded

    def _open(self, read: YesNo | Score) -> None:
        self._generator = VllmGenerator(
            self.checkpoint, dtype=self._set["dtype"], max_length=self._limit, memory=self._memory
        )
        self._watch = LogitsWatch(self._generator)

    def odds(self, batch: Sequence[Encoded], read: YesNo) -> Replies[Odds]:
        """See `JudgeEngine.odds`.

        Raises:
            ScoringError: vLLM fails, which closes it.
        """
        with answering(self._next(), self.spec):
            return super().odds(batch, read)

    def answers(self, batch: Sequence[Encoded], read: Score) -> Replies[tuple[Answer, ...]]:
        """See `JudgeEngine.answers`.

        Raises:
            ScoringError: vLLM fails, which closes it, or logits are NaN or infinite.
        """
        with answering(self._next(), self.spec):
            found = super().answers(batch, read)
        if self._watch is not None and self._watch.strange():
            raise ScoringError(f"{self.spec}: logits are NaN or infinite; try dtype=float32")
        return found

    def _next(self) -> VllmGenerator:
        return running(self._generator, self.spec)

    def _sampled(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], read: Score
    ) -> list[list[int]]:
        return self._next().sample(
            rows,
            seeds,
            temperature=read.temperature,
            max_tokens=read.max_tokens,
            end_ids=self.tokenizer.end_ids(self.checkpoint),
        )

    def close(self) -> None:
        """Shut vLLM down and release the tokenizer."""
        if self._generator is not None:
            self._generator.close()
        self._generator = self._watch = None
        super().close()
