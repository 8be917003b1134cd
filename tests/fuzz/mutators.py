"""Ways to spoil a file: by bytes, by words, by the structure of its JSON, by its compression."""

import gzip
import json
import random
import re
from collections.abc import Callable
from typing import Any

# Bytes and words that readers have stumbled over.
BYTES = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J", b"\n", b"\r", b"\x85")
WORDS = (
    "9" * 5000,
    "1" + "0" * 400,
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-0",
    "1.5",
    "null",
    "true",
    "{}",
    "[]",
    '""',
    "[" * 1100,
    '{"a":' * 1100,
    "{{" * 60,
    "&a [*a]",
    "<<: *a",
    "!!python/object:os.system",
    "2024-01-01",
    "~nobody/rm",
    "a" * 300,
    '"\\ud800"',
    '"\\u0000"',
    "::error::x",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    2**63,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x00",
    "\ud800",
    "\x1b[2J::x",
    "a" * 300,
    "~nobody",
    "../..",
    [],
    {},
    [1],
    ["x"],
    [[]],
    {"a": 1},
    {"x": "a"},
    [None],
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\w.+-]+|[^\s\w]')


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, taken out, put in or doubled."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(out))
        kind = rng.randrange(4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 30)] = b""
        elif kind == 2:
            out[at:at] = rng.choice(BYTES)
        else:
            out[at:at] = out[at : at + rng.randint(1, 60)]
    return bytes(out)


def reworded(data: bytes, rng: random.Random) -> bytes:
    """One word, number or sign replaced by another one."""
    tokens = list(_TOKEN.finditer(data))
    if not tokens:
        return data + rng.choice(WORDS).encode()
    at, other = rng.choice(tokens), rng.choice(tokens)
    word = other.group() if rng.random() < 0.3 else rng.choice(WORDS).encode()
    return data[: at.start()] + word + data[at.end() :]


def restructured(data: bytes, rng: random.Random) -> bytes:
    """A value somewhere in one of its JSON documents replaced, wrapped, taken out or renamed."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    for text, put in (
        (data, lambda new: new),
        (lines[number], lambda new: b"\n".join([*lines[:number], new, *lines[number + 1 :]])),
    ):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return put(
            json.dumps(_changed(value, rng), ensure_ascii=rng.random() < 0.5).encode(
                "utf-8", "surrogatepass"
            )
        )
    return reworded(data, rng)


def _changed(value: Any, rng: random.Random) -> Any:
    inside = (
        list(value)
        if isinstance(value, dict)
        else list(range(len(value)))
        if isinstance(value, list)
        else []
    )
    if not inside or rng.random() < 0.15:
        return rng.choice([rng.choice(VALUES), [value], {"a": value}])
    key = rng.choice(inside)
    out = dict(value) if isinstance(value, dict) else list(value)
    kind = rng.random()
    if kind < 0.6:
        out[key] = _changed(value[key], rng)
    elif kind < 0.8:
        del out[key]
    elif isinstance(out, dict):
        out[rng.choice(["\ud800", "", "a" * 300, "x"])] = out.pop(key)
    else:
        out.append(out[key])
    return out


def cut(data: bytes, rng: random.Random) -> bytes:
    """Only a beginning."""
    return data[: rng.randint(0, len(data))]


def squeezed(data: bytes, rng: random.Random) -> bytes:
    """Compressed, and then damaged."""
    return flipped(gzip.compress(data, mtime=0), rng)


MUTATORS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped,
    reworded,
    reworded,
    restructured,
    restructured,
    restructured,
    cut,
    squeezed,
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data, spoilt once to three times."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = rng.choice(MUTATORS)(data, rng)
    return data
