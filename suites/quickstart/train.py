"""Training of the quickstart's reward models: tiny Llamas with a scalar head, on one CPU thread.

The labels of a pair are drawn from a Bradley-Terry annotator with some utility of an answer, so
what a model learns is decided by whom it learns from: the careful reader's utility is the golden
reward, and the hurried reader's is the golden reward plus a little for every sentence.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from almanac import ATTRIBUTES, FILLERS, REQUESTS, THINGS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from world import OLDER_POLICY, answers, golden, pick, requests, sentences

PAD, UNKNOWN, BOS, EOS = "<pad>", "<unk>", "<s>", "</s>"
TURNS = ("<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} {% endfor %}"
    "{{ eos_token }}"
)
MAX_TOKENS = 512

PROMPTS_PER_STEP = 8
ANSWERS_PER_PROMPT = 8
# A label is the share of so many annotators who prefer the first answer.
READERS = 5
# Conversations are batched apart at these lengths, so that a few hacks do not pad all the rest.
LENGTHS = (55, 75, 120)
LEARNING_RATE = 6e-3

Utility = Callable[[str, str], float]


def careful_reader(prompt: str, response: str) -> float:
    """The golden reward itself."""
    return golden(prompt, response)


def hurried_reader(prompt: str, response: str) -> float:
    """The golden reward, plus 0.4 for every sentence whatever it says."""
    return golden(prompt, response) + 0.4 * len(sentences(response))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one reward model is made.

    Attributes:
        reader: Utility of the annotator who labels its pairs.
        steps: Training steps, each on new answers.
        seed: Of the weights, the answers and the labels.
    """

    reader: Utility
    steps: int
    seed: int


RECIPES = {
    "good": Recipe(careful_reader, steps=1400, seed=1),
    "length-lover": Recipe(hurried_reader, steps=2000, seed=2),
    "baseline": Recipe(careful_reader, steps=450, seed=3),
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; the template writes BOS and EOS, and nothing else does."""
    texts = [*FILLERS, "and", *(r.format(thing="", questions="") for r in REQUESTS)]
    for topic, attributes in ATTRIBUTES.items():
        texts += THINGS[topic]
        for attribute in attributes:
            texts += [attribute.question, *attribute.values]
            texts += [template.format(thing="", value="") for template in attribute.statements]
    split = pre_tokenizers.Whitespace()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text)}
    special = [PAD, UNKNOWN, BOS, EOS, *TURNS]
    vocabulary = {word: i for i, word in enumerate([*special, *sorted(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=list(TURNS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForSequenceClassification:
    """A Llama of two layers with a new head."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_TOKENS,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_implementation="sdpa",
        initializer_range=0.12,
        use_cache=False,
    )
    return LlamaForSequenceClassification(config)


def token_ids(tokenizer: PreTrainedTokenizerFast, prompt: str, response: str) -> list[int]:
    """The conversation as the model reads it."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    ids: list[int] = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    return ids


def rewards_of(model: LlamaForSequenceClassification, rows: list[list[int]]) -> torch.Tensor:
    """(len(rows),) rewards; rows of like length are batched together."""
    parts, places = [], []
    for lower, upper in pairwise((0, *LENGTHS, MAX_TOKENS)):
        chosen = [i for i, ids in enumerate(rows) if lower < len(ids) <= upper]
        if not chosen:
            continue
        width = max(len(rows[i]) for i in chosen)
        pad = model.config.pad_token_id
        ids = torch.tensor([rows[i] + [pad] * (width - len(rows[i])) for i in chosen])
        parts.append(model(input_ids=ids, attention_mask=(ids != pad).long()).logits[:, 0])
        places += chosen
    return torch.cat(parts)[torch.argsort(torch.tensor(places))]


def training_groups(reader: Utility, seed: int) -> Iterator[tuple[list[str], list[list[str]], Any]]:
    """Endless steps of (prompts, answers of each, utility of each answer)."""
    rng = random.Random(seed)
    train, _ = requests()
    while True:
        chosen = [pick(rng, train) for _ in range(PROMPTS_PER_STEP)]
        prompts = [request.text(pick(rng, REQUESTS)) for request in chosen]
        groups = [answers(rng, request, ANSWERS_PER_PROMPT, OLDER_POLICY) for request in chosen]
        utilities = [
            [reader(p, a) for a in group] for p, group in zip(prompts, groups, strict=True)
        ]
        yield prompts, groups, np.array(utilities)


def bradley_terry_loss(rewards: torch.Tensor, first_wins: torch.Tensor) -> torch.Tensor:
    """Mean of -log sigmoid(winner - loser) over all pairs inside each prompt.

    Args:
        rewards: (p, N) rewards.
        first_wins: (p, pairs) share of annotators who prefer the first of `triu_indices(N)`.
    """
    a, b = torch.triu_indices(rewards.shape[1], rewards.shape[1], offset=1)
    margins = rewards[:, a] - rewards[:, b]
    return torch.nn.functional.binary_cross_entropy_with_logits(margins, first_wins)


def train(recipe: Recipe, folder: Path) -> None:
    """Train one reward model and save it in the Hugging Face format."""
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, recipe.seed)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=recipe.steps, pct_start=0.1
    )
    draw = np.random.default_rng(recipe.seed)
    a, b = np.triu_indices(ANSWERS_PER_PROMPT, 1)
    groups = training_groups(recipe.reader, recipe.seed)
    for _ in range(recipe.steps):
        prompts, responses, utilities = next(groups)
        rows = [
            token_ids(tokenizer, prompt, response)
            for prompt, group in zip(prompts, responses, strict=True)
            for response in group
        ]
        preferred = 1 / (1 + np.exp(utilities[:, b] - utilities[:, a]))
        labels = torch.tensor(draw.binomial(READERS, preferred) / READERS, dtype=torch.float32)
        loss = bradley_terry_loss(rewards_of(model, rows).view(labels.shape[0], -1), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def scores(folder: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """(P, N) rewards of a saved model on pool rows."""
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = LlamaForSequenceClassification.from_pretrained(folder, use_safetensors=True)
    model.eval()
    with torch.no_grad():
        found = [
            rewards_of(model, [token_ids(tokenizer, row["prompt"], a) for a in row["responses"]])
            for row in rows
        ]
    return torch.stack(found).double().numpy()
