"""An adapter and its base as one folder, for engines that read folders."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch.adapter import LABELLED
from rmcheck.models.engines.torch.weights import check_loading, load
from rmcheck.models.libraries import quiet_transformers


@contextmanager
def whole_folder(checkpoint: Checkpoint, dtype: str) -> Iterator[Path]:
    """A folder with the whole model: the checkpoint's own, or a temporary one of an adapter.

    Args:
        checkpoint: Already checked.
        dtype: Type in which an adapter is merged, and the folder written.

    Raises:
        MissingDependencyError: torch, transformers or peft is not installed.
        ModelError: The base or the adapter cannot be loaded.
        ConformanceError: Tensors are missing.
    """
    if checkpoint.adapter is None:
        yield checkpoint.path
        return
    task = next((t for t in LABELLED if checkpoint.architecture.endswith(t)), "ForCausalLM")
    model, info = load(checkpoint, f"AutoModel{task}", dtype, "auto")
    check_loading(checkpoint, info)
    with tempfile.TemporaryDirectory(prefix="rmcheck-merged-") as place:
        with quiet_transformers():
            model.save_pretrained(place)
        for file in checkpoint.text_files:
            shutil.copy(file, place)
        yield Path(place)
