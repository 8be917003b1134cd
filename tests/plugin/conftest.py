"""A small pool, a suite, and the ways in which pytest is run on them."""

import importlib
import json
import random

import pytest

# pytester forgets what a run in this process has imported, and numpy, yaml and pyarrow must not be
# imported twice: whatever a run loads lazily is loaded here first.
for _name in (
    "yaml",
    "pyarrow.parquet",
    "scipy.special",
    "scipy.stats",
    "filelock",
    "jinja2",
    "tqdm",
    "rmcheck.pytest_plugin.gate",
    "rmcheck.models.kinds.fake",
    "rmcheck.models.kinds.functions.python",
    "rmcheck.models.kinds.scores_file",
):
    importlib.import_module(_name)

SUITE = """\
rmcheck: 1
name: demo
resamples: 1000
pool: {path: pool.jsonl, slices: [category]}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
  - {name: best-of-8, metric: bon_drop_ratio, n: 8, at_most: 0.15}
  - {name: no-regression, metric: accuracy, max_drop: 0.01}
  - {name: by-category, metric: accuracy, over: category, at_least: 0.60}
  - {name: worst-category, metric: accuracy, over: category, worst: true, at_least: 0.60}
"""
CHECKS = 6
OTHER = "another model than the candidate"


def pool_lines(prompts=90, responses=10, seed=0):
    """A pool in which longer answers are better, roughly."""
    rng = random.Random(seed)
    for i in range(prompts):
        golden = [round(rng.gauss(0, 1), 3) for _ in range(responses)]
        words = [max(1, int(10 + 4 * g + rng.gauss(0, 4))) for g in golden]
        row = {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"word{j} " * n + f"{i}" for j, n in enumerate(words)],
            "golden": golden,
            "category": ("code", "chat")[i % 2],
        }
        yield json.dumps(row)


@pytest.fixture
def bench(pytester):
    """A folder with `pool.jsonl` and `demo.yaml`."""
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(pool_lines()) + "\n")
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    return pytester


def runs(bench, *how):
    """Something that runs the gate with these extra arguments of pytest."""

    def run(*arguments, model="fake:perfect", baseline=OTHER):
        if baseline == OTHER:
            baseline = "fake:length_biased" if model == "fake:perfect" else "fake:perfect"
        models = [f"--rmcheck-model={model}"] if model else []
        models += [f"--rmcheck-baseline={baseline}"] if baseline else []
        if how:
            return bench.runpytest_subprocess("--rmcheck", *models, *how, *arguments)
        return bench.runpytest_inprocess("--rmcheck", *models, *arguments)

    return run


@pytest.fixture
def gate(bench):
    """Runs the gate in this process."""
    return runs(bench)


@pytest.fixture(params=[(), ("-n", "2")], ids=["plain", "xdist"])
def gate_both_ways(bench, request):
    """Runs the gate in this process, and again in a subprocess with two workers."""
    return runs(bench, *request.param)
