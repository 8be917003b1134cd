"""What a safetensors file says about its tensors, read without the tensors.

Format: 8 bytes little-endian length of the header, the header as JSON, then the tensors' bytes.
"""

from dataclasses import dataclass
from pathlib import Path

from rmcheck.errors import ModelError
from rmcheck.parsing import parse_json

# The format's own limit on its header.
_LARGEST_HEADER = 100_000_000

# What reading the fields of a wrong header raises.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, type (`F32`, `BF16`, …) and shape of one tensor, and the file that holds it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        ModelError: The file is damaged: no header, or fewer or more bytes than the header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise ModelError(f"{path} is damaged: {size} bytes do not hold a safetensors header")
        try:
            header = parse_json(file.read(length))
            header.pop("__metadata__", None)
            tensors = {
                name: Tensor(name, str(entry["dtype"]), tuple(map(int, entry["shape"])), path)
                for name, entry in header.items()
            }
            end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        except _UNREADABLE as error:
            raise ModelError(f"{path} is damaged: its safetensors header is unreadable") from error
    if 8 + length + end != size:
        raise ModelError(
            f"{path} is damaged: its header promises {8 + length + end} bytes, it has {size} "
            f"(a copy that was cut short?)"
        )
    return tensors
