"""The file of a laboratory, read whole: all its faults at once."""

from dataclasses import dataclass
from pathlib import Path

from rmcheck.lab.family.reading import read_family
from rmcheck.lab.family.recipe import Family
from rmcheck.lab.reading import read_top
from rmcheck.lab.rl.reading import read_optimization
from rmcheck.lab.rl.settings import Optimization


@dataclass(frozen=True)
class Laboratory:
    """What a file describes.

    Attributes:
        path: The file.
        family: The reward models to train.
        optimization: The policies to optimise; None where the file has none.
    """

    path: Path
    family: Family
    optimization: Optimization | None


def read_laboratory(path: Path) -> Laboratory:
    """Read a file; paths in it are relative to it.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    top, source = read_top(path)
    family = read_family(top, path, source)
    names = [recipe.name for recipe in family.recipes] if family else []
    optimization = read_optimization(top, path, names, source) if family else None
    if family is None or source.problems:
        raise source.error()
    return Laboratory(path, family, optimization)
