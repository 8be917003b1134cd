"""The files of a folder that hold a model's weights."""

from pathlib import Path

from rmcheck.errors import ModelError, UnknownModelError
from rmcheck.models.checkpoint.config_fields import weight_names
from rmcheck.models.checkpoint.json_file import read_object
from rmcheck.parsing import ParsingError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def found_weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that hold the model.

    Raises:
        UnknownModelError: There are no weights, or the index names files that are not there.
        ModelError: The only weights are pickled.
    """
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        try:
            named = weight_names(read_object(folder / INDEX))
        except ParsingError as error:
            raise ModelError(f"{folder / INDEX}: {error}") from error
        missing = [name for name in named if not (folder / name).is_file()]
        if missing or not named:
            raise UnknownModelError(
                f"{folder / INDEX} names weights that are not there: "
                f"{', '.join(missing) or 'none at all'}"
            )
        return tuple(folder / name for name in named)
    pickled = sorted(p.name for pattern in _PICKLES for p in folder.glob(pattern))
    if pickled:
        raise ModelError(
            f"{folder} has pickled weights only ({', '.join(pickled[:3])}). rmcheck reads "
            "safetensors, because a pickle can run code. To convert: AutoModelForSequence"
            "Classification.from_pretrained(DIR).save_pretrained(DIR) with transformers"
        )
    raise UnknownModelError(f"{folder} has no weights ({SINGLE} or {INDEX})")
