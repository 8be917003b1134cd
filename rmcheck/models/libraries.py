"""torch and transformers: imported late, quiet, and their errors in a few words."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rmcheck.errors import MissingDependencyError


def engine() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        MissingDependencyError: One of them is not installed; says the pip command.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"models in checkpoint folders need torch and transformers ({error}). "
            'Install them with: pip install "rmcheck[hf]"'
        ) from error
    return torch, transformers


class ForeignError(Exception):
    """An error of another process: what `brief` said of it there."""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no tables on the terminal: what they would say is checked instead."""
    _, transformers = engine()
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def brief(error: BaseException) -> str:
    """The first lines of a foreign error, which may run to pages."""
    if isinstance(error, ForeignError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:600]
