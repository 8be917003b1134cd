"""Makes the quickstart from nothing: the pool and the three reward models.

    python suites/quickstart/make.py            # writes pool.jsonl.gz and models/, about 8 minutes
    python suites/quickstart/make.py --check    # makes them again elsewhere, and compares

The pool must come out the same to the byte. Training on another processor may round differently,
so a model made again must only give nearly the same rewards.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from train import RECIPES, scores, train
from world import write_pool

HERE = Path(__file__).parent
POOL = "pool.jsonl.gz"
MODELS = "models"
# Least correlation, inside prompts, of the rewards of a model and of the same model made again.
AGREEMENT = 0.98


def make(folder: Path) -> None:
    """Write the pool and the models into a folder."""
    write_pool(folder / POOL)
    for name, recipe in RECIPES.items():
        started = time.perf_counter()
        train(recipe, folder / MODELS / name)
        print(f"{name}: {recipe.steps} steps, {time.perf_counter() - started:.0f} s")


def agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson correlation of two (P, N) rewards, each prompt's mean taken out."""
    centred = [rewards - rewards.mean(axis=1, keepdims=True) for rewards in (first, second)]
    return float(np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1])


def read_pool(path: Path) -> list[dict[str, Any]]:
    """The rows of a pool."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def check() -> list[str]:
    """Make everything again and say what is not as it is in this folder."""
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        again = Path(name)
        make(again)
        # Compressors differ between builds of Python; what was compressed must not.
        pools = [gzip.decompress((folder / POOL).read_bytes()) for folder in (HERE, again)]
        if pools[0] != pools[1]:
            wrong.append(f"{POOL} is not what world.py makes")
        rows = read_pool(HERE / POOL)
        for model in RECIPES:
            kept, made = (scores(folder / MODELS / model, rows) for folder in (HERE, again))
            found = agreement(kept, made)
            most = float(np.abs(kept - made).max())
            print(f"{model}: agreement {found:.4f}, largest difference {most:.2g}")
            if found < AGREEMENT:
                wrong.append(f"{model} agrees only {found:.4f} with its remake, not {AGREEMENT}")
    return wrong


def main() -> int:
    """Make, or make again and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is here")
    if not parser.parse_args().check:
        make(HERE)
        return 0
    wrong = check()
    for problem in wrong:
        print(problem, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
