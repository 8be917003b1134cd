"""The public surface is a list."""

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
