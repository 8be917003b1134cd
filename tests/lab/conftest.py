"""What the tests of the laboratory share: its packages, and the example's policy and world."""

import importlib
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from rmcheck.errors import SuiteError
from rmcheck.lab.file import read_laboratory

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


@pytest.fixture
def read(tmp_path):
    """Reads a text as the file of a laboratory, in a folder with a base."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")

    def reader(text):
        path = tmp_path / "lab.yaml"
        path.write_text(text)
        return read_laboratory(path)

    return reader


@pytest.fixture
def problems(read):
    """(line, message) of everything that is wrong with a text."""

    def found(text):
        with pytest.raises(SuiteError) as caught:
            read(text)
        return [(problem.line, problem.message) for problem in caught.value.problems]

    return found


@pytest.fixture
def one_of_each(tmp_path, policy_folder):
    """The file of a laboratory with one reward model and one optimiser; takes further keys."""

    def written(more=""):
        path = tmp_path / "lab.yaml"
        path.write_text(f"""\
lab: 1
preferences: {{path: pairs.jsonl}}
reward_models: [{{name: a, seed: 1, base: {policy_folder}}}]
golden: {{model: "hf:a"}}
policy: {{model: {policy_folder}, prompts: p, test_prompts: t}}
optimizers: [{{name: bon, kind: best_of_n, n: [4]}}]
{more}
""")
        return path

    return written
