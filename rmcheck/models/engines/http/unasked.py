"""Runs that only look, such as `pytest --collect-only`: no server is asked anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, Never

from rmcheck.errors import UsageError
from rmcheck.models.model import RewardModel

_ASKS = ContextVar("asks_servers", default=True)


class UnaskedError(Exception):
    """A server would have to be asked, and this run asks none."""


class UnaskedModel(RewardModel):
    """Stands where a model could only be opened by asking a server.

    Args:
        spec: The model as the user named it.
    """

    scheme: ClassVar[str] = "unasked"
    kept = False

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.fingerprint = f"unasked {spec}"

    def load(self) -> Never:
        """Never loads.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.spec}: its server is not asked in this run")


@contextmanager
def asking(allowed: bool) -> Iterator[None]:
    """Meanwhile servers may be asked, or may not."""
    token = _ASKS.set(allowed)
    try:
        yield
    finally:
        _ASKS.reset(token)


def require_asking(url: str) -> None:
    """Refuse to ask a server in a run that asks none.

    Raises:
        UnaskedError: It is such a run.
    """
    if not _ASKS.get():
        raise UnaskedError(url)
