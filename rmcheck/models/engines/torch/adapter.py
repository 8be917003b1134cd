"""A PEFT adapter merged into its base."""

from typing import Any

from rmcheck.errors import ConformanceError, MissingDependencyError, ModelError
from rmcheck.models.checkpoint.adapter import Adapter
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.libraries import brief, quiet_transformers

# What has labels, by the end of an architecture's name.
LABELLED = ("ForSequenceClassification", "ForTokenClassification")


def merged(base: Any, adapter: Adapter) -> Any:
    """The base with the adapter's changes in its weights, as `merge_and_unload` makes it.

    Args:
        base: Loaded on a CPU; it is changed.
        adapter: Already checked.

    Raises:
        MissingDependencyError: peft is not installed.
        ModelError: peft cannot load it.
        ConformanceError: Tensors that its config promises are not in it.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingDependencyError(
            f"{adapter.path} is a PEFT adapter, which needs peft ({error}). Install it with: "
            'pip install "rmcheck[peft]"'
        ) from error
    try:
        with quiet_transformers():
            config = peft.PeftConfig.from_pretrained(str(adapter.path))
            config.inference_mode = True
            model = peft.get_peft_model(base, config)
            found = model.load_adapter(str(adapter.path), "default")
            if not found.missing_keys and not found.unexpected_keys:
                return model.merge_and_unload()
    # peft raises ValueError, RuntimeError, KeyError and the errors of torch.
    except Exception as error:
        raise ModelError(f"{adapter.path}: peft cannot load it. {brief(error)}") from error
    said = [*found.missing_keys[:3], *found.unexpected_keys[:3]]
    raise ConformanceError(
        f"{adapter.path} does not hold what its adapter_config.json says of the base "
        f"{adapter.base} ({', '.join(said)}): tensors were lost, or it was trained on another base"
    )


def label_count(checkpoint: Checkpoint) -> dict[str, int]:
    """What a base is loaded with, so that it has room for the head of an adapter."""
    has_labels = checkpoint.architecture.endswith(LABELLED)
    return {"num_labels": len(checkpoint.labels)} if checkpoint.adapter and has_labels else {}
