"""The devices that torch runs on, and their memory."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from rmcheck.errors import UsageError
from rmcheck.models.engines.torch.cpu import give_back_freed_memory
from rmcheck.models.libraries import brief, engine

if TYPE_CHECKING:
    from torch import device as Device


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
        give_back_freed_memory()


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
