"""What the options and ini keys of a run say."""

from pathlib import Path

import pytest


def setting(config: pytest.Config, name: str) -> str | None:
    """Value of a setting: the command line first, then the ini file."""
    given = config.getoption(f"rmcheck_{name}")
    return given if given is not None else (config.getini(f"rmcheck_{name}") or None)


def ini_folder(config: pytest.Config, name: str) -> Path | None:
    """Folder that the paths of a setting from the ini file start from; None for any other."""
    typed = config.getoption(f"rmcheck_{name}") is not None
    return None if typed or config.inipath is None else config.inipath.parent
