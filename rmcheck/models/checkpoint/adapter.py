"""A PEFT adapter, judged without loading it: what it says of its base, and whether it fits it."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rmcheck.errors import ConformanceError, ModelError, UnknownModelError
from rmcheck.models.checkpoint.config_fields import wrong_fields
from rmcheck.models.checkpoint.json_file import read_object
from rmcheck.models.checkpoint.safetensors_header import Tensor, read_header
from rmcheck.parsing import ParsingError, user_path

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# What PEFT writes before the names that tensors have in the base.
_PREFIX = "base_model.model."
# What these learn is no change of weights, so that nothing can be merged.
_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT")
# Facts of a config that say where and how it was trained, and nothing of its rewards.
_ELSEWHERE = ("base_model_name_or_path", "revision", "inference_mode", "auto_mapping")
# The model that a task makes of a base, by its class.
_TASKS = {"SEQ_CLS": "ForSequenceClassification", "TOKEN_CLS": "ForTokenClassification"}


@dataclass(frozen=True)
class Adapter:
    """A folder with `adapter_config.json`.

    Attributes:
        path: The folder.
        named_base: Folder of the base, where it is not the one that the config names.
    """

    path: Path
    named_base: Path | None = None

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """adapter_config.json as it is.

        Raises:
            ModelError: It cannot be read, a field has another type, or it is of a kind that cannot
                be merged.
        """
        file = self.path / CONFIG
        found = read_object(file)
        if problems := wrong_fields(found):
            raise ModelError(f"{file}: {'; '.join(problems)}")
        if str(found.get("peft_type")) in _PROMPTS:
            raise ModelError(
                f"{file}: {found['peft_type']} learns a prompt and changes no weights, so that "
                "nothing can be merged into the base; rmcheck reads adapters that can (LoRA)"
            )
        return found

    @cached_property
    def base(self) -> Path:
        """Folder of the base: as `base=` or the config names it.

        A name of the config is relative to the adapter or to here, or one in the hub's cache.

        Raises:
            ModelError: The config names none, or one that no folder can have.
            UnknownModelError: It is not there.
        """
        named = self.config.get("base_model_name_or_path")
        if self.named_base:
            if self.named_base.is_dir():
                return self.named_base
            raise UnknownModelError(f"base= names {self.named_base}, and there is no such folder")
        if not named:
            raise ModelError(
                f"{self.path / CONFIG} names no base (base_model_name_or_path), on which its "
                "rewards depend too; name its folder in the model: base=DIR"
            )
        try:
            written = user_path(named)
        except ParsingError as error:
            raise ModelError(f"{self.path / CONFIG}: base_model_name_or_path: {error}") from error
        near = [Path(os.path.normpath(self.path / written)), written.absolute()]
        found = next((path for path in near if path.is_dir()), None) or self._in_cache(named)
        if found is None:
            places = ", ".join(str(path) for path in dict.fromkeys(near))
            raise UnknownModelError(
                f"{self.path / CONFIG} names the base {named!r}, which is not there: not as "
                f"{places}, and not in the cache of the hub. Name its folder in the model, "
                "base=DIR, or download it first: hf download NAME"
            )
        return found

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Its tensors by the names that they have in the model, from the file's header.

        Raises:
            ModelError: There are none, or they are pickled.
        """
        if not (self.path / WEIGHTS).is_file():
            raise ModelError(
                f"{self.path} has no {WEIGHTS}; rmcheck reads safetensors, because a pickle "
                "(adapter_model.bin) can run code"
            )
        found = read_header(self.path / WEIGHTS)
        return {name.removeprefix(_PREFIX): tensor for name, tensor in found.items()}

    @cached_property
    def saved(self) -> Mapping[str, Tensor]:
        """Those that take the place of the base's, or are new, as a head is: `modules_to_save`."""
        modules = self.config.get("modules_to_save") or ()
        return {
            name: tensor
            for name, tensor in self.tensors.items()
            if any(module in name.split(".") for module in modules)
        }

    @property
    def facts(self) -> Mapping[str, object]:
        """What its rewards depend on beside its weights and the base's."""
        return {name: value for name, value in self.config.items() if name not in _ELSEWHERE}

    def changes(self, config: Mapping[str, Any], final_layers: Sequence[str]) -> dict[str, Any]:
        """What base and adapter together change of the base's config.

        Args:
            config: The base's.
            final_layers: Names of the last layer of a head, which has a row a label.
        """
        named = str((config.get("architectures") or ["(none)"])[0])
        ending = _TASKS.get(str(self.config.get("task_type")))
        if ending:
            named = re.sub(r"(For\w+|LMHeadModel|Model)$", ending, named)
        labels = [self.saved[name].shape[0] for name in final_layers if name in self.saved]
        names = {"id2label": {str(i): f"LABEL_{i}" for i in range(labels[0])}} if labels else {}
        stated = config.get("id2label") or {}
        return {"architectures": [named], **({} if labels and len(stated) == labels[0] else names)}

    def check(self, base: Mapping[str, Tensor]) -> None:
        """Refuse an adapter of another base.

        Args:
            base: The base's tensors.

        Raises:
            ConformanceError: A layer is missing there, or has another size; no module that the
                config says was saved is among the tensors; or a head is changed by LoRA.
        """
        heads = [
            name for name in self.tensors if name.startswith(("score.lora_", "classifier.lora_"))
        ]
        if heads:
            raise ConformanceError(
                f"{self.path} changes the head by LoRA ({heads[0]}), and rmcheck reads heads in "
                "float32 from the file; train it whole (modules_to_save), or merge the adapter "
                "(merge_and_unload) and save the whole model"
            )
        promised = dict.fromkeys(map(str, self.config.get("modules_to_save") or ()))
        if promised and not self.saved:
            raise ConformanceError(
                f"{self.path / CONFIG} says that {' or '.join(promised)} was trained and saved, "
                f"and {WEIGHTS} has no such tensor: the reward head is missing"
            )
        misfits = (_misfit(name, tensor, base) for name, tensor in self.tensors.items())
        faults = list(dict.fromkeys(filter(None, misfits)))  # both factors of a layer say the same
        if faults:
            more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
            raise ConformanceError(
                f"{self.path} was not trained on the base {self.base}: {'; '.join(faults[:3])}"
                f"{more}"
            )

    def _in_cache(self, named: str) -> Path | None:
        try:
            from huggingface_hub import try_to_load_from_cache
            from huggingface_hub.errors import HFValidationError
        except ImportError:
            return None
        try:
            found = try_to_load_from_cache(
                named, "config.json", revision=self.config.get("revision") or None
            )
        except HFValidationError:  # no name on a hub
            return None
        return Path(found).parent if isinstance(found, str) else None


def _misfit(name: str, tensor: Tensor, base: Mapping[str, Tensor]) -> str:
    """What of a LoRA factor does not fit the layer that it changes; empty if nothing."""
    layer, found, side = name.partition(".lora_")
    # (r, in) and (out, r); those of convolutions and embeddings are of other forms.
    at = {"A.weight": 1, "B.weight": 0}.get(side)
    if not found or at is None or len(tensor.shape) != 2:
        return ""
    # A base may be saved with its first part left out, or with one more.
    wanted = f"{layer}.weight"
    there = base.get(wanted) or next(
        (t for n, t in base.items() if n.endswith(f".{wanted}") or wanted.endswith(f".{n}")), None
    )
    if there is None:
        return f"it changes {layer}, which the base has not"
    # GPT-2 keeps its weights the other way round.
    if len(there.shape) == 2 and tensor.shape[at] not in there.shape:
        shape = " × ".join(map(str, there.shape))
        return f"{layer} is {shape} there, and the adapter's has a side of {tensor.shape[at]}"
    return ""
