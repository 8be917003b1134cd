"""A reward model, named in a suite."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmcheck.config.document import Node
from rmcheck.config.kinds import Kind, OneLine, refuse
from rmcheck.config.source import Source
from rmcheck.errors import UsageError
from rmcheck.models.spec import parse_spec


@dataclass(frozen=True)
class ModelName(Kind):
    """`scheme:location`. Whether there is such a model is found out when it is opened."""

    def read(self, node: Node, what: str, source: Source) -> str:
        name = OneLine(example="hf:ckpt/golden-rm").read(node, what, source)
        try:
            parse_spec(name, Path.cwd())
        except UsageError as error:
            raise refuse(source, node, f"{what}: {error}") from error
        return name

    def schema(self) -> dict[str, Any]:
        """A string with a colon before any question mark."""
        return {"type": "string", "pattern": "^[^?:]*:"}
