"""One string that changes whenever a reward could."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PIECE = 4 << 20
# A process opens the same checkpoint more than once (candidate and golden, many suites); a file
# that was rewritten has another size, time or inode.
_known: dict[tuple[str, int, int, int], str] = {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces; once a process while the file does not change."""
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    if key not in _known:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_PIECE))
        with path.open("rb", buffering=0) as file:
            while read := file.readinto(buffer):
                digest.update(buffer[:read])
        _known[key] = digest.hexdigest()
    return _known[key]


def known_digests() -> list[list[str | int]]:
    """What `file_digest` knows, for a worker process that would read the same weights again."""
    return [[*key, digest] for key, digest in _known.items()]


def remember_digests(known: Iterable[list[str | int]]) -> None:
    """Take over `known_digests` of another process; a file that changed since is read again."""
    for path, size, changed, inode, digest in known:
        _known[str(path), int(size), int(changed), int(inode)] = str(digest)


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
