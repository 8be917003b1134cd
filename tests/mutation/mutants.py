"""Draws mutants of the mathematics: small changes of the source, by cosmic-ray's operators."""

import ast
import itertools
import random
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

ROOMS = ("rmcheck/metrics", "rmcheck/stats")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True)
class Mutant:
    """One changed place of one module.

    Attributes:
        path: The module, from the root of the repository.
        line: Where, from 1.
        before: The line, as it is and without indentation.
        after: The same line of the mutant; empty where it is gone.
        source: The whole module, mutated.
        at_import: Whether it is in no function, so that it runs when the module is imported.
    """

    path: str
    line: int
    before: str
    after: str
    source: str
    at_import: bool = True


def sampled(number: int, seed: int, only: str = "") -> list[Mutant]:
    """About so many mutants, each module's share by its places; at a place one of the changes.

    A place counts once, however many operators fit: `a + b` has eleven replacements, most of
    which no test could miss.
    """
    modules = {path: places(Path(path)) for path in modules_of_the_rooms() if only in path}
    share = number / sum(map(len, modules.values()))
    mutants = []
    for path, found in modules.items():
        rng = random.Random(f"{seed} {path}")
        rng.shuffle(found)
        drawn = (mutant for changes in found if (mutant := one_of(path, changes, rng)))
        count = max(1, round(share * len(found)))
        mutants += itertools.islice(drawn, count)
    random.Random(seed).shuffle(mutants)  # a run that is broken off has seen some of every module
    return mutants


def unchanged(path: str) -> Mutant:
    """A module as it is, which all tests must let live."""
    return Mutant(path, 1, "", "", Path(path).read_text())


def modules_of_the_rooms() -> list[str]:
    """Every module, from the root of the repository."""
    return sorted(str(path) for room in ROOMS for path in Path(room).glob("*.py"))


def places(path: Path) -> list[list[tuple[str, int, int]]]:
    """The places that can be changed: operators that fit, their running numbers, and the line."""
    nodes = list(ast_nodes(get_ast(path.read_text())))
    found = defaultdict(list)
    operators = OperatorProvider()
    for name in operators:
        if operators[name].arguments():  # it renames given variables; we give none
            continue
        operator = operators[name]()
        positions = (where for node in nodes for where in operator.mutation_positions(node))
        for number, where in enumerate(positions):
            found[where].append((name, number, where[0][0]))
    return list(found.values())


def one_of(path: str, changes: list[tuple[str, int, int]], rng: random.Random) -> Mutant | None:
    """A change that Python accepts and that does more than another annotation."""
    original = Path(path).read_text()
    for name, number, line in rng.sample(changes, len(changes)):
        mutated = mutate_code(original, OperatorProvider()[name](), number)
        if mutated is not None and works_otherwise(original, mutated):
            before, after = (source.splitlines() for source in (original, mutated))
            shown = after[line - 1].strip() if len(before) == len(after) else ""
            outside = not any(line in body for body in bodies(original))
            return Mutant(path, line, before[line - 1].strip(), shown, mutated, outside)
    return None


def bodies(source: str) -> list[range]:
    """The lines of every function."""
    return [
        range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]


def works_otherwise(original: str, mutated: str) -> bool:
    """Whether the mutant is Python and differs in more than annotations."""
    try:
        return running_part(mutated) != running_part(original)
    except SyntaxError:
        return False


def running_part(source: str) -> str:
    """The syntax tree without annotations."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
    return ast.dump(tree)


def explained(mutant: Mutant) -> bool:
    """Whether `equivalent.toml` says why no test can tell it from the original."""
    entries = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    shown = {"path": mutant.path, "before": mutant.before, "after": mutant.after}
    return any(
        all(fits(entry.get(key, "*"), text) for key, text in shown.items()) for entry in entries
    )


def fits(wanted: str, text: str) -> bool:
    """Equal, or equal up to a star at the end."""
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted
