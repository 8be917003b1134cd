"""Pools, and prompts for a policy."""

import json
import math
import sys
from pathlib import Path

import parquet_rows

from rmcheck.pool.pool import Pool
from rmcheck.pool.reading import read_pool, read_prompts
from rmcheck.wording import encodable
from targets.target import DEEP, DIGITS, HUGE, TESTS, Target, lines

sys.path.insert(0, str(TESTS / "pool"))

from pool_formats import ROWS


def sound_pool(pool: Pool) -> None:
    """A pool that was accepted has nothing in it that a metric or a report could trip over."""
    ids = [prompt.prompt_id for prompt in pool.prompts]
    assert len(set(ids)) == len(ids)
    for prompt in pool.prompts:
        assert {m.role for m in prompt.messages} <= {"system", "user", "assistant", "tool"}
        for values in prompt.labels.values():
            assert len(values) == len(prompt.responses)
            assert all(value is None or math.isfinite(value) for value in values)
        texts = [prompt.prompt_id, *prompt.responses, *prompt.slices.values()]
        texts += [m.content for m in prompt.messages]
        assert encodable(texts) == texts


def pool(path: Path) -> None:
    """A pool of any format."""
    sound_pool(read_pool(path))


def prompts(path: Path) -> None:
    """What a policy is to answer."""
    sound_pool(read_prompts(path))


NATIVE = ROWS["native"]
POOLS = [
    *map(lines, ROWS.values()),
    *(json.dumps(rows).encode() for rows in ROWS.values()),
    parquet_rows.written(ROWS["native_rows"]),
    b"prompt,chosen,rejected\nWhy?,a,b\nHow?,c,d\n",
    b"prompt_id,prompt,response,golden,n\n1,Why?,a,0.5,1e999\n1,Why?,b,1_0," + b"9" * 5000 + b"\n",
    f'[{{"a":{DEEP}'.encode(),
    f'{{"a":{DEEP}'.encode(),
    b'{"prompt": "x", "responses": ["a", "b"], "golden": [0, %s]}' % DIGITS.encode(),
    b'[{"prompt": "x", "responses": ["a", "b"], "golden": [0, %s]}]' % DIGITS.encode(),
    lines([{**NATIVE[0], "responses": ["\ud800", "b"]}]),
    lines([{**NATIVE[0], "golden": [HUGE, 0]}]),
]
PROMPTS = [
    b"prompt,id\nWhy?,1\nHow?,2\n",
    b"Why?\nHow?\n",
    lines([{"prompt": "Why?"}, {"prompt": "How?"}]),
    DEEP.encode(),
    DIGITS.encode(),
    b'prompt\n"' + b"x" * 200_000 + b'"\n',
    *POOLS[:2],
]


TARGETS = {
    "pool": Target(
        pool, ("pool.jsonl", "pool.json", "pool.parquet", "pool.csv"), POOLS, parquet=True
    ),
    "prompts": Target(prompts, ("p.csv", "p.txt", "p.jsonl"), PROMPTS),
}
