"""The libraries of the laboratory: whether they are there, and quiet."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rmcheck.errors import MissingDependencyError, UsageError
from rmcheck.models.libraries import quiet_transformers

PACKAGES = ("torch", "transformers", "trl", "torchrl", "tensordict", "peft", "accelerate")


def require_laboratory() -> None:
    """Refuse to begin where a package of the extra is missing, or as one of several trainers.

    Raises:
        MissingDependencyError: One is; says the pip command.
        UsageError: See `refuse_many_processes`.
    """
    refuse_many_processes()
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the laboratory needs {', '.join(missing)}. "
            'Install it with: pip install "rmcheck[lab]"'
        )


def refuse_many_processes() -> None:
    """Refuse to be one of several processes that would train one model together.

    Raises:
        UsageError: This one was started by `torchrun` or `accelerate launch` with others.
    """
    if (size := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise UsageError(
            f"this is one of {size} processes (WORLD_SIZE), and the laboratory trains each model "
            "in one: batches would be larger than the file says. Start the command itself once for "
            "each GPU, each with another CUDA_VISIBLE_DEVICES: they share the models"
        )


def on_one_gpu(config: Any) -> Any:
    """The configuration of a trainer that, of several GPUs, takes one: its batch is as written.

    Transformers would put a batch on each of them.
    """
    if config.n_gpu > 1:
        config._n_gpu = 1
    return config


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars, no tables and no advice on the terminal while models are trained.

    Raises:
        MissingDependencyError: See `require_laboratory`.
    """
    require_laboratory()
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import disable_progress_bars

        disable_progress_bars()
        yield
