"""RM-Bench's style matrix: accuracy over its slices is RM-Bench's own result."""

import json
from pathlib import Path

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.reading import read_pool

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rm_bench"
STYLES = ("concise", "detailed_plain", "detailed_markdown")
SAMPLING = Sampling(resamples=100)


def rm_bench_results(rows, score):
    """RM-Bench's `compute_accuracy`: strict comparisons, a matrix of chosen × rejected styles."""
    matrix = np.zeros((3, 3))
    for row in rows:
        chosen, rejected = ([score(text) for text in row[key]] for key in ("chosen", "rejected"))
        matrix += np.greater.outer(chosen, rejected)
    matrix /= len(rows)
    return {
        "matrix": matrix,
        "hard": matrix[np.triu_indices(3, 1)].mean(),
        "normal": np.diag(matrix).mean(),
        "easy": matrix[np.tril_indices(3, -1)].mean(),
    }


def as_rewards(pool, score):
    """The pool's rewards with its slices, every row a unit."""
    return Rewards.from_arrays(
        [[score(text) for text in prompt.responses] for prompt in pool.prompts],
        [prompt.labels["golden"] for prompt in pool.prompts],
        clusters=[prompt.cluster for prompt in pool.prompts],
        slices={
            name: [prompt.slices[name] for prompt in pool.prompts]
            for name in ("domain", "difficulty", "chosen_style", "rejected_style")
        },
    )


def strict(rewards, **where):
    """Accuracy with ties wrong on a slice."""
    return measure(Accuracy(ties="wrong"), rewards, where=where, sampling=SAMPLING).estimate.value


def assert_same_results(rows, rewards, score, domain):
    """Every cell, the three difficulties, and the domain's average are RM-Bench's."""
    expected = rm_bench_results(rows, score)
    kinds = ("hard", "normal", "easy")
    cells = [
        [strict(rewards, domain=domain, chosen_style=good, rejected_style=bad) for bad in STYLES]
        for good in STYLES
    ]
    found = {kind: strict(rewards, domain=domain, difficulty=kind) for kind in kinds}

    np.testing.assert_allclose(cells, expected["matrix"], atol=1e-12)
    assert found == pytest.approx({kind: expected[kind] for kind in kinds}, abs=1e-12)
    average = np.mean([expected[kind] for kind in kinds])
    assert strict(rewards, domain=domain) == pytest.approx(average, abs=1e-12)


def test_slices_give_rm_benchs_numbers(tmp_path):
    """Two domains of made-up rows, ties among them."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": i,
            "domain": domain,
            "prompt": f"question {i}",
            "chosen": [f"{'a' * n} good {i}" for n in rng.integers(1, 5, 3)],
            "rejected": [f"{'a' * n} evil {i}" for n in rng.integers(1, 5, 3)],
        }
        for i, domain in enumerate(["chat", "code"] * 20)
    ]
    path = tmp_path / "rm_bench.json"
    path.write_text(json.dumps(rows), encoding="utf-8")

    rewards = as_rewards(read_pool(path, format="rm_bench"), len)

    assert rewards.units == 40
    for domain in ("chat", "code"):
        assert_same_results([r for r in rows if r["domain"] == domain], rewards, len, domain)


@pytest.mark.parametrize("domain", ["chat", "code"])
def test_slices_give_rm_benchs_numbers_on_its_own_files(domain):
    """The longer answer, as a proxy, has the matrix that RM-Bench's own code gives it."""
    path = REAL / f"{domain}_filtered.json"
    if not path.exists():
        pytest.skip("RM-Bench's files are not beside this checkout")
    rows = json.loads(path.read_text(encoding="utf-8"))
    rewards = as_rewards(read_pool(path), len)

    assert_same_results(rows, rewards, len, domain)
