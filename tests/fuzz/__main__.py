"""`python -m tests.fuzz --seconds 600`: a longer campaign than the tests run."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from campaign import TARGETS, fuzzed, table


def main() -> int:
    """Fuzz some readers or all; 1 when another exception than ours came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="in all (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="another one tries other inputs")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to write what failed")
    options = parser.parse_args()
    names = options.readers or list(TARGETS)
    share = options.seconds / len(names)
    found = {}
    for name in names:
        found[name] = fuzzed(TARGETS[name], seed=options.seed, most=10**9, seconds=share)
        for number, (site, data) in enumerate(found[name].sites.items()):
            print(f"{name}: {site}", flush=True)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{name}-{number}").write_bytes(data)
    print("\n".join(table(found)))
    return int(any(one.sites for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
