"""The versions that `.ci/lowest` tests are the lowest that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# They need torch, of which there is one build for a CPU.
WITHOUT = {"torch", "transformers", "safetensors"}


def bounds(requirements):
    """Name to the version behind its `>=`."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", each) for each in requirements)
    return {match[1]: match[2] for match in found if match}


def padded(version):
    """Three numbers, as `1.15` and `1.15.0` are one version."""
    return (version + ".0.0").split(".")[:3]


def test_every_lower_bound_is_tested():
    """What a user may install has passed the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lowest = bounds([*project["dependencies"], *extras["hf"], *extras["test"]])
    lines = (ROOT / ".ci" / "lowest-constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)

    assert {name: padded(version) for name, version in tested.items()} == {
        name: padded(version) for name, version in lowest.items() if name not in WITHOUT
    }
