"""What the tests of the laboratory share: its packages, and the example's policy and world."""

import importlib
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "suites" / "lab"
PACKAGES = ("torch", "transformers", "trl", "torchrl", "peft")
MISSING = [name for name in PACKAGES if find_spec(name) is None]


@pytest.fixture(scope="session")
def laboratory():
    """Skips where the extra is not installed, and imports it with its own warnings ignored."""
    if MISSING:
        pytest.skip(f'{", ".join(MISSING)} not installed: pip install "rmcheck[lab]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("trl.trainer.reward_trainer", "torchrl.objectives"):
            importlib.import_module(name)


@pytest.fixture(scope="session")
def world():
    """The example's world: what an answer is worth."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        return importlib.import_module("waiters")
    finally:
        with suppress(ValueError):
            sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="session")
def policy_folder():
    """The example's policy: a Llama of two layers."""
    return EXAMPLE / "policy"
