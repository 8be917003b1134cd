"""The architecture, stated once and checked: who may import whom."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import rmcheck

PACKAGE = Path(rmcheck.__file__).parent

# A room may import the rooms above it in this list, and nothing below.
ROOMS = (
    "wording",
    "parsing",
    "errors",
    "stats",
    "metrics",
    "pool",
    "models",
    "policies",
    "store",
    "scoring",
    "regret",
    "checks",
    "suite",
    "runner",
    "reports",
    "testing",
    "pytest_plugin",
    "cli",
)
MAY_IMPORT = {room: set(ROOMS[:i]) for i, room in enumerate(ROOMS)}
# Public names are gathered at the door, lazily; the door itself belongs to no room.
DOOR = "__init__"
ONLY_IN_PLUGIN = {"pytest", "_pytest", "pluggy"}
# stats is arrays in, estimate out: it has never heard of rewards.
BOTTOM = {"stats": {"numpy", "scipy", "threadpoolctl"}}


def modules() -> list[Path]:
    """All source files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The first part of the path inside the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import hides its room"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_the_table_names_every_room_that_exists():
    """A new folder or file at the top of the package must be given its place."""
    found = {room_of(path) for path in modules()} - {DOOR}

    assert found <= set(ROOMS)


def test_the_table_has_no_cycle():
    """The rooms can be put in an order in which each imports only earlier ones."""
    assert set(graphlib.TopologicalSorter(MAY_IMPORT).static_order()) == set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_point_up_the_list(path):
    """Each module imports its own room and the rooms above it, nothing below."""
    room = room_of(path)
    if room == DOOR:
        return
    for line, name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "rmcheck" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], (
                f"{path}:{line}: {room} must not import {parts[1]}"
            )
        if parts[0] in ONLY_IN_PLUGIN:
            assert room == "pytest_plugin", f"{path}:{line}: only pytest_plugin imports {parts[0]}"
        if room in BOTTOM and parts[0] not in sys.stdlib_module_names:
            assert parts[0] in BOTTOM[room] | {"rmcheck"}, f"{path}:{line}: {room} imports {name}"


@pytest.mark.parametrize("module", ["rmcheck", "rmcheck.pytest_plugin"])
def test_importing_costs_nothing_heavy(module):
    """Neither the package nor the plugin imports numpy, yaml, pyarrow, torch or transformers."""
    heavy = ["numpy", "scipy", "yaml", "pyarrow", "torch", "transformers"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_gate_of_a_fresh_clone_needs_no_tool_of_the_tests():
    """`make gate` runs pytest under the checkout's own conftest.py with `.[hf]` alone installed."""
    conftest = PACKAGE.parent / "conftest.py"
    if not conftest.is_file():
        pytest.skip("the package is not imported from a checkout")
    found = {name.partition(".")[0] for _, name in imported_names(conftest)}

    assert found <= set(sys.stdlib_module_names) | {"pytest", "rmcheck"}
