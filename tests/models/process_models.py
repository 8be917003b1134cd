"""Tiny random process reward models of every kind, built on the spot."""

import json
import warnings
from pathlib import Path
from typing import Any

import tiny_models
import torch
import transformers

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

# Steps of different counts, on lines of their own.
RESPONSES = (
    "two plus two\nis four",
    "four",
    "why do foxes jump\nover the lazy dog\nand ask why\nfive because\nconfidence sounds like truth",
    "a dog\nsounds like four\nand five",
    "the quick brown fox\nasks two long reward models\nwhy the dog is lazy",
    "some say five\nand some say four\nbecause two plus two\nis a long answer",
)


def samples() -> list[Sample]:
    """Six conversations, two responses a prompt, of one to five steps."""
    return [
        Sample(
            f"p{i // 2}", i % 2, (Message("user", f"what is {tiny_models.TEXTS[i // 2]}"),), text
        )
        for i, text in enumerate(RESPONSES)
    ]


def labelled(path: Path, kind: str = "llama", **changes: Any) -> Path:
    """Write a random model with two labels a token, as TRL's PRMTrainer does."""
    torch.manual_seed(3)
    if kind in {"bert", "roberta", "deberta", "modernbert"}:
        config = tiny_models.encoder_config(kind, **({"num_labels": 2} | changes))
    else:
        config = tiny_models.decoder_config(kind, **({"num_labels": 2} | changes))
    with warnings.catch_warnings():
        # Importing DeBERTa calls torch.jit.script, which torch has deprecated.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script`")
        model = transformers.AutoModelForTokenClassification.from_config(config)
    tiny_models.scale_head(model)
    model.save_pretrained(path)
    tiny_models.tokenizer().save_pretrained(path)
    return path


def qwen2_process(path: Path, **changes: Any) -> Path:
    """Write a random model in the layout of Qwen2.5-Math-PRM: a head of two layers with a ReLU."""
    torch.manual_seed(4)
    config = tiny_models.decoder_config("qwen2", num_labels=2, initializer_range=0.2, **changes)
    body = transformers.Qwen2Model(config)
    linear, size = torch.nn.Linear, config.hidden_size
    head = torch.nn.Sequential(linear(size, size), torch.nn.ReLU(), linear(size, 2))
    tensors = {f"model.{name}": value for name, value in body.state_dict().items()}
    tensors |= {f"score.{name}": value for name, value in head.state_dict().items()}
    path.mkdir(parents=True)
    from safetensors.torch import save_file

    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    own_code = {
        "AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig",
        "AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel",
    }
    written = config.to_dict() | {"auto_map": own_code}
    written["architectures"] = ["Qwen2ForProcessRewardModel"]
    (path / "config.json").write_text(json.dumps(written))
    tiny_models.tokenizer().save_pretrained(path)
    return path
