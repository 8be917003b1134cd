"""vLLM where it runs, in a process of its own: token ids in, numbers out."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.engines.asked import Floats
from rmcheck.models.engines.vllm import loader
from rmcheck.models.libraries import brief

# Without a stated share vLLM takes nine tenths of a CPU machine's memory for its key-value cache.
_CPU_CACHE_BYTES = 1 << 30

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class VllmFacts:
    """What vLLM says of a model that it has loaded.

    Attributes:
        device: Kind of what it runs on, as torch names it.
        block_size: Tokens of the smallest beginning that rows can share.
        max_length: Most tokens of a row.
        keeps_cache: Whether vLLM shares beginnings for this architecture.
        vocabulary_size: Tokens that have a probability.
        head_dtype: Type in which the head is computed.
        pad_id: Id of the padding token, if there is one.
        pooling: Where the reward is read: `LAST` (last token), `CLS` or `MEAN`; empty for language
            models.
    """

    device: str
    block_size: int
    max_length: int
    keeps_cache: bool
    vocabulary_size: int
    head_dtype: str
    pad_id: int | None
    pooling: str


@dataclass(frozen=True)
class Generated:
    """What vLLM answers to a row.

    Attributes:
        ids: The tokens that follow it.
        first: Log-probability (nats) of tokens in the place of the first; empty unless asked for.
        prompt: (len(row) - 1,) of the row's own tokens but the first; empty unless asked for.
        cached: Tokens of the row that came from the cache.
    """

    ids: list[int]
    first: dict[int, float]
    prompt: Floats
    cached: int


class ServedVllm:
    """A `vllm.LLM` on token ids. Nothing is cut, and answers are in the order of the rows.

    Args:
        folder: In transformers' layout.
        body: Whether tensors of a head are left unread.
        watched: Whether `not_finite` will be asked.
        options: What `vllm.LLM` is told.

    Raises:
        ConformanceError: Some of the model's weights are not in the folder.
    """

    def __init__(
        self, *, folder: str, body: bool, watched: bool, options: Mapping[str, Any]
    ) -> None:
        logging.disable(logging.WARNING)
        import vllm
        from vllm.platforms import current_platform

        chosen = dict(options)
        if current_platform.is_cpu() and "gpu_memory_utilization" not in chosen:
            chosen["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
        loader.register()
        self._llm = vllm.LLM(
            model=folder,
            load_format=loader.BODY_FORMAT if body else loader.LOAD_FORMAT,
            worker_extension_cls="rmcheck.models.engines.vllm.extension.WorkerExtension",
            enforce_eager=True,
            disable_log_stats=True,
            use_tqdm_on_load=False,
            **chosen,
        )
        if watched:
            self._llm.collective_rpc("watch_logits")

    def facts(self) -> VllmFacts:
        """What is known once it is loaded."""
        config = self._llm.llm_engine.vllm_config
        model, pooler = config.model_config, config.model_config.pooler_config
        return VllmFacts(
            device=str(config.device_config.device).partition(":")[0],
            block_size=int(config.cache_config.block_size),
            max_length=int(model.max_model_len),
            keeps_cache=bool(config.cache_config.enable_prefix_caching),
            vocabulary_size=int(model.get_vocab_size()),
            head_dtype=str(model.head_dtype).removeprefix("torch."),
            pad_id=model.hf_text_config.pad_token_id,
            pooling=str(pooler.seq_pooling_type) if pooler else "",
        )

    def encode(
        self, rows: Rows, task: str, params: Sequence[Mapping[str, Any]]
    ) -> tuple[list[NDArray[np.float32]], int]:
        """What the pooler of a task gives for each row, and how many tokens came from the cache.

        Args:
            rows: Token ids, none empty.
            task: `classify` or `token_embed`.
            params: Arguments of `vllm.PoolingParams` for each row. Of `token_embed`, `at` are the
                positions that are wanted.

        Raises:
            ScoringError: vLLM answered to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        from vllm import PoolingParams

        positions = [one.get("at") for one in params]
        with _memory_errors():
            outputs = self._llm.encode(
                [{"prompt_token_ids": list(row)} for row in rows],
                pooling_params=[
                    PoolingParams(**{k: v for k, v in one.items() if k != "at"}) for one in params
                ],
                pooling_task=task,
                use_tqdm=False,
            )
        check_answers(rows, outputs)
        cached = sum(output.num_cached_tokens or 0 for output in outputs)
        found = [output.outputs.data.float().numpy() for output in outputs]
        if task == "token_embed" and list(map(len, found)) != list(map(len, rows)):
            raise ScoringError("vLLM gave no states of some tokens")
        wanted = zip(found, positions, strict=True)
        return [one if at is None else one[list(at)] for one, at in wanted], cached

    def generate(self, rows: Rows, params: Sequence[Mapping[str, Any]]) -> list[Generated]:
        """What follows each row.

        Args:
            rows: Token ids, none empty.
            params: Arguments of `vllm.SamplingParams` for each row; `schema` is a JSON schema that
                the answer is held to.

        Raises:
            ScoringError: vLLM answered to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        with _memory_errors():
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(row)} for row in rows],
                sampling_params=[_sampling(**one) for one in params],
                use_tqdm=False,
            )
        check_answers(rows, outputs)
        return [_generated(output) for output in outputs]

    def not_finite(self) -> bool:
        """Whether any logits since the last call were NaN or infinite."""
        return any(self._llm.collective_rpc("logits_not_finite"))

    def close(self) -> None:
        """End the processes that vLLM has started for further devices, and what they shared."""
        if self._llm.llm_engine.vllm_config.parallel_config.world_size > 1:
            self._llm.llm_engine.engine_core.shutdown()

    def forget(self) -> None:
        """Empty the prefix cache."""
        self._llm.reset_prefix_cache()


def check_answers(rows: Rows, outputs: Sequence[Any]) -> None:
    """Whether vLLM answered to these rows.

    Raises:
        ScoringError: It did not: a request of an earlier call was still in it.
    """
    if [list(output.prompt_token_ids) for output in outputs] != [list(row) for row in rows]:
        raise ScoringError(f"vLLM was given {len(rows)} rows and answered to others")


def _sampling(schema: Mapping[str, Any] | None = None, **named: Any) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    held = StructuredOutputsParams(json=dict(schema)) if schema else None
    return SamplingParams(detokenize=False, structured_outputs=held, **named)


def _generated(output: Any) -> Generated:
    (one,) = output.outputs
    first = one.logprobs[0] if one.logprobs else {}
    prompt = output.prompt_logprobs or []
    own = zip(output.prompt_token_ids[1:], prompt[1:], strict=True) if prompt else ()
    return Generated(
        list(one.token_ids),
        {token: found.logprob for token, found in first.items()},
        np.array([found[token].logprob for token, found in own]),
        output.num_cached_tokens or 0,
    )


@contextmanager
def _memory_errors() -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(brief(error)) from error
