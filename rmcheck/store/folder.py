"""The `.rmcheck` folder: made in one step, and explains itself to whoever finds it."""

import os
import shutil
import time
import uuid
from pathlib import Path

from rmcheck.errors import StoreError

STALE_SECONDS = 24 * 3600

_README = """\
# rmcheck store

Rewards that rmcheck has computed, one folder a model under `scores/`, as Parquet files that any
tool can read. A score is found again by the model's fingerprint (weights, config, tokenizer,
template, settings) and the text, so nothing here ever goes out of date. `pools/` has the labels,
slices and keys of large pools, and none of their texts.

* Deleting this folder, or any file in it, is safe: what is missing is scored again.
* Do not commit it. To carry scores to another machine, copy the folder, or use `rmcheck score`
  and the model `scores:FILE`.
"""
_FILES = {
    "README.md": _README,
    ".gitignore": "# Made by rmcheck.\n*\n",
    "CACHEDIR.TAG": (
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# This file marks a cache directory that rmcheck made.\n"
        "# See https://bford.info/cachedir/\n"
    ),
}


def make_store_folder(folder: Path) -> None:
    """Create the folder with its supporting files; nothing is done where they exist.

    The whole is built beside its final name and renamed, so nobody sees half of it. When another
    process wins that race its folder is used.

    Raises:
        StoreError: It cannot be created, or a file stands in its place.
    """
    try:
        if not folder.exists():
            _make_whole(folder)
        for name, text in _FILES.items():
            if not (folder / name).exists():
                write_whole(folder / name, text.encode())
    except OSError as error:
        raise unwritable(folder, error) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is seen whole or not at all, and survives a power cut.

    Raises:
        OSError: It could not be written; nothing is left behind.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what killed processes left behind, once it is older than a day."""
    deadline = time.time() - STALE_SECONDS
    for temporary in folder.glob(".*.tmp"):
        # Another process may be tidying up the same file.
        try:
            if temporary.stat().st_mtime < deadline:
                temporary.unlink()
        except FileNotFoundError:
            continue


def unwritable(folder: Path, error: OSError) -> StoreError:
    """The error for a folder that takes no scores."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(
            f"{folder}: a file stands where the folder of stored scores should be. "
            "Move it away, or choose another folder for the store."
        )
    return StoreError(
        f"{folder}: scores cannot be written here ({error.strerror or error}). "
        "Make the folder writable, or choose another folder for the store."
    )


def _make_whole(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f"{folder.name}-{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        for name, text in _FILES.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.rename(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():
            raise


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
