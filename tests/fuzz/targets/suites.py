"""Suites, and files of probes."""

import math
from pathlib import Path

from rmcheck.probes.probe_file import read_probes
from rmcheck.probes.templates import filled
from rmcheck.suite.loader import load_suite
from rmcheck.wording import encodable
from targets.target import DIGITS, SUITES_HERE, TESTS, Target


def suite(path: Path) -> None:
    """A suite file."""
    found = load_suite(path)
    names = [check.name for check in (*found.checks, *found.training)]
    assert names
    assert len(set(names)) == len(names)
    assert all(math.isfinite(check.criterion.bound) for check in found.checks)
    assert encodable(names) == names


SUITE = b"""\
rmcheck: 1
name: demo
pool: {path: pool.jsonl, slices: [kind]}
seed: 1
checks:
  - {name: a, metric: accuracy, at_least: 0.7, where: {kind: x}}
  - {name: b, metric: ece, bins: 10, at_most: 0.1}
"""
SUITES = [
    SUITE,
    *(path.read_bytes() for path in sorted((TESTS / "suite" / "valid").glob("*.yaml"))),
    *(path.read_bytes() for path in sorted((TESTS / "suite" / "invalid").glob("*.yaml"))[::8]),
    SUITE.replace(b"seed: 1", b"seed: " + DIGITS.encode()),
    SUITE.replace(b"bins: 10", b"bins: 1" + b"0" * 400),
    SUITE + b"<<: [&a {x: 1}, *a]\n",
]


def probes(path: Path) -> None:
    """A file of probes, each of which gives texts."""
    for probe in read_probes(path).values():
        assert all(filled(text, {"response": "a", "prompt": "b"}) for text in probe.edits)
        for item in probe.items:
            assert [filled(text, item) for text in (*probe.prompt, *probe.honest, *probe.bad)]


PROBES = [
    (SUITES_HERE / "own_probes.yaml").read_bytes(),
    b"probes: {a: {about: b, must: not_raise, edits: '{response|bullets} {response}'}}",
    b"probes: " + b"[" * 990,
]


TARGETS = {
    "suite": Target(suite, ("suite.yaml",), SUITES),
    "probes": Target(probes, ("probes.yaml",), PROBES),
}
