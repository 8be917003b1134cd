"""YAML files that describe a model, as PyYAML's nodes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.pool.limits import special_file

if TYPE_CHECKING:
    import yaml

# Far deeper than any of these files; the composers of PyYAML and libyaml overflow the stack.
MAX_DEPTH = 32


def root_of(path: Path, kind: str) -> "yaml.Node | None":
    """The root node of a file; None where it holds nothing.

    Args:
        path: The file.
        kind: What it describes, for messages: `judge`.

    Raises:
        UnknownModelError: There is no such file, or it cannot be read.
        UsageError: It is no YAML, or nested too deep.
    """
    import yaml

    if wrong := special_file(path):
        raise UnknownModelError(f"{kind} file {path} {wrong}")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise UsageError(f"{path}: nested more than {MAX_DEPTH} levels deep")
        return yaml.compose(text, Loader=loader)
    except OSError as error:
        raise UnknownModelError(f"{kind} file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text ({error.reason})") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
