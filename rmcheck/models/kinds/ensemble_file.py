"""The YAML file that names the members of an ensemble: `ensemble:FILE.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.config.yaml_file import root_of
from rmcheck.errors import Problem, UsageError, near_miss
from rmcheck.models.spec import Setting

if TYPE_CHECKING:
    import yaml

MEMBERS = "members"
_NULL = "tag:yaml.org,2002:null"


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
        UsageError: The file is wrong; all problems are named, with line and column.
    """
    import yaml

    root = root_of(path, "ensemble")
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}: an ensemble file is a mapping with {MEMBERS!r}, a list of specs")
    reader = _Reader(path, {setting.name: setting for setting in known})
    found = reader.members(root), reader.settings(root)
    if reader.problems:
        raise UsageError("\n".join(map(str, sorted(reader.problems, key=lambda p: p.line))))
    return found


class _Reader:
    """Reads the mapping and gathers what is wrong with it."""

    def __init__(self, path: Path, known: Mapping[str, Setting]) -> None:
        self.path = path
        self.known = known
        self.problems: list[Problem] = []

    def note(self, node: "yaml.Node", message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(str(self.path), message, mark.line + 1, mark.column + 1))

    def members(self, root: "yaml.MappingNode") -> list[Member]:
        """The list of members; its absence is a problem too."""
        import yaml

        found = next((value for key, value in root.value if key.value == MEMBERS), None)
        if not isinstance(found, yaml.SequenceNode):
            self.note(found or root, f"{MEMBERS!r} is missing; it is a list of at least two specs")
            return []
        out = []
        for item in found.value:
            if isinstance(item, yaml.ScalarNode) and item.tag != _NULL:
                out.append(Member(item.value, f"{self.path}:{item.start_mark.line + 1}"))
            else:
                self.note(item, "a member is one text such as hf:runs/rm-7b; put it in quotes")
        return out

    def settings(self, root: "yaml.MappingNode") -> dict[str, str]:
        """The settings that are given; unknown, repeated and wrong ones are problems."""
        given: dict[str, str] = {}
        seen: set[str] = set()
        for key, value in root.value:
            name = str(key.value)
            if name in seen:
                self.note(key, f"{name!r} is given twice")
            elif name not in (MEMBERS, *self.known):
                valid = (MEMBERS, *self.known)
                self.note(
                    key, f"no key {name!r}.{near_miss(name, valid)} Keys: {', '.join(valid)}."
                )
            elif name != MEMBERS:
                given |= self.setting(self.known[name], value)
            seen.add(name)
        return given

    def setting(self, setting: Setting, node: "yaml.Node") -> dict[str, str]:
        """The setting, or nothing where its value is wrong."""
        import yaml

        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
            self.note(node, f"{setting.name} has no value; write one of {setting}")
        elif setting.closed and node.value not in setting.values:
            self.note(
                node,
                f"{setting.name} is {node.value!r}.{near_miss(node.value, setting.values)} "
                f"Values: {', '.join(setting.values)}.",
            )
        else:
            return {setting.name: str(node.value)}
        return {}
