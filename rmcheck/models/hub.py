"""Checkpoints by their name on a hub: `org/name@revision`, in huggingface_hub's cache."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmcheck.errors import MissingDependencyError, UnknownModelError
from rmcheck.wording import excerpt

_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)@([\w.-][\w./-]*)", re.ASCII)
# What a checkpoint is read from; weights in folders below are those of other programs.
_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")
_BELOW = ("*/*",)
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        folder: Its files.
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


def _snapshot(text: str, fetch: bool) -> Snapshot:
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise MissingDependencyError(
            f"{text}: names on a hub need huggingface_hub ({error}). Install it with: "
            'pip install "rmcheck[hf]"'
        ) from error
    match = _NAME.fullmatch(text)
    assert match is not None
    repository, revision = match.groups()
    before = _ref(hub, repository, revision)
    try:
        folder = Path(
            hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_BELOW),
                token=os.environ.get("HF_TOKEN") or False,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                local_files_only=not fetch,
            )
        )
    # Its errors are of many classes, those of its transport among them.
    except Exception as error:
        raise UnknownModelError(
            f"{text}: {_told(hub, error, repository, revision, fetch)}"
        ) from error
    moved = before if before not in ("", folder.name) else ""
    return Snapshot(folder, folder.name, moved)


def _ref(hub: Any, repository: str, revision: str) -> str:
    """The commit that the cache has for a branch or tag; empty where it has none."""
    folder = f"models--{repository.replace('/', '--')}"
    path = Path(hub.constants.HF_HUB_CACHE) / folder / "refs" / revision
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _told(hub: Any, error: Exception, repository: str, revision: str, fetch: bool) -> str:
    errors = hub.errors
    token = "HF_TOKEN may not read it" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    command = f"hf download {repository} --revision {revision}"
    if isinstance(error, errors.GatedRepoError):
        return f"is gated: accept its terms on the hub, and give a token that may read it ({token})"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no repository {repository!r}, or it is private ({token})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"repository {repository!r} has no revision {revision!r}"
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        cache = hub.constants.HF_HUB_CACHE
        if not fetch:
            return (
                f"is not in the cache {cache}, and a file names it, so that nothing is fetched. "
                f"Fetch it yourself: {command}"
            )
        offline = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else "no hub is reached"
        return f"is not in the cache {cache}, and {offline}. Fetch it where there is one: {command}"
    return f"cannot be fetched: {type(error).__name__}: {excerpt(str(error), _SHOWN)}"
