"""How a model is named: `scheme:location?setting=value&setting=value`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rmcheck.errors import UnknownModelError, UsageError, near_miss
from rmcheck.hub import is_hub_name, snapshot
from rmcheck.parsing import ParsingError, user_path
from rmcheck.wording import excerpt

# Characters of a spec that a message shows; digits of a count.
SPEC_SHOWN = 100
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a scheme understands.

    Attributes:
        name: The word before `=`.
        values: What may stand after `=`, as a person reads it: `("float32", "bfloat16")`.
        default: Value when the setting is not given; empty when there is none.
        closed: True when `values` are all the values there are, False when they describe a form
            such as `NAME` or `FILE.jinja`.
    """

    name: str
    values: tuple[str, ...]
    default: str = ""
    closed: bool = False

    def __str__(self) -> str:
        default = f" (default {self.default})" if self.default else ""
        return f"{self.name}={'|'.join(self.values)}{default}"


def _opens_nothing(spec: str, **_: object) -> None:
    raise UsageError(f"{spec}: opened by nobody; a model that is made of others needs open_model")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the user named it, taken apart.

    Attributes:
        text: The whole of it.
        scheme: What stands before the first colon.
        location: What stands between the first colon and the first question mark.
        settings: Setting name to value; values are percent-decoded.
        base: Folder that relative paths are relative to.
        given: Whether the user named it, on the command line, in an ini file or in code; False
            where a suite, a judge or an ensemble file does.
        open: `open_model`, for models that are made of others.
    """

    text: str
    scheme: str
    location: str
    settings: Mapping[str, str]
    base: Path
    given: bool = True
    open: Callable[..., Any] = field(default=_opens_nothing, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The location as a path."""
        return self.resolve(self.location)

    def resolve(self, path: str) -> Path:
        """A path of this spec, relative to `base`, `~` expanded.

        `org/name@revision` is a folder in the cache of the hub, unless there is a file of that
        name. What only a file names is not fetched.

        Raises:
            UsageError: No file can have it.
            UnknownModelError: See `rmcheck.hub.snapshot`.
        """
        try:
            found = user_path(path, self.base)
        except ParsingError as error:
            raise UsageError(f"{excerpt(self.text, SPEC_SHOWN)}: {error}") from error
        if is_hub_name(path) and not found.exists():
            return snapshot(path, fetch=self.given)
        return found

    def with_setting(self, name: str, value: str) -> str:
        """The spec as it would read with one more setting; for messages."""
        joint = "&" if self.settings else "?"
        return f"{self.text}{joint}{name}={value}"


def parse_spec(text: str, base: Path, *, given: bool = True) -> ModelSpec:
    """Take `scheme:location?setting=value` apart.

    Raises:
        UnknownModelError: There is no scheme.
        UsageError: A setting is not `name=value`, or is given twice.
    """
    head, _, query = text.partition("?")
    scheme, colon, location = head.partition(":")
    if not colon:
        raise UnknownModelError(_without_scheme(text, head, base))
    settings: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"{text}: {part!r} is not a setting; write name=value")
        if name in settings:
            raise UsageError(f"{text}: setting {name!r} is given twice")
        settings[name] = unquote(value)
    return ModelSpec(text, scheme, location, settings, base, given)


def check_settings(spec: ModelSpec, known: Iterable[Setting]) -> dict[str, str]:
    """All settings with their values, defaults filled in.

    Raises:
        UsageError: Unknown settings or values; all of them, with near misses and what is valid.
    """
    table = {setting.name: setting for setting in known}
    problems = []
    for name, value in spec.settings.items():
        setting = table.get(name)
        if setting is None:
            problems.append(f"no setting {name!r}.{near_miss(name, table)}")
        elif setting.closed and value not in setting.values:
            problems.append(
                f"{name} is {value!r}.{near_miss(value, setting.values)} "
                f"Values: {', '.join(setting.values)}."
            )
        elif not value:
            problems.append(f"{name} has no value; write {setting}")
    if problems:
        listing = "\n".join(f"  {setting}" for setting in table.values()) or "  none"
        raise UsageError(
            f"{spec.text}: " + "\n".join(problems) + f"\nSettings of {spec.scheme}:\n{listing}"
        )
    return stated_settings(spec, table.values())


def stated_settings(spec: ModelSpec, known: Iterable[Setting]) -> dict[str, str]:
    """The same of a spec that is checked, as one is before a class is asked to open it."""
    return {setting.name: setting.default for setting in known} | dict(spec.settings)


def whole_number(spec: ModelSpec, name: str, value: str, *, least: int) -> int:
    """The value of a setting that counts something.

    Raises:
        UsageError: It is no whole number, or less than `least`.
    """
    counts = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    if not counts or int(value) < least:
        raise UsageError(f"{spec.text}: {name} is {value!r}; it is a whole number from {least} up")
    return int(value)


def check_device(spec: str, device: str) -> None:
    """Refuse the name of a device that can be none on any machine.

    Args:
        spec: The model as the user named it, for messages.
        device: Value of `device`.

    Raises:
        UsageError: It is none of auto, cpu, cuda and cuda:N.
    """
    kind, _, number = device.partition(":")
    if device not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isdigit()):
        raise UsageError(f"{spec}: device is {device!r}; it is one of auto, cpu, cuda, cuda:N")


def _without_scheme(text: str, location: str, base: Path) -> str:
    if not text.strip():
        return "a model has an empty name; is the variable set that should name it?"
    try:
        path = user_path(location, base)
    except ParsingError as error:
        return f"{excerpt(text, SPEC_SHOWN)!r} has no scheme, and {error}"
    message = f"{text!r} has no scheme; a model is scheme:location, such as hf:{location or 'DIR'}"
    if (path / "config.json").is_file():
        message = f"{text!r} is a checkpoint folder without a scheme. Did you mean 'hf:{text}'?"
    elif path.is_file() and {".jsonl", ".parquet"} & set(path.suffixes):
        message = f"{text!r} is a file without a scheme. Did you mean 'scores:{text}'?"
    elif path.is_dir():
        message = f"{text!r} is a folder without config.json, and has no scheme"
    return message
