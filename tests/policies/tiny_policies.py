"""Tiny random policies, built on the spot."""

import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
import tiny_models

TEMPLATE = tiny_models.CHAT_TEMPLATE + "{% if add_generation_prompt %}<|assistant|>{% endif %}"


def save_policy(path, kind="llama", **changes):
    """A tiny causal language model whose next tokens are neither certain nor uniform."""
    torch.manual_seed(0)
    config = tiny_models.decoder_config(kind, **changes)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.normal_(std=0.5)
    model.save_pretrained(path)
    tiny_models.tokenizer(chat_template=TEMPLATE).save_pretrained(path)
    return path
