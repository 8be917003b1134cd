"""Policies that vLLM runs in this process: `vllm:DIR`."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from rmcheck.errors import ModelError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.vllm.engine import running, share_of_memory, vllm_version
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.engines.vllm.logits import LogitsWatch
from rmcheck.models.libraries import brief
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.text.checkpoint_tokenizer import token_limit
from rmcheck.policies.checkpoint_policy import CheckpointPolicy
from rmcheck.policies.policy import Decoding
from rmcheck.pool.pool import Prompt

# vLLM raises a temperature below this one to it, with a warning that nobody reads.
_LEAST_TEMPERATURE = 0.01


class VllmPolicy(CheckpointPolicy):
    """A folder in transformers' layout whose responses vLLM samples.

    Same checks, template, token ids and end tokens as `hf:`, another engine and another stream of
    random numbers: the distribution is the same, the texts are not. vLLM reads a prompt once for
    all its responses. In float32 a response is the same in every batch; in bfloat16 and float16
    rounding differs between batches, so that a text may part from its twin.

    vLLM is imported by `load`, which closes the vLLM engine that is loaded, if any.
    """

    scheme: ClassVar[str] = "vllm"
    settings: ClassVar[tuple[Setting, ...]] = (
        known.DTYPE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        Setting("batch", ("N",), "256"),
        known.GPU_MEMORY,
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        stated = self._set["max_length"]
        self._limit = token_limit(spec, self.checkpoint, stated) if stated else None
        self._memory = share_of_memory(spec, self._set["gpu_memory"])
        self._generator: VllmGenerator | None = None
        self._watch: LogitsWatch | None = None

    @property
    def positions(self) -> int | None:
        """Most tokens that the loaded engine takes."""
        return self.generator.max_length

    @property
    def generator(self) -> VllmGenerator:
        """The loaded engine."""
        return running(self._generator, self.spec)

    def load(self) -> None:
        """Read tokenizer and weights. Does nothing when they are loaded.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ModelError: vLLM cannot load the folder, or not in the memory that there is.
            ConformanceError: Some of the model's weights are not in the folder.
        """
        if self._generator is not None and self._generator.loaded:
            return
        self._generator = VllmGenerator(
            self.checkpoint, dtype=self._set["dtype"], max_length=self._limit, memory=self._memory
        )
        self._watch = LogitsWatch(self._generator)
        self._tokenizer = self._load_tokenizer()

    def check(self, prompts: Sequence[Prompt], decoding: Decoding) -> None:
        """Refuse what vLLM would change: long prompts, and temperatures near 0.

        Raises:
            UsageError: The temperature is below 0.01, or some prompts are too long; the longest
                are named.
            ScoringError: The chat template refuses a prompt.
        """
        _check_temperature(decoding)
        super().check(prompts, decoding)

    def close(self) -> None:
        """Release weights and tokenizer; the policy can be loaded again."""
        if self._generator is not None:
            self._generator.close()
        self._generator = self._watch = None
        super().close()

    def _answers(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> Iterator[list[int]]:
        _check_temperature(decoding)
        end_ids = self._end_ids(self.tokenizer)
        params = [_sampling_params(seed, decoding, sorted(end_ids)) for seed in seeds]
        outputs = self._outputs(rows, params)
        if self._watch is not None and self._watch.strange():
            raise ModelError(f"{self.name}: logits are NaN or infinite; try dtype=float32")
        for output in outputs:
            (answer,) = output.outputs
            ids = list(answer.token_ids)
            yield ids[:-1] if ids and ids[-1] in end_ids else ids

    def _outputs(self, rows: Sequence[Sequence[int]], params: Sequence[Any]) -> list[Any]:
        """What vLLM answers; an engine that failed is closed, for its requests are still in it."""
        generator = self.generator
        try:
            return generator.generate(rows, params)
        except BaseException as error:
            self.close()
            # What an engine raises is any error of vLLM, torch or a kernel.
            if isinstance(error, ModelError) or not isinstance(error, Exception):
                raise
            raise ModelError(f"{self.spec}: vLLM cannot answer. {brief(error)}") from error

    def _engine_facts(self) -> dict[str, str]:
        return {"scheme": "policy:vllm", "vllm": vllm_version()}


def _check_temperature(decoding: Decoding) -> None:
    if decoding.temperature < _LEAST_TEMPERATURE:
        raise UsageError(
            f"temperature is {decoding.temperature}; vLLM samples at {_LEAST_TEMPERATURE} and more"
        )


def _sampling_params(seed: int, decoding: Decoding, end_ids: list[int]) -> Any:
    """Everything that vLLM would else take from the folder or its own defaults is stated."""
    from vllm import SamplingParams

    return SamplingParams(
        n=1,
        # vLLM's seeds are signed, and -1 means none.
        seed=seed >> 1,
        temperature=decoding.temperature,
        max_tokens=decoding.max_tokens,
        top_p=1.0,
        top_k=-1,
        min_p=0.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        # The end tokens are rmcheck's; vLLM has a list of its own.
        ignore_eos=True,
        stop_token_ids=end_ids,
        detokenize=False,
    )
