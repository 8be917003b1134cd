"""Files of a checkpoint, and of an adapter."""

import json
import struct
from pathlib import Path

from rmcheck.models.registry import open_model
from targets.target import DEEP, Target

CONFIG = {
    "architectures": ["LlamaForSequenceClassification"],
    "model_type": "llama",
    "id2label": {"0": "reward"},
    "num_labels": 1,
    "max_position_embeddings": 64,
    "type_vocab_size": 1,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default"},
    "text_config": {"max_position_embeddings": 32},
}
HEADER = {"score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}


def tensors(header: bytes) -> bytes:
    """A safetensors file with this header."""
    return struct.pack("<Q", len(header)) + header + b"\x00" * 8


def write_checkpoint(folder: Path, name: str, content: bytes) -> None:
    """A checkpoint folder of which one file is this."""
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": tensors(json.dumps(HEADER).encode()),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}", "model_max_length": 32}',
    }
    if name == "model.safetensors.index.json":
        files["a.safetensors"] = files.pop("model.safetensors")
    folder.mkdir()
    for each, default in {**files, name: b""}.items():
        (folder / each).write_bytes(content if each == name else default)


def checkpoint(folder: Path, name: str, content: bytes) -> None:
    """Such a folder, opened."""
    write_checkpoint(folder, name, content)
    model = open_model(f"hf:{folder}")
    assert model.fingerprint
    assert model.name


def config(path: Path) -> None:
    """config.json."""
    checkpoint(path.parent / "rm", "config.json", path.read_bytes())


def header(path: Path) -> None:
    """The header of the weights, without its length."""
    checkpoint(path.parent / "rm", "model.safetensors", tensors(path.read_bytes()))


def weight_index(path: Path) -> None:
    """The index of the weights."""
    checkpoint(path.parent / "rm", "model.safetensors.index.json", path.read_bytes())


def tokenizer_config(path: Path) -> None:
    """tokenizer_config.json."""
    checkpoint(path.parent / "rm", "tokenizer_config.json", path.read_bytes())


CONFIGS = [
    json.dumps(one).encode()
    for one in (
        CONFIG,
        {**CONFIG, "architectures": 1},
        {**CONFIG, "id2label": {"x": "a"}},
        {**CONFIG, "num_labels": None, "id2label": None},
        {**CONFIG, "text_config": 3},
        {**CONFIG, "pad_token_id": "x", "model_type": "roberta"},
    )
] + [b'{"architectures": ' + DEEP.encode()]
HEADERS = [
    json.dumps(HEADER).encode(),
    b'{"score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": "shape"}}',
    b'{"score.weight": {"dtype": 1, "shape": [1e999], "data_offsets": [0, 8]}}',
    DEEP.encode(),
]
INDICES = [
    json.dumps({"weight_map": {"score.weight": name}}).encode()
    for name in ("a.safetensors", "1" * 300, "\x00", "\ud800", 3)
] + [b'{"weight_map": 3}', DEEP.encode()]


def adapter_config(path: Path) -> None:
    """The adapter_config.json of an adapter, on a base beside it."""
    write_checkpoint(path.parent / "base", "config.json", json.dumps(CONFIG).encode())
    adapter = path.parent / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_bytes(path.read_bytes())
    (adapter / "adapter_model.safetensors").write_bytes(tensors(json.dumps(LORA).encode()))
    assert open_model(f"hf:{adapter}").fingerprint


LORA = {
    "base_model.model.score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
}
ADAPTER = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "base_model_name_or_path": "../base",
    "modules_to_save": ["score"],
    "r": 2,
}
ADAPTERS = [
    json.dumps(one).encode()
    for one in (
        ADAPTER,
        {**ADAPTER, "modules_to_save": 3},
        {**ADAPTER, "modules_to_save": [3]},
        {**ADAPTER, "base_model_name_or_path": "a" * 300},
        {**ADAPTER, "base_model_name_or_path": "\x00"},
        {**ADAPTER, "base_model_name_or_path": "a/b", "revision": 3},
        {**ADAPTER, "base_model_name_or_path": "a/b", "revision": "../../x"},
        {**ADAPTER, "base_model_name_or_path": "."},
    )
] + [DEEP.encode()]


TARGETS = {
    "config": Target(config, ("config.json",), CONFIGS),
    "tokenizer_config": Target(
        tokenizer_config,
        ("tokenizer_config.json",),
        [b'{"chat_template": "x", "model_max_length": 1e30}', DEEP.encode()],
    ),
    "header": Target(header, ("header.json",), HEADERS),
    "index": Target(weight_index, ("index.json",), INDICES),
    "adapter": Target(adapter_config, ("adapter_config.json",), ADAPTERS),
}
