"""A user's own function as a reward model: `python:module:function`."""

import importlib
import importlib.machinery
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UnknownModelError, UsageError, near_miss
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.model import Encoded, RewardModel, checked_rewards, loaded
from rmcheck.models.spec import ModelSpec, Setting, stated_settings, whole_number

RewardFunction = Callable[[list[list[dict[str, str]]], list[str]], Sequence[float]]


class PythonRewardModel(RewardModel):
    """A function `(prompts, responses) -> rewards`.

    `prompts` is a list of conversations, each a list of `{"role": ..., "content": ...}`;
    `responses` a list of as many texts; the result as many finite numbers, higher is better
    (a list, an array, a tensor). The function gets batches of any size in any order; of at most
    `batch` responses where the spec says so, and each is kept before the next is asked for.

    The current directory can be imported from. rmcheck cannot see what a function depends on, so
    its scores are not kept between sessions, unless the spec states a version that its author
    changes with the rewards: `python:judge:score?version=3`.

    Raises:
        UnknownModelError: There is no such module.
        UsageError: The location is not `module:function`, or `batch` no whole number from 1 up.
    """

    scheme: ClassVar[str] = "python"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("version", ("ANYTHING",)),
        Setting("batch", ("N",)),
    )

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec.text
        self._base = spec.base
        self._module, colon, self._function_name = spec.location.partition(":")
        if not (colon and self._module and self._function_name):
            raise UsageError(f"{spec.text!r} is not python:module:function")
        chosen = stated_settings(spec, self.settings)
        version, batch = chosen["version"], chosen["batch"]
        self.largest_batch = whole_number(spec, "batch", batch, least=1) if batch else None
        self.kept = bool(version)
        facts = {"scheme": self.scheme, "location": spec.location, "version": version}
        with _importable(self._base):
            found = _find(self._module)
        if found is None:
            raise UnknownModelError(
                f"{spec.text}: there is no module {self._module!r} (looked in {self._base} and "
                "the installed packages)"
            )
        # Without a version the source is all there is to go by.
        source = found.origin if not version and found.has_location else None
        self.fingerprint = fingerprint(facts, [Path(source)] if source else [])
        self._function: RewardFunction | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names; its module is looked for, not imported."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The module and function."""
        return f"{self._module}:{self._function_name}"

    def load(self) -> None:
        """Import the module.

        Raises:
            UnknownModelError: It cannot be imported, or has no such function.
        """
        with _importable(self._base):
            try:
                module = importlib.import_module(self._module)
            # Whatever the module's own code raises.
            except Exception as error:
                raise UnknownModelError(
                    f"{self.spec}: module {self._module!r} cannot be imported: "
                    f"{type(error).__name__}: {error}"
                ) from error
        function = getattr(module, self._function_name, None)
        if not callable(function):
            public = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
            raise UnknownModelError(
                f"{self.spec}: module {self._module!r} ({module.__file__}) has no function "
                f"{self._function_name!r}.{near_miss(self._function_name, public)} "
                f"It has: {', '.join(public) or 'none'}."
            )
        self._function = function

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) what the function returns.

        Raises:
            ScoringError: The function raises, or returns another number of rewards, something
                that is no number, NaN or infinity.
            MemoryError: The function raises it.
        """
        function = loaded(self._function, self.spec)
        samples = [encoded.sample for encoded in batch]
        prompts = [[{"role": m.role, "content": m.content} for m in s.messages] for s in samples]
        with _importable(self._base):
            try:
                answer: Any = function(prompts, [s.response for s in samples])
            except MemoryError:
                raise
            # Whatever the user's code raises.
            except Exception as error:
                where = _place(error)
                raise ScoringError(
                    f"{self.spec}: the function raised {type(error).__name__}: {error}{where}"
                ) from error
        return checked_rewards(self._numbers(answer, len(batch)), batch, self.spec)

    def close(self) -> None:
        """Forget the function. Its module stays imported, as modules do."""
        self._function = None

    def _numbers(self, answer: Any, expected: int) -> NDArray[np.float64]:
        try:
            # Tensors come with gradients, devices and types of their own; `tolist` sheds them.
            values = answer.tolist() if hasattr(answer, "tolist") else list(answer)
        except TypeError:
            raise ScoringError(
                f"{self.spec}: the function returned {type(answer).__name__}, not a sequence of "
                f"{expected} numbers"
            ) from None
        if not isinstance(values, list) or len(values) != expected:
            count = f"{len(values)} rewards" if isinstance(values, list) else "one number"
            raise ScoringError(
                f"{self.spec}: the function returned {count} for {expected} responses"
            )
        values = [v.item() if hasattr(v, "item") else v for v in values]
        for place, value in enumerate(values):
            if not isinstance(value, Real):
                raise ScoringError(
                    f"{self.spec}: the function returned {value!r} ({type(value).__name__}) for "
                    f"response {place} of its batch; a reward is a number"
                )
        return np.array(values, dtype=np.float64)


def _find(module: str) -> importlib.machinery.ModuleSpec | None:
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


def _place(error: Exception) -> str:
    """The innermost line of the user's code that an error comes from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """`import` finds the folder's modules first, as under `python -m`."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
