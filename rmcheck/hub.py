"""Checkpoints and data sets by their name on a hub, `org/name@revision`, in its own cache."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rmcheck.errors import MissingDependencyError, PoolError, Problem, UnknownModelError
from rmcheck.wording import excerpt

# No revision has two points in a row (git), which would lead out of the cache.
_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)@(?!.*\.\.)([\w.-][\w./-]*)", re.ASCII)
# What a checkpoint is read from; weights in folders below are those of other programs.
_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")
_BELOW = ("*/*",)
REASON_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        commit: The commit that the revision names now.
        before: The commit that it named when it was last looked up here; empty where it is the
            same, or unknown.
    """

    folder: Path
    commit: str
    before: str = ""

    def __str__(self) -> str:
        moved = f"; it was {self.before} when it was last looked up" if self.before else ""
        return f"commit {self.commit}{moved}"


_FOUND: dict[str, Snapshot] = {}


def is_hub_name(text: str) -> bool:
    """Whether this is written as a hub name; the revision is what tells it from a path."""
    return _NAME.fullmatch(text) is not None


def snapshot(text: str, *, fetch: bool) -> Path:
    """The folder of a name, fetched at most once a process.

    A branch or a tag is looked up anew each time, a commit never. The token is that of the
    environment variable HF_TOKEN, and no other; HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE count as
    for huggingface_hub.

    Args:
        text: `org/name@revision`.
        fetch: Whether files may be fetched; False takes them from the cache.

    Raises:
        UnknownModelError: There is no such repository or revision, it is gated, or it is not in the
            cache and cannot be fetched.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if text not in _FOUND:
        _FOUND[text] = _snapshot(text, fetch)
    return _FOUND[text].folder


def commits_in(spec: str) -> str:
    """The commit of every hub name in a spec that was looked up; empty where there is none."""
    return "; ".join(f"{name} is {found}" for name, found in _FOUND.items() if name in spec)


def _snapshot(
    text: str,
    fetch: bool,
    kind: str = "model",
    wanted: Sequence[str] = _WANTED,
) -> Snapshot:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{text}: names on a hub need huggingface_hub ({error}). Install it with: "
            'pip install "rmcheck[hf]"'
        ) from error
    match = _NAME.fullmatch(text)
    assert match is not None
    repository, revision = match.groups()
    before = _ref(f"{kind}s--{repository.replace('/', '--')}", revision)
    try:
        folder = Path(
            snapshot_download(
                repository,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(wanted),
                ignore_patterns=list(_BELOW) if kind == "model" else None,
                token=os.environ.get("HF_TOKEN") or False,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                local_files_only=not fetch,
            )
        )
    # Its errors are of many classes, those of its transport among them.
    except Exception as error:
        raise UnknownModelError(f"{text}: {_reason(error, repository, revision, fetch)}") from error
    moved = before if before not in ("", folder.name) else ""
    return Snapshot(folder, folder.name, moved)


def _ref(folder: str, revision: str) -> str:
    """The commit that the cache has for a branch or tag; empty where it has none."""
    from huggingface_hub import constants

    path = Path(constants.HF_HUB_CACHE) / folder / "refs" / revision
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _reason(error: Exception, repository: str, revision: str, fetch: bool) -> str:
    from huggingface_hub import constants, errors

    token = "HF_TOKEN may not read it" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    command = f"hf download {repository} --revision {revision}"
    if isinstance(error, errors.GatedRepoError):
        return f"it is gated: accept its terms on the hub, and give a token for it ({token})"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no repository {repository!r}, or it is private ({token})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"repository {repository!r} has no revision {revision!r}"
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        cache = constants.HF_HUB_CACHE
        if not fetch:
            return (
                f"it is not in the cache {cache}, and a file names it, so that nothing is fetched. "
                f"Fetch it yourself: {command}"
            )
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no hub is reached"
        return f"it is not in the cache {cache}, and {offline}. Fetch it where one is: {command}"
    return f"it cannot be fetched: {type(error).__name__}: {excerpt(str(error), REASON_SHOWN)}"


# -- data -----------------------------------------------------------------------------------------

_DATA = re.compile(r"hub:([^?]*)(?:\?(.*))?")
_SETTINGS = ("split", "config", "file")
_KINDS = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv")


def is_hub_data(text: str) -> bool:
    """Whether a pool is named by a data set on the hub, `hub:org/name@revision?split=…`."""
    return text.startswith("hub:")


def hub_data(text: str) -> Path:
    """The file, or the folder with the files, of a data set's split.

    `hub:org/name@revision?split=test&config=main` takes the files whose name says so, as the hub's
    own convention has it: `test-…` or `test.…`, in folders called `test`, and of a config in a
    folder of its name. `file=data/test-*.parquet` names them instead. A data card's `configs` are
    not read.

    Raises:
        PoolError: The name is none, there is no such data set or revision, it is gated, cannot be
            fetched, or no file of it is meant.
        MissingDependencyError: huggingface_hub is not installed.
    """
    match = _DATA.fullmatch(text)
    named = match[1] if match else ""
    pairs = [part.partition("=") for part in (match[2] or "").split("&") if part] if match else []
    settings = {name: value for name, _, value in pairs}
    wrong = [name for name in settings if name not in _SETTINGS or not settings[name]]
    if not is_hub_name(named) or wrong:
        raise _no_data(text, f"it is not hub:org/name@revision with {', '.join(_SETTINGS)}")
    try:
        found = _snapshot(named, True, kind="dataset", wanted=_patterns(settings))
    except UnknownModelError as error:
        raise _no_data(text, str(error).partition(": ")[2]) from error
    every = [p for p in sorted(found.folder.rglob("*")) if p.is_file() and p.name.endswith(_KINDS)]
    files = [p for p in every if _is_meant(p.relative_to(found.folder).as_posix(), settings)]
    if not files:
        raise _no_data(text, "no data file of it is meant; name one with file=PATH")
    return files[0] if len(files) == 1 else _together(files, found, settings)


def _patterns(settings: Mapping[str, str]) -> tuple[str, ...]:
    if "file" in settings:
        return (settings["file"],)
    return tuple(f"*{settings.get('split', '')}*{kind}" for kind in _KINDS)


def _is_meant(name: str, settings: Mapping[str, str]) -> bool:
    if "file" in settings:
        return fnmatch(name, settings["file"])
    *folders, last = name.split("/")
    split, config = settings.get("split"), settings.get("config")
    of_split = split is None or split in (*folders, last.partition(".")[0].partition("-")[0])
    return of_split and (config is None or config in folders)


def _together(files: Sequence[Path], found: Snapshot, settings: Mapping[str, str]) -> Path:
    """A folder that holds these files alone, beside the snapshots of the cache."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]
    folder = found.folder.parent.parent / "rmcheck" / f"{found.commit}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        link = folder / file.relative_to(found.folder).as_posix().replace("/", "--")
        if not link.exists():
            link.symlink_to(file.resolve())
    return folder


def _no_data(text: str, why: str) -> PoolError:
    return PoolError([Problem(text, why)])
