"""A user's module: found without running it, imported, and what a function in it asks for."""

import ast
import importlib
import importlib.machinery
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rmcheck.errors import UnknownModelError, near_miss

_OF_THIS_ROOM = str(Path(__file__).parent)


def find_module(module: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module is; unlike `importlib.util.find_spec` this imports no package around it."""
    importlib.invalidate_caches()
    found, name, path = None, "", None
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        found = _found_on(name, path)
        path = _inside(found, part, path)
    return found


def _found_on(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    # Editable installations have finders of their own.
    for finder in sys.meta_path:
        # A folder without __init__.py in another looks for its parent among what is imported.
        with suppress(ImportError, ValueError, KeyError):
            if found := finder.find_spec(name, path, None):
                return found
    return None


def _inside(
    package: importlib.machinery.ModuleSpec | None, part: str, path: list[str] | None
) -> list[str]:
    """Folders of a package's modules, or those that may be a package without __init__.py."""
    if package is not None and package.origin is not None:
        return list(package.submodule_search_locations or ())
    below = (Path(folder, part) for folder in (sys.path if path is None else path))
    return [str(folder) for folder in below if folder.is_dir()]


def imported(spec: str, module: str, name: str) -> Callable[..., Any]:
    """A function of a module, or anything else that can be called.

    Raises:
        UnknownModelError: The module cannot be imported, or has no such function.
    """
    function: Any = imported_name(spec, module, name)
    if not callable(function):
        raise _no_function(spec, module, name)
    known: Callable[..., Any] = function
    return known


def imported_name(spec: str, module: str, name: str) -> Any:
    """What a module has under a name.

    Args:
        spec: The model as the user named it, for messages.
        module: The module's name.
        name: The name.

    Raises:
        UnknownModelError: The module cannot be imported, or has no such name.
    """
    try:
        found = importlib.import_module(module)
    # Whatever the module's own code raises.
    except Exception as error:
        raise UnknownModelError(
            f"{spec}: module {module!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(found, name):
        raise _no_function(spec, module, name)
    return getattr(found, name)


def _no_function(spec: str, module: str, name: str) -> UnknownModelError:
    found = sys.modules[module]
    public = sorted(n for n, v in vars(found).items() if callable(v) and n[0] != "_")
    return UnknownModelError(
        f"{spec}: module {module!r} ({found.__file__}) has no function "
        f"{name!r}.{near_miss(name, public)} It has: {', '.join(public) or 'none'}."
    )


def read_parameters(source: Path, name: str) -> list[inspect.Parameter] | None:
    """The parameters of a plain function at the top of a module, which is not run for it.

    None where the source does not tell: it is decorated, imported or made by another function.
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # nested too deep
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [n for n in tree.body if getattr(n, "name", "") == name]
    bound = [n for n in ast.walk(tree) if isinstance(n, ast.Name | ast.alias) and _binds(n, name)]
    if len(found) != 1 or bound or not isinstance(found[0], kinds) or found[0].decorator_list:
        return None
    arguments = found[0].args
    plain = [*arguments.posonlyargs, *arguments.args]
    some = inspect.Parameter.POSITIONAL_OR_KEYWORD
    without = len(plain) - len(arguments.defaults)
    parameters = [_parameter(a.arg, some, i >= without) for i, a in enumerate(plain)]
    for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters.append(_parameter(a.arg, inspect.Parameter.KEYWORD_ONLY, default is not None))
    if arguments.kwarg is not None:
        parameters.append(_parameter(arguments.kwarg.arg, inspect.Parameter.VAR_KEYWORD, False))
    return parameters


def _binds(node: ast.Name | ast.alias, name: str) -> bool:
    if isinstance(node, ast.alias):
        return (node.asname or node.name) == name
    return node.id == name and isinstance(node.ctx, ast.Store)


def _parameter(name: str, kind: Any, has_default: bool) -> inspect.Parameter:
    default = None if has_default else inspect.Parameter.empty
    return inspect.Parameter(name, kind, default=default)


def place(error: BaseException) -> str:
    """The innermost line of the user's code that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(_OF_THIS_ROOM)]
    return f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """`import` finds the folder's modules first, as under `python -m`."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
