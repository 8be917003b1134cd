"""Over which devices vLLM spreads a model, and how much of them it may take."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from rmcheck.errors import UsageError
from rmcheck.models.spec import ModelSpec, Setting, whole_number

SETTINGS = (
    Setting("gpu_memory", ("SHARE",)),
    Setting("tensor_parallel", ("N",), "1"),
    Setting("pipeline_parallel", ("N",), "1"),
    Setting("quantization", ("METHOD",)),
)
_METHOD = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Placement:
    """What a spec says of the devices; as it is, one device and vLLM's own choice.

    Attributes:
        memory: Share of each device's memory; None is vLLM's default on a GPU and a key-value
            cache of 1 GiB on a CPU.
        tensor_parallel: Devices that share each layer.
        pipeline_parallel: Groups of devices that have the layers one after another.
        quantization: How vLLM quantises the weights when it loads them; empty where it does not,
            or as the checkpoint says.
    """

    memory: float | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    quantization: str = ""

    @classmethod
    def read(cls, spec: ModelSpec, values: Mapping[str, str]) -> Self:
        """What the settings say, where the scheme has them.

        Raises:
            UsageError: A value is impossible.
        """
        method = values.get("quantization", "")
        if method and not _METHOD.fullmatch(method):
            raise UsageError(
                f"{spec.text}: quantization is {method!r}; it is a method of vLLM, such as fp8 or "
                "bitsandbytes"
            )
        tensor, pipeline = (
            whole_number(spec, name, values.get(name, "1"), least=1)
            for name in ("tensor_parallel", "pipeline_parallel")
        )
        return cls(_share(spec, values.get("gpu_memory", "")), tensor, pipeline, method)

    @property
    def devices(self) -> int:
        """How many it takes."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def options(self) -> dict[str, Any]:
        """What `vllm.LLM` is told, of what differs from its defaults."""
        said = {
            "gpu_memory_utilization": self.memory,
            "tensor_parallel_size": self.tensor_parallel,
            "pipeline_parallel_size": self.pipeline_parallel,
            "quantization": self.quantization or None,
        }
        return {name: value for name, value in said.items() if value not in (None, 1)}

    @property
    def facts(self) -> dict[str, str]:
        """What rewards depend on: quantisation. Devices change roundings, as batches do."""
        return {"quantization": self.quantization} if self.quantization else {}

    @property
    def described(self) -> dict[str, str]:
        """For a report, where something is stated."""
        spread = f"tensor {self.tensor_parallel} × pipeline {self.pipeline_parallel}"
        return {**self.facts, **({"devices": spread} if self.devices > 1 else {})}

    def halved(self, share: float | None) -> "Placement":
        """For one of two models beside each other; `share` where no memory is stated."""
        memory = self.memory or share
        return replace(self, memory=memory / 2 if memory else None)


def _share(spec: ModelSpec, stated: str) -> float | None:
    if not stated:
        return None
    try:
        share = float(stated)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"{spec.text}: gpu_memory is {stated!r}; it is a share of the memory, such as 0.8"
        )
    return share
