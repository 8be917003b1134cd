"""The file of a laboratory, read whole: all its faults at once."""

from dataclasses import dataclass
from pathlib import Path

from rmcheck.config.file import open_file, read_versioned
from rmcheck.config.mapping import Section, Version
from rmcheck.config.section import refuse_unknown
from rmcheck.lab.family import reading as family_reading
from rmcheck.lab.family.recipe import Family
from rmcheck.lab.rl import reading as rl_reading
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


LABORATORY = Section(
    Laboratory,
    {"lab": Version(), **family_reading.KEYS, **rl_reading.KEYS},
    ("lab", "preferences", "reward_models"),
)


def read_laboratory(path: Path) -> Laboratory:
    """Read a file; paths in it are relative to it.

    Raises:
        SuiteError: All problems of the file, each with line, column and excerpt.
    """
    begin = "A laboratory begins with `lab: 1`, then has `preferences:` and `reward_models:`."
    source = open_file(path)
    top = read_versioned(source, "lab", "a laboratory", begin)
    takes = f"A laboratory takes: {', '.join(LABORATORY.table)}."
    refuse_unknown(top, LABORATORY.table, "", source, takes)
    family = family_reading.read_family(top, source)
    optimization = rl_reading.read_optimization(top, family, source)
    if family is None or source.problems:
        raise source.error()
    return Laboratory(path, family, optimization)
