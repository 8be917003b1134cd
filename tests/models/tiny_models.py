"""Tiny random reward models with every trap's ingredients, built on the spot.

Post-processor and chat template both add a BOS, as Llama 3's do, so that tokenising a rendered
text the naive way gives two. Heads are scaled until rewards spread over a few units, so that a
wrong position or mask shows far above rounding.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'tool' %}{{ raise_exception('tool turns are not supported') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
)
SPECIAL = ["<pad>", "<s>", "<|end|>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>"]
PAD, BOS, END = 0, 1, 2
CORPUS = (
    "the quick brown fox jumps over a lazy dog and asks why reward models like long answers "
    "two plus two is four but some say five because confidence sounds like truth "
) * 4
TEXTS = (
    "four",
    "two plus two is four",
    "why do foxes jump over the lazy dog and ask why",
    "five because confidence sounds like truth and some say long answers like truth",
    "a dog",
    "the quick brown fox asks two long reward models why the dog is lazy but confident",
    "truth sounds like four",
    "some say five and some say four because two plus two is a long answer over again and again",
)


def samples() -> list[Sample]:
    """Eight conversations of different lengths, two responses a prompt."""
    return [
        Sample(
            prompt_id=f"p{i // 2}",
            index=i % 2,
            messages=(Message("user", f"what is {TEXTS[i // 2]}"),),
            response=text,
            golden=float(i),
        )
        for i, text in enumerate(TEXTS)
    ]


def tokenizer(*, chat_template: str | None = CHAT_TEMPLATE, **special: str) -> Any:
    """A byte-level BPE tokenizer of about 300 tokens."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([CORPUS], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A",
        pair="<s> $A <|end|> $B:1 <|end|>:1",
        special_tokens=[("<s>", BOS), ("<|end|>", END)],
    )
    names = {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>"} | special
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", model_max_length=10**30, **names
    )
    wrapped.chat_template = chat_template
    return wrapped


def decoder_config(kind: str, **changes: Any) -> Any:
    """A two-layer config of llama, mistral, qwen2, qwen3, gemma2, gemma3 or gpt2."""
    shared: dict[str, Any] = {
        "vocab_size": 320,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "num_labels": 1,
    }
    if kind == "gpt2":
        size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
        return transformers.GPT2Config(**(shared | size | changes))
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    if kind.startswith("gemma"):
        size |= {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64}
    name = "Gemma3Text" if kind == "gemma3" else kind.capitalize()
    return getattr(transformers, f"{name}Config")(**(shared | size | changes))


def bert_config(**changes: Any) -> Any:
    """A two-layer BERT config."""
    return transformers.BertConfig(
        **(
            {
                "vocab_size": 320,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "max_position_embeddings": 128,
                "pad_token_id": PAD,
                "num_labels": 1,
            }
            | changes
        )
    )


def encoder_config(kind: str, **changes: Any) -> Any:
    """A two-layer config of an encoder: bert, roberta, deberta or modernbert."""
    if kind == "bert":
        return bert_config(initializer_range=0.5, **changes)
    shared: dict[str, Any] = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "num_labels": 1,
    }
    if kind == "modernbert":
        shared |= {"cls_token_id": BOS, "sep_token_id": END}
    else:
        shared |= {"initializer_range": 0.5}
    if kind == "deberta":
        # As Microsoft's checkpoints are: attention by distance instead of position embeddings.
        shared |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
        shared |= {"position_biased_input": False}
    name = {"roberta": "Roberta", "deberta": "DebertaV2", "modernbert": "ModernBert"}[kind]
    return getattr(transformers, f"{name}Config")(**(shared | changes))


def save(config: Any, path: Path, *, seed: int = 0, words: Any = None) -> Path:
    """Write a random model of this config with a tokenizer; rewards spread over a few units."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # Importing DeBERTa calls torch.jit.script, which torch has deprecated.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script`")
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    scale_head(model)
    model.save_pretrained(path)
    (words or tokenizer()).save_pretrained(path)
    return path


def scale_head(model: Any) -> None:
    """Make the head's weights normal of standard deviation 1, so that rewards spread."""
    head = getattr(model, "score", None) or model.classifier
    head = getattr(head, "out_proj", head)
    with torch.no_grad():
        head.weight.normal_()


# A policy's template: it opens the answer when asked to, and writes a line break after each turn.
POLICY_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def causal(path: Path, kind: str = "llama", *, seed: int = 0, **changes: Any) -> Path:
    """Write a random language model, far from uniform, with a tokenizer that opens answers."""
    torch.manual_seed(seed)
    config = decoder_config(kind, initializer_range=0.2, **changes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer(chat_template=POLICY_TEMPLATE).save_pretrained(path)
    return path


Builder = Callable[[Path], Path]


def llama(path: Path, **changes: Any) -> Path:
    """A tiny Llama reward model."""
    return save(decoder_config("llama", **changes), path)


def bert(path: Path, **changes: Any) -> Path:
    """A tiny BERT reward model without a chat template; its weights spread like its head's."""
    return save(
        bert_config(initializer_range=0.5, **changes), path, words=tokenizer(chat_template=None)
    )
