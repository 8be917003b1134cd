"""The libraries of the laboratory: whether they are there, and quiet."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rmcheck.errors import MissingDependencyError, UsageError
from rmcheck.models.engines.torch.device import chosen_device
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


def trainer_config(
    cls: Any, work: Path, *, seed: int, device: str, every: int, **settings: Any
) -> Any:
    """The configuration of one of TRL's trainers: quiet, in float32, on one device.

    Args:
        cls: The configuration's class.
        work: Folder of its checkpoints, of which the last is kept.
        seed: Of everything.
        device: `auto`, `cpu` or `cuda`.
        every: Steps between two checkpoints, and between two logs.
        **settings: The others of the class.
    """
    import torch

    gpu = chosen_device(device).type == "cuda"
    config = cls(
        output_dir=str(work),
        seed=seed,
        data_seed=seed,
        use_cpu=not gpu,
        bf16=gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
        logging_steps=every,
        save_steps=every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=gpu,
        **settings,
    )
    # Of several GPUs one is taken: transformers would put a batch on each, and it is as written.
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
