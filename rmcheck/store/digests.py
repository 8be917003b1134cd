"""Digests of weights kept between sessions, so that an unchanged checkpoint is hashed once.

`digests.json` in the store holds `known_digests` of large files. It is no fact that a score
depends on: a file that is gone, damaged or stale only costs the hashing again.
"""

import contextlib
import json
from pathlib import Path

from rmcheck.models.checkpoint.fingerprint import known_digests, remember_digests
from rmcheck.parsing import parse_json
from rmcheck.store.folder import write_whole

NAME = "digests.json"
# Smaller files are hashed faster than this list is read.
_LARGE = 1 << 20
# Shards of some hundred checkpoints; the oldest are forgotten.
_MOST = 10_000


def recall_digests(store: Path) -> None:
    """Take over what earlier sessions kept in this store."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        remember_digests(parse_json((store / NAME).read_bytes())["digests"])


def keep_digests(store: Path) -> None:
    """Keep what this session knows of large files, where there is a store."""
    large = [known for known in known_digests() if int(known[1]) >= _LARGE][-_MOST:]
    if not large or not store.is_dir():
        return
    content = json.dumps({"digests": large}, indent=0).encode()
    with contextlib.suppress(OSError):
        if not (store / NAME).exists() or (store / NAME).read_bytes() != content:
            write_whole(store / NAME, content)
