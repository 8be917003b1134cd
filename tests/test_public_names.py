"""The public surface is a list."""

import ast
from pathlib import Path

import rmcheck


def test_every_public_name_can_be_imported():
    """`__all__` is what is there, sorted, and `dir` shows it."""
    assert rmcheck.__all__ == sorted(rmcheck.__all__)
    assert all(getattr(rmcheck, name) is not None for name in rmcheck.__all__)
    assert set(dir(rmcheck)) == set(rmcheck.__all__)


def test_every_public_class_and_function_says_what_it_is():
    """A docstring on each."""
    public = [getattr(rmcheck, name) for name in rmcheck.__all__ if name != "__version__"]

    assert [item for item in public if not item.__doc__] == []


def test_every_public_method_says_what_it_does_or_overrides_one_that_does():
    """A docstring on it, or on the method of that name of a class of ours that it inherits from."""
    files = Path(rmcheck.__file__).parent.rglob("*.py")
    found = [n for f in files for n in ast.parse(f.read_text(encoding="utf-8")).body]
    classes = {n.name: n for n in found if isinstance(n, ast.ClassDef)}

    def described(name, method):
        """Whether a class or one that it inherits from has a docstring on a method."""
        own = classes.get(name)
        if own is None:
            return False
        functions = [n for n in own.body if isinstance(n, ast.FunctionDef)]
        said = any(n.name == method and ast.get_docstring(n) for n in functions)
        bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in own.bases]
        return said or any(described(base, method) for base in bases)

    methods = [
        (name, n.name)
        for name, own in classes.items()
        if not name.startswith("_")
        for n in own.body
        if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")
    ]

    assert len(methods) > 1000
    assert [f"{name}.{method}" for name, method in methods if not described(name, method)] == []
