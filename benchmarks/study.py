"""Ten reward models of real text with flipped labels, studied as arXiv 2410.05584 studied its own.

    python benchmarks/study.py --pool POOL.jsonl.gz --out runs/study
    rmcheck study runs/study/each.yaml --out runs/study/each
    rmcheck study runs/study/judge.yaml --out runs/study/judge

The pool is native with `golden`, a judge's preference. Two thirds of the prompts train ten models
that are alike but for the share of their labels that is flipped, 0 to 45 %: Bradley-Terry on
hashed word and letter counts of a response, and its length. The other third is scored and written
with the rewards as columns, beside two studies: each model golden in turn, the judge among them,
and the judge for all. No weights are needed and nothing is downloaded.
"""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.feature_extraction.text import HashingVectorizer

FLIPS = [0.05 * i for i in range(10)]
PAIRS_PER_PROMPT = 40
# The quadratic term; of one that is too small the ten models would learn the flips by heart.
RIDGE = 3e-4
STUDY = """study: 1
name: {name}
pool: {{path: pool.jsonl.gz, category: {category}}}
golden: {golden}
models:
{models}
per_prompt: 54
kl_penalties: [0.5, 1, 2]
"""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a native pool."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def features(responses: list[str]) -> csr_matrix:
    """(M, F) what the models see of M responses."""
    words = HashingVectorizer(n_features=2**15, ngram_range=(1, 2), norm="l2", alternate_sign=False)
    letters = HashingVectorizer(n_features=2**13, analyzer="char", ngram_range=(2, 3), norm="l2")
    sizes = np.array([[len(r), len(r.split()), r.count("\n")] for r in responses], dtype=float)
    parts = [words.transform(responses), letters.transform(responses), 0.1 * np.log1p(sizes)]
    return csr_matrix(hstack([csr_matrix(part) for part in parts]))


def pairs_of(rows: list[dict[str, Any]], rng: np.random.Generator) -> np.ndarray:
    """(n, 2) positions of a better and a worse response, by the judge."""
    found, start = [], 0
    for row in rows:
        golden = np.array(row["golden"], dtype=float)
        first, second = rng.integers(golden.size, size=(2, PAIRS_PER_PROMPT))
        apart = golden[first] != golden[second]
        better = np.where(golden[first] > golden[second], first, second)[apart]
        worse = np.where(golden[first] > golden[second], second, first)[apart]
        found.append(start + np.stack([better, worse], axis=1))
        start += golden.size
    return np.concatenate(found)


def trained(x: csr_matrix, pairs: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """(F,) weights of the Bradley-Terry model whose labels are turned where `flipped`."""
    margin = x[pairs[:, 0]] - x[pairs[:, 1]]
    sign = np.where(flipped, -1.0, 1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        reward = sign * (margin @ weights)
        slope = -(sign * expit(-reward)) @ margin / len(pairs)
        return (
            float(np.logaddexp(0, -reward).mean() + RIDGE * weights @ weights),
            slope + 2 * RIDGE * weights,
        )

    start = np.zeros(x.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def split(
    rows: list[dict[str, Any]], rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two thirds of the prompts to train on, and the others."""
    order = rng.permutation(len(rows))
    cut = 2 * len(rows) // 3
    return [rows[i] for i in order[:cut]], [rows[i] for i in order[cut:]]


def column(share: float) -> str:
    """Of the pool, with the rewards of the model for which this share of labels was flipped."""
    return f"flips_{100 * share:.0f}"


def write_study(out: Path, test: list[dict[str, Any]]) -> None:
    """The pool with its columns, and the two studies of it."""
    out.mkdir(parents=True, exist_ok=True)
    with gzip.open(out / "pool.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in test)
    models = "\n".join(f"  {name}: {{column: {name}}}" for name in ["golden", *map(column, FLIPS)])
    for name, golden in (("each", "each"), ("judge", "golden")):
        text = STUDY.format(name=name, golden=golden, models=models, category="category")
        (out / f"{name}.yaml").write_text(text, encoding="utf-8")


def main() -> None:
    """Train, score, and write the pool with its two studies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    train, test = split(read_rows(chosen.pool), rng)
    x, pairs = features([r for row in train for r in row["responses"]]), pairs_of(train, rng)
    seen = features([r for row in test for r in row["responses"]])
    ends = np.cumsum([0, *(len(row["responses"]) for row in test)])
    uniform = rng.random((len(FLIPS), len(pairs)))
    for share, draw in zip(FLIPS, uniform, strict=True):
        rewards = seen @ trained(x, pairs, draw < share)
        for row, start, stop in zip(test, ends, ends[1:], strict=False):
            row[column(share)] = rewards[start:stop].round(6).tolist()
        print(f"{share:.2f} of {len(pairs)} labels flipped", flush=True)
    write_study(chosen.out, test)


if __name__ == "__main__":
    main()
