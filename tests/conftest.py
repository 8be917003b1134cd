"""What all tests share: how Hypothesis searches, and imports that must not be forgotten."""

import importlib
import os
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import nursery
import pytest
from hypothesis import HealthCheck, Phase, settings

# No deadlines and no complaint about slowness: a busy machine is no bug. On CI the examples are the
# same each time, so that a change is judged on its own; everywhere else each run tries new ones.
_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("random", **_patient)
settings.register_profile("ci", derandomize=True, max_examples=50, **_patient)
settings.register_profile(  # for `python -m tests.mutation`: whether a test fails, not on what
    "mutants",
    derandomize=True,
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    **_patient,
)
settings.load_profile("ci" if os.environ.get("CI") else "random")


@pytest.fixture(scope="session")
def imported_for_good():
    """What cannot be imported twice: parts of torch and matplotlib know each other by class."""
    once = "transformers.generation.utils", "matplotlib.figure", "matplotlib.backends.backend_svg"
    for name in once:
        with warnings.catch_warnings(), suppress(ImportError):  # it is not installed everywhere
            warnings.simplefilter("ignore")
            importlib.import_module(name)


@pytest.fixture(scope="session", autouse=True)
def _vllm_imported_once():
    """Models in vLLM share its import, where it is installed."""
    if find_spec("vllm") is None:
        yield
        return
    from vllm_nursery import nursery

    with nursery():
        yield


@pytest.fixture
def python():
    """What starts Python for pytester; a module of tests may ask for a fresh interpreter."""
    return nursery.Forked


@pytest.fixture
def charts(monkeypatch):
    """Pages of runs have no charts, which cost a second each; a module of tests may want them."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def pytester(imported_for_good, pytester, python, charts, monkeypatch):
    """Pytest's own; after a test it forgets the modules that were imported meanwhile."""

    def popen(command, *, stdout, stderr, **_):
        """Nothing is on the standard input, and the folder is where modules are found."""
        path = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        return python(command, stdin=-3, stdout=stdout, stderr=stderr, env=environment)

    monkeypatch.setattr(pytester, "popen", popen)
    if python is nursery.Forked:
        nursery.fork_workers(monkeypatch.setattr)
    # With the first two pytest prints its summary in another way, with the rest rmcheck says more.
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return pytester
