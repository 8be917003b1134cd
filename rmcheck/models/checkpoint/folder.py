"""A checkpoint folder in transformers' layout, judged without loading it.

Everything here reads JSON and safetensors headers only, so that a wrong checkpoint is refused at
collection, in milliseconds, on a machine that has neither torch nor transformers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Self

from rmcheck.errors import ConformanceError, ModelError, UnknownModelError, UsageError
from rmcheck.models.checkpoint.adapter import CONFIG as ADAPTER
from rmcheck.models.checkpoint.adapter import WEIGHTS as ADAPTER_WEIGHTS
from rmcheck.models.checkpoint.adapter import Adapter
from rmcheck.models.checkpoint.config_fields import wrong_fields
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.checkpoint.head import Head, parse_head
from rmcheck.models.checkpoint.json_file import read_object
from rmcheck.models.checkpoint.safetensors_header import Tensor, read_header
from rmcheck.models.checkpoint.weight_files import found_weights
from rmcheck.models.spec import ModelSpec
from rmcheck.wording import hub_advice

# First part of a tensor's name in every sequence classification head of transformers.
_HEADS = ("score", "classifier", "classification_head", "logits_proj", "sequence_summary")
# The last layer of those heads; its first dimension is the number of logits.
_FINAL_LAYERS = (
    "score.weight",
    "classifier.weight",
    "classifier.out_proj.weight",
    "classification_head.out_proj.weight",
    "logits_proj.weight",
)
# Everything beside the weights that a reward depends on.
_READ_FILES = (
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt")
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers")
# More than any model has. By such a config labels are named and layers are built before weights are
# looked at, so that a line of it could fill the memory.
_MOST = 10_000
# Their position ids start after the padding id, so that many positions fewer hold tokens.
_OFFSET_POSITIONS = ("roberta", "camembert", "longformer", "mpnet")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: of a whole model, or of a PEFT adapter that names its base.

    Attributes:
        path: The folder.
        remote_code: Whether its own Python files may be run (`trust_remote_code=yes`).
        named_base: Folder of an adapter's base, where it is not the one that the adapter names.
    """

    path: Path
    remote_code: bool = False
    named_base: Path | None = None

    @classmethod
    def of(cls, spec: ModelSpec, path: Path | None = None, remote_code: bool = False) -> Self:
        """The folder that a spec names, or another one, with the base that its `base=` names."""
        base = spec.settings.get("base")
        return cls(path or spec.path, remote_code, spec.resolve(base) if base else None)

    def check(self) -> None:
        """Refuse what cannot be a reward model.

        Raises:
            UnknownModelError: No folder, no config.json, or no weights in it.
            ModelError: Weights that are damaged or pickled.
            ConformanceError: No reward head, or one of another shape than the config says.
        """
        self.check_folder()
        self._check_architecture()
        self._check_head()

    def check_folder(self) -> None:
        """Refuse what is no checkpoint, whatever kind of model it is.

        Raises:
            UnknownModelError: No folder, no config.json in it, or an adapter without its base.
            UsageError: A base is named, and it is no adapter.
            ModelError: An adapter that cannot be merged.
            ConformanceError: An adapter of another base.
        """
        if not self.path.is_dir():
            kind = "is a file, not a folder" if self.path.exists() else "does not exist"
            raise UnknownModelError(
                f"checkpoint {self.path} {kind}; a checkpoint is a folder of this machine, or "
                f"org/name@revision on a hub{hub_advice(self.path)}"
            )
        if self.named_base and not self.adapter:
            raise UsageError(f"{self.path} is no PEFT adapter and has no base; remove base=")
        if not (self.base_path / "config.json").is_file():
            steps = sorted(p.parent.name for p in self.base_path.glob("*/config.json"))
            inside = f"; there are checkpoints inside it: {', '.join(steps)}" if steps else ""
            raise UnknownModelError(f"{self.base_path} has no config.json{inside}")
        if self.adapter:
            self._check_adapter(self.adapter)
        inner = self.config.get("text_config")
        for config in (self.config, inner if isinstance(inner, dict) else {}):
            for name in _LAYERS:
                self._size(config, name, 0)

    def fingerprint(self, facts: Mapping[str, object], more_files: Iterable[Path] = ()) -> str:
        """64 hex digits of facts (JSON types), the weights, and all files read beside them."""
        if self.adapter is None:
            files = [*self.weight_files, *self.read_files, *more_files]
            return fingerprint(facts, files, root=self.path)
        beside = fingerprint({}, [*self.text_files, *more_files])
        return fingerprint({**facts, "model": self.model_fingerprint, "beside": beside})

    @property
    def model_fingerprint(self) -> str:
        """64 hex digits of what names the model, without its tokenizer."""
        base = self.base_path
        code = base.glob("*.py") if self.remote_code else ()
        files = [*self.weight_files, base / "config.json", *code]
        if self.adapter is None:
            return fingerprint({}, files, root=base)
        facts = {"base": fingerprint({}, files, root=base), "adapter": self.adapter.facts}
        return fingerprint(facts, [self.path / ADAPTER_WEIGHTS], root=self.path)

    @cached_property
    def adapter(self) -> Adapter | None:
        """The PEFT adapter that the folder holds, if it does."""
        return Adapter(self.path, self.named_base) if (self.path / ADAPTER).is_file() else None

    @property
    def base_path(self) -> Path:
        """Folder of config.json and the weights: another one for an adapter."""
        return self.adapter.base if self.adapter else self.path

    @cached_property
    def text_path(self) -> Path:
        """Folder of the tokenizer: that of an adapter's base, where the adapter brings none."""
        own = any((self.path / name).is_file() for name in _TOKENIZERS)
        return self.path if own else self.base_path

    @property
    def described(self) -> dict[str, str]:
        """Where it is, for a report."""
        base = {"base": str(self.base_path)} if self.adapter else {}
        return {"path": str(self.path), **base}

    @property
    def short_name(self) -> str:
        """The last two parts of the path, as in `rm-7b/step-4200`; `org/name@commit` of a hub."""
        *_, repository, folder, last = ("", "", *self.path.absolute().parts)
        if folder == "snapshots" and repository.startswith("models--"):
            return f"{repository.removeprefix('models--').replace('--', '/', 1)}@{last[:8]}"
        return f"{folder}/{last}"

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json as it is.

        Raises:
            ModelError: A field that is read here has another type.
        """
        config = read_object(self.base_path / "config.json")
        if problems := wrong_fields(config):
            raise ModelError(f"{self.base_path / 'config.json'}: {'; '.join(problems)}")
        if self.adapter is None:
            return config
        return {**config, **self.adapter.changes(config, _FINAL_LAYERS)}

    @cached_property
    def tokenizer_config(self) -> Mapping[str, Any]:
        """tokenizer_config.json, empty when there is none."""
        file = self.text_path / "tokenizer_config.json"
        return read_object(file) if file.is_file() else {}

    @cached_property
    def architecture(self) -> str:
        """The class that the config names, such as `LlamaForSequenceClassification`."""
        named = self.config.get("architectures") or ["(none)"]
        return str(named[0])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Name of each logit, in order."""
        named = self.config.get("id2label")
        if isinstance(named, dict) and named:
            return tuple(str(named[key]) for key in sorted(named, key=int))
        # transformers leaves both out of config.json when there are two labels, its default.
        return tuple(f"LABEL_{i}" for i in range(self._size(self.config, "num_labels", 2)))

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files that hold the model, or an adapter's base.

        Raises:
            UnknownModelError: There are no weights, or the index names files that are not there.
            ModelError: The only weights are pickled.
        """
        return found_weights(self.base_path)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors of the weights by name, from the files' headers."""
        saved = self.adapter.saved if self.adapter else {}
        return {**self._base_tensors, **saved}

    @cached_property
    def _base_tensors(self) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for path in self.weight_files:
            found |= read_header(path)
        return found

    @cached_property
    def read_files(self) -> tuple[Path, ...]:
        """Every file beside the weights that a reward depends on, sorted."""
        patterns = (*_READ_FILES, "*.py") if self.remote_code else _READ_FILES
        found = {p for pattern in patterns for p in self.text_path.glob(pattern) if p.is_file()}
        return tuple(sorted(found))

    @property
    def text_files(self) -> tuple[Path, ...]:
        """Those of them that are the tokenizer's."""
        return tuple(file for file in self.read_files if file.name != "config.json")

    @property
    def has_tokenizer(self) -> bool:
        """Whether the folder holds a tokenizer at all."""
        return any((self.text_path / name).is_file() for name in _TOKENIZERS)

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer brings a chat template."""
        return bool(self.tokenizer_config.get("chat_template")) or any(
            (self.text_path / name).is_file()
            for name in ("chat_template.jinja", "chat_template.json")
        )

    @cached_property
    def model_length(self) -> int | None:
        """Most tokens that the model has positions for; None when the config does not say."""
        for config in (self.config, self.config.get("text_config") or {}):
            for name in _LENGTHS:
                if isinstance(config.get(name), int) and config[name] > 0:
                    return int(config[name]) - self._position_offset
        return None

    @property
    def vocabulary_size(self) -> int | None:
        """How many tokens the model has embeddings for; None where no config says."""
        if self.adapter and any("embed" in name for name in self.adapter.saved):
            return None  # it may have resized them
        for config in (self.config, self.config.get("text_config") or {}):
            if isinstance(config.get("vocab_size"), int):
                return int(config["vocab_size"])
        return None

    @property
    def original_context(self) -> int | None:
        """Tokens beyond which longrope turns texts by other factors; None without longrope."""
        for config in (self.config, self.config.get("text_config") or {}):
            # `rope_scaling` and `type` are the names of transformers before 5.
            rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
            if "longrope" in (rope.get("rope_type"), rope.get("type")):
                name = "original_max_position_embeddings"
                size = rope.get(name) or config.get(name)
                return int(size) if size else None
        return None

    @cached_property
    def max_length(self) -> int | None:
        """Most tokens by the model and by its tokenizer, whichever is fewer."""
        # A tokenizer without a limit says so with 1e30.
        of_tokenizer = self.tokenizer_config.get("model_max_length")
        lengths = [self.model_length]
        if isinstance(of_tokenizer, int) and 0 < of_tokenizer < 10**9:
            lengths.append(of_tokenizer)
        return min((length for length in lengths if length is not None), default=None)

    @property
    def takes_type_ids(self) -> bool:
        """Whether the model tells the two texts of a pair apart by type ids (BERT does)."""
        return int(self.config.get("type_vocab_size") or 0) > 1

    @cached_property
    def dtype(self) -> str:
        """Type of most of its weights; bfloat16 where none is a float of torch's usual types."""
        names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
        sizes = dict.fromkeys(names.values(), 0)
        for tensor in self.tensors.values():
            if tensor.dtype in names:
                sizes[names[tensor.dtype]] += prod(tensor.shape)
        return max(sizes, key=lambda name: sizes[name]) if any(sizes.values()) else "bfloat16"

    @property
    def quantisation(self) -> str:
        """How the weights are quantised, `none` for nearly all."""
        config = self.config.get("quantization_config")
        if not config:
            return "none"
        return str(config.get("quant_method", "unnamed method"))

    @property
    def soft_caps_attention(self) -> bool:
        """Whether attention logits are soft-capped, which sdpa silently leaves out (Gemma 2)."""
        configs = (self.config, self.config.get("text_config") or {})
        return any(config.get("attn_logit_softcapping") for config in configs)

    def head(self, named: str, spec: str) -> Head:
        """Which logits are the reward.

        Args:
            named: Value of `head` (see `parse_head`); empty when not given.
            spec: The spec, for messages.

        Raises:
            ConformanceError: There are several logits and none is named.
            UsageError: See `parse_head`.
        """
        labels = self.labels
        if named:
            return parse_head(named, labels, spec)
        if len(labels) == 1:
            return Head(labels, ((0, 1.0),))
        listing = ", ".join(f"{i} {label}" for i, label in enumerate(labels))
        raise ConformanceError(
            f"{self.path} has {len(labels)} logits ({listing}); say which one is the reward: "
            f"add head=NAME or head=INDEX to {spec!r}, or several as head=NAME:WEIGHT,NAME:WEIGHT"
        )

    @property
    def _position_offset(self) -> int:
        model_type = str(self.config.get("model_type", ""))
        if any(word in model_type for word in _OFFSET_POSITIONS):
            return int(self.config.get("pad_token_id") or 0) + 1
        return 0

    def _size(self, config: Mapping[str, Any], name: str, default: int) -> int:
        """A number of things that a config names.

        Raises:
            ModelError: It is none, or more than any model has.
        """
        value = config.get(name)
        if value is None:
            return default
        if type(value) is not int or not 0 <= value <= _MOST:
            raise ModelError(
                f"{self.base_path / 'config.json'}: {name} is {value!r:.40}; it is a whole "
                f"number up to {_MOST:,}"
            )
        return value

    def _check_architecture(self) -> None:
        own_class = "AutoModelForSequenceClassification" in (self.config.get("auto_map") or {})
        if self.remote_code and own_class:
            return
        if self.architecture.endswith("ForSequenceClassification"):
            return
        if own_class:
            why = "its own code would be run; allow that with trust_remote_code=yes"
        elif self.architecture.endswith(("ForCausalLM", "LMHeadModel")):
            why = "a language model has no reward head, and a new one would be random"
        else:
            why = "rmcheck reads the reward from ...ForSequenceClassification models"
        raise ConformanceError(f"{self.path} is a {self.architecture}: {why}")

    def _check_head(self) -> None:
        if self.remote_code:
            return
        heads = [name for name in self.tensors if name.split(".")[0] in _HEADS]
        if not heads:
            last = ", ".join(list(self.tensors)[-2:])
            raise ConformanceError(
                f"{self.path} has no reward head among its {len(self.tensors)} tensors (none is "
                f"named {'.*, '.join(_HEADS)}.*; the last are {last}); "
                f"{self.architecture} would start with a random one"
            )
        for name in _FINAL_LAYERS:
            tensor = self.tensors.get(name)
            if tensor is not None and tensor.shape[:1] != (len(self.labels),):
                raise ConformanceError(
                    f"{self.path}: the head {name} has shape {list(tensor.shape)}, but config.json "
                    f"names {len(self.labels)} logits ({', '.join(self.labels)})"
                )

    def _check_adapter(self, adapter: Adapter) -> None:
        if self.quantisation != "none":
            raise ModelError(
                f"{adapter.base} is quantised ({self.quantisation}), and merging the adapter "
                f"{self.path} into it would round again; name the base as it was before"
            )
        adapter.check(self._base_tensors)
