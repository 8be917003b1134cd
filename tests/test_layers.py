"""The architecture, stated once and checked: who may import whom."""

import ast
import graphlib
import re
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
    "hub",
    "stats",
    "metrics",
    "pool",
    "config",
    "models",
    "policies",
    "store",
    "scoring",
    "history",
    "rl_logs",
    "checks",
    "probes",
    "suite",
    "run",
    "hooks",
    "reports",
    "testing",
    "pytest_plugin",
    "cli",
    "lab",
)
MAY_IMPORT = {room: set(ROOMS[:i]) for i, room in enumerate(ROOMS)}
# The same list inside a room that is large enough to have one.
INNER_ROOMS = {
    "models": (
        "spec",
        "trust",
        "sample",
        "workers",
        "libraries",
        "model",
        "checkpoint",
        "text",
        "engines",
        "proof",
        "kinds",
        "registry",
    ),
}
# Public names are gathered at the door, lazily; the door itself belongs to no room.
DOOR = "__init__"
ONLY_IN_PLUGIN = {"pytest", "_pytest", "pluggy"}
# A module or a class of it, as tables of lazy imports name them.
NAMED = re.compile(r"rmcheck(?:\.\w+)+(?::\w+)?")
FOLDERS = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
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


def named_modules(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of what a string names to be imported later."""
    return [
        (node.lineno, node.value.partition(":")[0])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and NAMED.fullmatch(node.value)
        and node.value.removeprefix("rmcheck.") not in FOLDERS  # a word, such as a tag of MLflow
    ]


def dotted(path: Path, package: Path) -> str:
    """A file's name as an import writes it."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == DOOR else parts)


def circles(package: Path) -> list[list[str]]:
    """Modules that import each other: at the top, inside functions, for types, or by string."""
    files = {dotted(path, package): path for path in package.rglob("*.py")}
    imports: dict[str, set[str]] = {}
    for module, path in files.items():
        names = [name for _, name in imported_names(path) + named_modules(path)]
        # `from a.b import c` imports the module a.b.c, or c of the module a.b.
        found = {n if n in files else n.rpartition(".")[0] for n in names}
        imports[module] = (found & files.keys()) - {module}
    reached = {module: reachable(imports, module) for module in imports}
    joined = {
        tuple(sorted(other for other in near if module in reached[other]))
        for module, near in reached.items()
        if module in near
    }
    return [list(circle) for circle in sorted(joined)]


def reachable(imports: dict[str, set[str]], module: str) -> set[str]:
    """All modules that importing one leads to."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def test_the_table_names_every_room_that_exists():
    """A new folder or file at the top of the package must be given its place."""
    found = {room_of(path) for path in modules()} - {DOOR}

    assert found <= set(ROOMS)


def test_the_page_of_the_architecture_lists_the_rooms_in_this_order():
    """Whoever reads ARCHITECTURE.md sees the table that is checked here."""
    page = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
    rows = re.findall(r"^\| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert tuple(rows) == ROOMS


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


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_names_in_strings_only_point_up_the_list(path):
    """What a module imports by its name in a table obeys the same list."""
    room = room_of(path)
    if room == DOOR:
        return
    for line, name in named_modules(path):
        other = name.split(".")[1]
        if other in ROOMS:
            assert other == room or other in MAY_IMPORT[room], (
                f"{path}:{line}: {room} must not name {other}"
            )


@pytest.mark.parametrize("room", INNER_ROOMS)
def test_a_large_room_is_laid_out_by_a_list_of_its_own(room):
    """Inside it, too, modules import and name what is above them in the list, nothing below."""
    inner = INNER_ROOMS[room]
    for path in sorted((PACKAGE / room).rglob("*.py")):
        here = path.relative_to(PACKAGE / room).parts[0].removesuffix(".py")
        if here == DOOR:
            continue
        for line, name in imported_names(path) + named_modules(path):
            parts = name.split(".")
            if parts[:2] == ["rmcheck", room]:
                assert parts[2] in inner[: inner.index(here) + 1], (
                    f"{path}:{line}: {here} must not import {parts[2]}"
                )


def test_no_modules_import_each_other():
    """No circle in the package: imports at the top, in functions, for types and by string."""
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from rmcheck.b import x", "import rmcheck.a"),
        ("from rmcheck import b", "def f():\n    from rmcheck.a import y"),
        ("from rmcheck.b import x", "if TYPE_CHECKING:\n    from rmcheck.a import Y"),
        ("TABLE = {'b': 'rmcheck.b:X'}", "from rmcheck.a import y"),
        ("SHIPPED = ('rmcheck.b',)", "from rmcheck.a import y"),
    ],
    ids=["at the top", "in a function", "for types", "by a class's name", "by a module's name"],
)
def test_a_circle_is_found_however_it_is_written(first, second, tmp_path):
    """Two modules that import each other are named, and a third beside them is not."""
    package = tmp_path / "rmcheck"
    package.mkdir()
    for name, text in {"__init__": "", "a": first, "b": second, "c": "import rmcheck.a"}.items():
        (package / f"{name}.py").write_text(f"{text}\n", encoding="utf-8")

    assert circles(package) == [["rmcheck.a", "rmcheck.b"]]


def test_no_two_public_classes_share_a_name():
    """One word, one meaning: also for classes of different rooms."""
    names = [
        node.name
        for path in modules()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]

    assert sorted({name for name in names if names.count(name) > 1}) == []


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
