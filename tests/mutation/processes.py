"""Runs pytest in a fork, on the source as it is or on a mutant that is never written to disk."""

import importlib
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from mutants import Mutant

MEMORY = Path("build/mutants")
OPTIONS = (
    *("--quiet", "--no-header", "--tb=short", "--hypothesis-profile=mutants"),
    *("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("-p", "_hypothesis_pytestplugin"),
)
# Imported once, before all forks. Nothing of rmcheck may be: its modules are what changes.
SLOW_IMPORTS = (
    *("numpy", "scipy.stats", "scipy.optimize", "sklearn.metrics", "pyarrow"),
    *("hypothesis.extra.numpy", "_hypothesis_pytestplugin", "asyncio", "pdb", "_pytest.pytester"),
)
MEMORY_BYTES = 8 * 2**30
OUTPUT = MEMORY / "output"  # of the last run


class Chosen:
    """A pytest plugin that keeps some tests and their order."""

    def __init__(self, names: Sequence[str]):
        self.order = {name: number for number, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Forgets the tests that are not chosen."""
        items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order[item.nodeid])


class MutantLoader(SourceFileLoader):
    """Imports one module from other source than the file's."""

    def __init__(self, name: str, mutant: Mutant):
        super().__init__(name, mutant.path)
        self.mutant = mutant

    def get_code(self, fullname: str):
        """The mutant's code; no cached bytecode is read or written."""
        return compile(self.mutant.source, self.mutant.path, "exec")


class MutantFinder:
    """Finds the mutated module before anyone else does."""

    def __init__(self, mutant: Mutant):
        self.mutant = mutant
        self.name = mutant.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def find_spec(self, name: str, path: object = None, target: object = None):
        """The mutant, if it is asked for."""
        if name != self.name:
            return None
        return importlib.util.spec_from_loader(name, MutantLoader(name, self.mutant))


def survives(mutant: Mutant, names: Sequence[str], seconds: float) -> bool:
    """Whether all these tests pass on the mutant within so many CPU seconds."""

    def run() -> int:
        finder = MutantFinder(mutant)
        sys.meta_path.insert(0, finder)
        importlib.import_module(finder.name)  # now: pytest's own finder will come before ours
        files = sorted({name.partition("::")[0] for name in names})
        return pytest.main([*OPTIONS, "--exitfirst", *files], plugins=[Chosen(names)])

    status = run_pytest(run, seconds)
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise SystemExit(f"the tests of {mutant.path} are gone; delete {MEMORY}")
    return status == 0


def run_pytest(run: Callable[[], int], seconds: float) -> int:
    """Calls it in a fork; its exit status, or -signal where a limit stopped it."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    MEMORY.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 70  # what comes out when `run` itself fails
    try:
        output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # saves half of a short run
        signal.alarm(30 * int(seconds) + 60)  # a hang that uses no CPU
        status = int(run())
    finally:
        os._exit(status)
