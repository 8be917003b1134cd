"""The YAML file that names the members of an ensemble: `ensemble:FILE.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmcheck.config.document import ListNode, Node, describe
from rmcheck.config.kinds import AsWritten, Kind, OneLine, Wrong, one_of, refuse
from rmcheck.config.section import read_section
from rmcheck.config.source import Source
from rmcheck.models.kinds.model_file import read_model_file
from rmcheck.models.spec import Setting

MEMBERS = "members"
EXAMPLE = "[hf:runs/a, hf:runs/b]"


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the user named it.

    Attributes:
        spec: `scheme:location?setting=value`.
        where: Where it is named, for messages.
        given: Whether the spec of the ensemble names it itself, not a file.
    """

    spec: str
    where: str
    given: bool = False


@dataclass(frozen=True)
class Members(Kind):
    """A list of specs."""

    def read(self, node: Node, what: str, source: Source) -> list[Member]:
        """The members in file order."""
        if not isinstance(node, ListNode):
            message = f"{what} must be a list of specs, such as {EXAMPLE}, not {describe(node)}"
            raise refuse(source, node, message)
        out = []
        for item in node.items:
            try:
                spec = OneLine(example="hf:runs/rm-7b").read(item, f"a member of {what}", source)
            except Wrong:
                continue
            out.append(Member(spec, f"{source.path}:{item.span.line}"))
        return out


def read_ensemble_file(
    path: Path, known: Sequence[Setting]
) -> tuple[list[Member], Mapping[str, str]]:
    """Members and settings of an ensemble.

    The file is a mapping: `members:` is a list of specs, and every setting of the scheme may stand
    beside it.

    Args:
        path: The file.
        known: Settings that it may have.

    Returns:
        The members in file order, and the settings that are given, as text.

    Raises:
        UnknownModelError: There is no such file.
        UsageError: The file is wrong; all problems are shown where they stand.
    """
    table = {MEMBERS: Members(), **{setting.name: _kind_of(setting) for setting in known}}
    begin = f"An ensemble has `{MEMBERS}: {EXAMPLE}`."
    source, top = read_model_file(path, "ensemble", begin, tuple(table))
    found = read_section(top, table, [MEMBERS], "the ensemble", source, "An ensemble")
    if source.problems:
        raise source.error()
    return found.pop(MEMBERS), found


def _kind_of(setting: Setting) -> Kind:
    return one_of(*setting.values) if setting.closed else AsWritten(setting.default)
