"""The libraries of the laboratory: whether they are there, and quiet."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rmcheck.errors import MissingDependencyError
from rmcheck.models.libraries import quiet_transformers

PACKAGES = ("torch", "transformers", "trl", "torchrl", "tensordict", "peft", "accelerate")


def require_laboratory() -> None:
    """Refuse to begin where a package of the extra is missing.

    Raises:
        MissingDependencyError: One is; says the pip command.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the laboratory needs {', '.join(missing)}. "
            'Install it with: pip install "rmcheck[lab]"'
        )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars, no tables and no advice on the terminal while models are trained.

    Raises:
        MissingDependencyError: See `require_laboratory`.
    """
    require_laboratory()
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import disable_progress_bars

        disable_progress_bars()
        yield
