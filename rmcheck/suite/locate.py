"""Points into a suite file that was loaded before.

What only the pool and the models can tell (no such column, no such model) is found after
loading, and is shown where the suite says it.
"""

from functools import lru_cache

from rmcheck.config.document import ListNode, MapNode, Node, ScalarNode, compose
from rmcheck.config.source import Source, Span
from rmcheck.errors import Problem, SuiteError
from rmcheck.suite.suite import Check, Suite


def suite_problem(
    suite: Suite, message: str, *keys: str, valid: str = "", unwritten: str = ""
) -> Problem:
    """A problem with a value of the suite.

    Args:
        suite: The suite.
        message: What is wrong, with the offending value.
        keys: The way to the value, such as `"golden", "column"`; as far as it is written down.
        valid: The valid words, to print under the excerpt.
        unwritten: The key to point at where the value is a default that is not written down.
    """
    source, root = _reread(suite)
    span = None if root is None else _follow(root, keys) or _follow(root, (unwritten,))
    return _problem(source, span or Span(1, 1), message, valid)


def check_problem(
    suite: Suite, check: Check, message: str, key: str | None = None, *, valid: str = ""
) -> Problem:
    """A problem with a check of the suite.

    Args:
        suite: The suite.
        check: The check.
        message: What is wrong, with the offending value.
        key: The key of the check whose value is wrong; None points at the check's name.
        valid: The valid words, to print under the excerpt.
    """
    source, root = _reread(suite)
    node = None if root is None else _find(root, check)
    if node is None:  # the file is gone, or was changed since
        return Problem(source.path, message, check.line)
    keys = ("name",) if key is None else (key,)
    return _problem(source, _follow(node, keys) or node.span, message, valid)


def _reread(suite: Suite) -> tuple[Source, Node | None]:
    try:
        text = suite.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Source(str(suite.path), "", SuiteError), None
    return _composed(str(suite.path), text)


@lru_cache(maxsize=1)  # one file may have hundreds of problems
def _composed(path: str, text: str) -> tuple[Source, Node | None]:
    source = Source(path, text, SuiteError)
    try:
        return source, compose(source)
    except SuiteError:
        return Source(path, "", SuiteError), None


def _find(root: Node, check: Check) -> MapNode | None:
    _, checks = root.entries.get("checks", (None, None)) if isinstance(root, MapNode) else (0, None)
    for node in checks.items if isinstance(checks, ListNode) else ():
        if isinstance(node, MapNode) and "name" in node.entries:
            _, name = node.entries["name"]
            if isinstance(name, ScalarNode) and name.text.strip() == check.name:
                return node
    return None


def _follow(node: Node, keys: tuple[str, ...]) -> Span | None:
    """Where the value stands; the nearest mapping above it when it is not written down."""
    span = None
    for key in keys:
        if not isinstance(node, MapNode) or key not in node.entries:
            break
        at, node = node.entries[key]
        span = at if isinstance(node, MapNode) and key != keys[-1] else node.span
    return span


def _problem(source: Source, span: Span, message: str, valid: str) -> Problem:
    if not source.text:
        return Problem(source.path, message)
    return source.problem(span, message, valid)
