"""One model over several devices, memory and disk, by accelerate: `device_map` and `max_memory`."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

from rmcheck.errors import MissingDependencyError, UsageError
from rmcheck.models.spec import ModelSpec, Setting

SETTINGS = (
    Setting("device_map", ("auto", "balanced", "sequential"), closed=True),
    Setting("max_memory", ("DEVICE:SIZE,DEVICE:SIZE",)),
)


@dataclass(frozen=True)
class Spread:
    """How layers are laid over devices.

    Attributes:
        device_map: What accelerate is told: `auto`, `balanced`, `sequential`.
        max_memory: Most memory of a device (`0`, `1`, …, `cpu`), as in `20GiB`; empty for all of
            it. What does not fit stays on disk.
    """

    device_map: str
    max_memory: Mapping[int | str, str]

    @classmethod
    def read(cls, spec: ModelSpec, values: Mapping[str, str]) -> Self | None:
        """What the settings say; None where they say nothing.

        Raises:
            UsageError: A value is impossible, or does not go with another setting.
        """
        named, most = values.get("device_map", ""), values.get("max_memory", "")
        if not named:
            if most:
                raise UsageError(f"{spec.text}: max_memory is for device_map; add device_map=auto")
            return None
        if values.get("device", "auto") != "auto":
            raise UsageError(f"{spec.text}: device_map chooses among all devices; remove device=")
        if values.get("prefix") == "shared":
            raise UsageError(
                f"{spec.text}: with device_map every text is computed by itself; remove "
                "prefix=shared"
            )
        return cls(named, _limits(spec, most))

    def options(self, folder: str) -> dict[str, Any]:
        """What transformers is told when it loads.

        Args:
            folder: Where layers may be put that fit in no memory.

        Raises:
            MissingDependencyError: accelerate is not installed.
        """
        if find_spec("accelerate") is None:
            raise MissingDependencyError(
                "device_map needs accelerate. Install it with: pip install accelerate"
            )
        return {
            "device_map": self.device_map,
            "max_memory": dict(self.max_memory) or None,
            "offload_folder": folder,
        }


def bring_back(layer: Any, device: Any) -> None:
    """Take a layer out of accelerate's hands; one that was put on disk is empty afterwards."""
    from accelerate.hooks import remove_hook_from_module

    remove_hook_from_module(layer)
    if layer.weight.is_meta:
        layer.to_empty(device=device)


def _limits(spec: ModelSpec, text: str) -> dict[int | str, str]:
    found: dict[int | str, str] = {}
    for part in filter(None, text.split(",")):
        device, _, size = part.partition(":")
        number, unit = size[:-3], size[-3:]
        known = device == "cpu" or device.isdigit()
        if not known or unit not in {"GiB", "MiB", "KiB"} or not number.isdigit():
            raise UsageError(
                f"{spec.text}: max_memory has {part!r}; it is DEVICE:SIZE, such as 0:70GiB,"
                "1:70GiB,cpu:100GiB"
            )
        found[int(device) if device.isdigit() else device] = size
    return found
