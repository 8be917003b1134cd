"""One string that changes whenever a reward could."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PIECE = 4 << 20
# A file that was rewritten has another size, inode, time of writing or time of change: tools that
# copy or unpack set the first of the two times back, and nothing sets the second.
_State = tuple[str, int, int, int, int]
_known: dict[_State, str] = {}
# A file written again within one tick of its clock looks unchanged, so a digest is remembered only
# of a file that was left alone for longer than the coarsest tick, the 2 seconds of FAT.
_SETTLED_NS = 2_000_000_000


def _state(path: Path) -> _State:
    status = path.stat()
    changed = (status.st_mtime_ns, status.st_ctime_ns)
    return (str(path.resolve()), status.st_size, *changed, status.st_ino)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces; remembered while the file does not change."""
    state, begun = _state(path), time.time_ns()
    if state in _known:
        return _known[state]
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            digest.update(buffer[:read])
    found = digest.hexdigest()
    if max(state[2:4]) < begun - _SETTLED_NS and _state(path) == state:
        _known[state] = found
    return found


def known_digests() -> list[list[str | int]]:
    """What `file_digest` remembers, for another process that would read the same weights."""
    return [[*state, digest] for state, digest in _known.items()]


def remember_digests(known: Iterable[list[str | int]]) -> None:
    """Take over `known_digests` of another process; a file that changed since is read again."""
    for path, size, written, changed, inode, digest in known:
        _known[str(path), int(size), int(written), int(changed), int(inode)] = str(digest)


def fingerprint(
    facts: Mapping[str, object], files: Iterable[Path] = (), *, root: Path | None = None
) -> str:
    """SHA-256 over facts and whole files.

    Args:
        facts: Settings that change rewards; JSON types.
        files: Their content counts, and their name below `root` (so a moved folder is the same).
        root: Folder that names are relative to.

    Returns:
        64 hex digits.
    """
    paths = sorted(files)
    # hashlib releases the interpreter lock, so shards are hashed side by side.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = list(pool.map(file_digest, paths))
    names = [path.relative_to(root).as_posix() if root else "" for path in paths]
    content = json.dumps([dict(facts), list(zip(names, digests, strict=True))], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def columns_digest(metadata: Mapping[bytes, bytes], *columns: bytes) -> bytes:
    """32 hex digits (BLAKE2b) of what a Parquet file of ours says, metadata and values.

    Parquet checks its pages and not its footer, where one flipped bit can give another column.
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in (*(each for item in sorted(metadata.items()) for each in item), *columns):
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest().encode()
