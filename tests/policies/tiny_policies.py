"""Tiny random policies, built on the spot."""

import sys
from pathlib import Path

import numpy as np
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


def chi_squared(folder, row, drawn, temperature):
    """How far first tokens are from the model's own softmax, and the 99.9 % point of its law.

    Args:
        folder: The model, which transformers runs.
        row: Token ids of the prompt.
        drawn: Token ids of each response; an empty one is the end token.
        temperature: What logits are divided by.
    """
    from scipy.stats import chi2

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([row])).logits[0, -1].double()
    expected = len(drawn) * torch.softmax(logits / temperature, dim=-1).numpy()
    firsts = [ids[0] if ids else tiny_models.END for ids in drawn]
    found = np.bincount(firsts, minlength=len(expected))
    often = expected >= 5
    cells = np.append(expected[often], expected[~often].sum())
    counts = np.append(found[often], found[~often].sum())
    return float(((counts - cells) ** 2 / cells).sum()), float(chi2.ppf(0.999, len(cells) - 1))
