"""Whose word may run code: the user's, and that of files only where the user says so.

A suite may come from a stranger. It may name models, files of others among them, and no code.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rmcheck.errors import UsageError
from rmcheck.models.spec import ModelSpec

# Schemes that name a module of the user's.
FUNCTIONS = ("python", "trl", "verl", "openrlhf", "slime", "verifiers")
_trusted = False


@contextmanager
def trusting(files: bool) -> Iterator[None]:
    """Let files name code while this lasts; False leaves it as it is."""
    global _trusted
    before, _trusted = _trusted, _trusted or files
    try:
        yield
    finally:
        _trusted = before


def require_trust(spec: ModelSpec) -> None:
    """Refuse a model that runs code of its own, where only a file names it.

    Raises:
        UsageError: It does, and files are not trusted.
    """
    runs_code = spec.scheme in FUNCTIONS or spec.settings.get("trust_remote_code") == "yes"
    if spec.given or _trusted or not runs_code:
        return
    what = "a module" if spec.scheme in FUNCTIONS else "the checkpoint's own code"
    raise UsageError(
        f"{spec.text}: a file names this model, which runs {what}. If you trust the files of this "
        "run, say so: pytest --rmcheck-trust-suites, or --trust-suites for a command"
    )
