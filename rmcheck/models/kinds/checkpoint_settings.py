"""The settings of a checkpoint folder as values, read once from a spec."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.settings import (
    Dtype,
    PrefixRule,
    check_engine,
    chosen_dtype,
)
from rmcheck.models.engines.last_token import PositionRule
from rmcheck.models.engines.torch.spread import Spread
from rmcheck.models.engines.vllm.engine import vllm_version
from rmcheck.models.engines.vllm.placement import Placement
from rmcheck.models.spec import ModelSpec, Setting, check_device, stated_settings
from rmcheck.models.text.tokenization import EosRule

Engine = Literal["hf", "vllm"]


@dataclass(frozen=True)
class CheckpointSettings:
    """What a spec says of a folder; what its scheme has no setting for is as stated here.

    Attributes:
        template: A file, `pair`, or empty for the folder's own.
        date: The day that a template reads; empty for none.
        dtype: Type of weights and activations; empty until `for_weights` has chosen it.
        max_length: Most tokens, as it is written; empty for the folder's own limit.
        remote_code: Whether code in the folder may run.
        place: The devices that vLLM runs it on.
        engine: What runs the model.
        device: What torch runs it on: `auto`, `cpu`, `cuda` or `cuda:N`.
        spread: How torch lays it over several devices; None for one.
        attention: Which attention torch runs.
        prefix: Whether prompts are computed once for all of their responses.
        eos: Whether an EOS is kept, appended or stripped.
        head: Which logits are the reward, as it is written; empty for the only one.
        position: The token at which the reward is read.
    """

    template: str
    date: str
    dtype: Dtype | Literal[""]
    place: Placement
    remote_code: bool = False
    max_length: str = ""
    engine: Engine = "hf"
    device: str = "auto"
    spread: Spread | None = None
    attention: str = "auto"
    prefix: PrefixRule = "off"
    eos: EosRule = "keep"
    head: str = ""
    position: PositionRule = "auto"

    @classmethod
    def read(cls, spec: ModelSpec, known: Iterable[Setting]) -> Self:
        """The values of all settings that a scheme knows.

        Raises:
            UsageError: A setting is for another engine, or has an impossible value.
        """
        values = cls._values(spec, stated_settings(spec, known))
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    @classmethod
    def _values(cls, spec: ModelSpec, stated: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = dict(stated)
        if "engine" in stated:
            check_engine(spec, stated["engine"])
        check_device(spec.text, stated.get("device", "auto"))
        values["remote_code"] = values.get("trust_remote_code") == "yes"
        values["spread"] = Spread.read(spec, stated)
        if values["spread"]:
            values["prefix"] = "off"
        values["place"] = Placement.read(spec, stated)
        return values

    def for_weights(self, checkpoint: Checkpoint) -> Self:
        """The same with the type that this machine and the folder's weights decide."""
        chosen = {"dtype": self.dtype, "device": self.device}
        return replace(self, dtype=chosen_dtype(chosen, checkpoint))

    @property
    def versions(self) -> dict[str, str]:
        """Of vLLM where it runs the model."""
        on_vllm = self.engine == "vllm"
        return {"vllm": vllm_version(), **self.place.facts} if on_vllm else {}
