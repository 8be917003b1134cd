"""torch and transformers as an engine: their import, noise, errors, devices and memory."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from rmcheck.errors import MissingDependencyError, UsageError
from rmcheck.models.cpu import release_freed_memory

if TYPE_CHECKING:
    from torch import device as Device


def engine() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        MissingDependencyError: One of them is not installed; says the pip command.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"models in checkpoint folders need torch and transformers ({error}). "
            'Install them with: pip install "rmcheck[hf]"'
        ) from error
    return torch, transformers


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no tables on the terminal: what they would say is checked instead."""
    _, transformers = engine()
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def brief(error: BaseException) -> str:
    """The first lines of a foreign error, which may run to pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:600]


def chosen_device(name: str) -> "Device":
    """The device of a setting; `auto` is CUDA where there is one.

    Raises:
        UsageError: There is no such device.
    """
    torch, _ = engine()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = cast("Device", torch.device(name))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


def release_memory(device: "Device") -> None:
    """Give back to the system what dropped models and their activations held."""
    torch, _ = engine()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        release_freed_memory()


@contextmanager
def memory_errors() -> Iterator[None]:
    """What torch raises when memory runs out, as MemoryError."""
    torch, _ = engine()
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(brief(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no error class of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise MemoryError(brief(error)) from error
