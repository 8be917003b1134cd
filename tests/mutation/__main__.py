"""`python -m tests.mutation --mutants 300`: which share of wrong mathematics the tests notice."""

import argparse
import math
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mutants import Mutant, explained, sampled, unchanged
from processes import OUTPUT, survives
from reached import Reached

FOLDERS = ("tests/metrics", "tests/stats", "tests/regret", "tests/checks")


def main() -> int:
    """Try a sample of mutants; 1 when fewer are killed than asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("tests", nargs="*", type=Path, help=f"files; default: {FOLDERS}")
    parser.add_argument("--mutants", type=int, default=300, help="about so many (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other mutants")
    parser.add_argument("--only", default="", help="part of a path, to mutate one module")
    parser.add_argument("--seconds", type=float, default=5, help="of CPU for the tests of one")
    parser.add_argument("--at-least", type=float, default=0.9, help="the share to be killed")
    options = parser.parse_args()
    files = options.tests or sorted(f for name in FOLDERS for f in Path(name).glob("test_*.py"))
    reached = Reached(files)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    mutants = sampled(options.mutants, options.seed, options.only)
    first = unchanged(mutants[0].path)
    if not survives(first, reached.tests(first, options.seconds), seconds=60):
        raise SystemExit(f"{first.path} fails as it is; see {OUTPUT}")
    with suppress(KeyboardInterrupt):  # what was tried until then is a sample too
        for number, mutant in enumerate(mutants, 1):
            counts[mutant.path][tried(f"{number}/{len(mutants)}", mutant, reached, options)] += 1
    return report(counts, options.at_least)


def tried(number: str, mutant: Mutant, reached: Reached, options: argparse.Namespace) -> str:
    """What became of a mutant; shown where no test fails."""
    names = reached.tests(mutant, options.seconds)
    if names and not survives(mutant, names, seconds=10 + 5 * options.seconds):
        return "killed"
    found = "equivalent" if explained(mutant) else "survived"
    print(f"{number} {mutant.path}:{mutant.line}: {len(names)} tests pass, {found}")
    print(f"    - {mutant.before}\n    + {mutant.after}", flush=True)
    return found


def report(counts: dict[str, Counter[str]], at_least: float) -> int:
    """Print the score of every module and of all; 1 when it is too low."""
    total = sum(counts.values(), Counter())
    for path, found in {**counts, "all": total}.items():
        print(f"{path:36} " + "  ".join(f"{n} {name}" for name, n in sorted(found.items())))
    tried = total["killed"] + total["survived"]
    score = total["killed"] / tried
    error = math.sqrt(score * (1 - score) / tried)
    print(f"killed {score:.1%} of {tried} (standard error {error:.1%}), {at_least:.0%} wanted")
    return int(score < at_least)


if __name__ == "__main__":
    sys.exit(main())
