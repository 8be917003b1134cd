"""LoRA adapters on tiny models, made with peft, and their merged twins."""

import json
from pathlib import Path

import pytest
import tiny_models
import torch
import transformers

peft = pytest.importorskip("peft")


def reward_adapter(base: Path, path: Path, **options) -> Path:
    """A LoRA reward model on a language model, with its head; `merged` of it stands beside it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        loaded = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        return _saved(loaded, path, "SEQ_CLS", **options)


def policy_adapter(base: Path, path: Path, **options) -> Path:
    """A LoRA language model on another; `merged` of it stands beside it."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return _saved(
            transformers.AutoModelForCausalLM.from_pretrained(base), path, "CAUSAL_LM", **options
        )


def twin(path: Path) -> Path:
    """The whole model that an adapter and its base make, as peft merges it."""
    return path.with_name(f"{path.name}-merged")


def change(path: Path, **fields) -> None:
    """Write fields of adapter_config.json anew."""
    file = path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def _saved(loaded, path, task, **options):
    model = peft.get_peft_model(
        loaded, peft.LoraConfig(task_type=task, r=4, target_modules=["q_proj", "v_proj"], **options)
    )
    # As if trained: PEFT starts with a change of nothing.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
        elif "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    model.save_pretrained(path)
    model.merge_and_unload().save_pretrained(twin(path))
    template = tiny_models.POLICY_TEMPLATE if task == "CAUSAL_LM" else tiny_models.CHAT_TEMPLATE
    tiny_models.tokenizer(chat_template=template).save_pretrained(twin(path))
    return path
