"""How many tokens a batch should have: rmcheck with other budgets, against one text at a time.

    python benchmarks/budgets.py                    # writes benchmarks/results/budgets.json

This is where the defaults of `rmcheck.scoring.batches` are from. The texts, the model and the clock
are those of scoring.py.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

from scoring import Contender, Race, machine, raced
from scoring_worlds import SETS, SHAPES, made_up_samples, saved_model, word_tokenizer

RESULTS = Path(__file__).parent / "results" / "budgets.json"
PADDED = {"cpu": (256, 512, 1024, 2048), "cuda": (4096, 16_384, 65_536)}
PACKED = {"cpu": (2048, 4096, 8192, 16_384), "cuda": (4096, 8192, 16_384, 32_768, 65_536)}
SET = "8 responses"


def budgets(race: Race, rounds: int) -> dict[str, float]:
    """Speed-ups over one by one."""
    contenders: dict[str, Contender] = {"one by one": race.one_by_one}
    for budget in PADDED[race.device]:
        contenders[f"prefix=off, budget {budget}"] = partial(race.rmcheck, race.padded, budget)
    for budget in PACKED[race.device]:
        contenders[f"prefix=shared, budget {budget}"] = partial(race.rmcheck, race.shared, budget)
    found = raced(contenders, rounds, race.device, None)
    return {name: result["speed_up"] for name, result in found.items()}


def main() -> None:
    """Measure, print, write the JSON file."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=SHAPES, default="36m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        saved_model(Path(place), word_tokenizer(), chosen.shape, chosen.device, chosen.dtype)
        race = Race(Path(place), made_up_samples(*SETS[SET]), chosen.device, chosen.dtype)
        found = budgets(race, chosen.rounds)
    RESULTS.write_text(
        json.dumps({"machine": machine(), **vars(chosen), "budgets": found}, indent=2) + "\n"
    )
    print("\n".join(f"{name:32}{speed_up:6.2f}" for name, speed_up in found.items()))


if __name__ == "__main__":
    main()
