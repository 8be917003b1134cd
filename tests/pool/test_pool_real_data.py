"""Published data sets as they are: all rows load, and their known faults are found.

Every count is taken twice: by the reader, and from the raw rows in the test itself.
"""

import gzip
import json
import re
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rmcheck.errors import PoolError
from rmcheck.pool.faults import fault_counts
from rmcheck.pool.labels import labelled
from rmcheck.pool.pool import Pool
from rmcheck.pool.reading import read_pool

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the published data sets are not beside this checkout"
)


def raw(folder: str) -> list[dict[str, Any]]:
    """All rows below a folder, read without rmcheck."""
    found = []
    path = DATA / folder
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            found += (
                json.loads(data)
                if data.lstrip()[:1] == b"["
                else [json.loads(line) for line in data.splitlines()]
            )
    return found


def sizes(pool: Pool) -> tuple[int, int, int, int]:
    """Rows, prompts, responses and clusters."""
    responses = sum(len(p.responses) for p in pool.prompts)
    return pool.rows_read, len(pool.prompts), responses, len({p.cluster for p in pool.prompts})


def repeats(keys: list[Any]) -> int:
    """How many keys are the same as an earlier one."""
    return sum(count - 1 for count in Counter(keys).values())


def test_rmb_pairs():
    """Identical answers, repeated rows and empty answers are found in RMB's pairs."""
    rows = raw("rmb/Pairwise_set")
    answers = [(r["chosen"]["answer"], r["reject"]["answer"]) for r in rows]
    asked = [tuple((m["role"], m["content"]) for m in r["conversation_input"]) for r in rows]

    pool = read_pool(DATA / "rmb" / "Pairwise_set")

    assert pool.format == "rmb_pairwise"
    assert sizes(pool) == (len(rows), len(rows), 2 * len(rows), len(set(asked)))
    assert fault_counts(pool) == {
        "identical_answers": {"keep": sum(a == b for a, b in answers)},
        "duplicate_row": {
            "keep": repeats([(q, *sorted(a)) for q, a in zip(asked, answers, strict=True)])
        },
        "empty_answer": {"keep": sum(not a.strip() or not b.strip() for a, b in answers)},
    }
    # Counted once on the published files, so that a change of the data is noticed too.
    assert fault_counts(pool)["identical_answers"] == {"keep": 9}
    assert sum("language" not in p.slices for p in pool.prompts) == sum(
        r["conversation_input"][-1].get("language") is None for r in rows
    )
    assert {p.slices["goal"] for p in pool.prompts} == {"Helpfulness", "Harmlessness"}


def test_rmb_best_of_n():
    """Two to six losers stand after the best answer; identical answers are found."""
    rows = raw("rmb/BoN_set")
    answers = [[r["bon_best"]["answer"], *(x["answer"] for x in r["loser_list"])] for r in rows]

    pool = read_pool(DATA / "rmb" / "BoN_set")

    assert [list(p.responses) for p in pool.prompts] == answers
    assert {len(p.responses) for p in pool.prompts} == {3, 4, 5, 6, 7}
    assert all(p.labels["golden"][0] == 1 and not any(p.labels["golden"][1:]) for p in pool.prompts)
    assert fault_counts(pool) == {
        "identical_answers": {"keep": sum(len(set(a)) < len(a) for a in answers)}
    }
    assert fault_counts(pool)["identical_answers"] == {"keep": 16}


def test_both_sets_of_rmb_are_not_one_pool():
    """The folder above both is refused, with both formats."""
    with pytest.raises(PoolError, match=r"several formats.*rmb_bon \(37 .*rmb_pairwise \(34 "):
        read_pool(DATA / "rmb")


def test_rm_bench():
    """Nine pairs a row, a third of each difficulty; styles with one text repeat pairs."""
    rows = raw("rm_bench")
    pairs = [(r["prompt"], c, j) for r in rows for c in r["chosen"] for j in r["rejected"]]

    pool = read_pool(DATA / "rm_bench")

    assert pool.format == "rm_bench"
    assert sizes(pool) == (len(rows), 9 * len(rows), 18 * len(rows), len(rows))
    assert Counter(p.slices["difficulty"] for p in pool.prompts) == dict.fromkeys(
        ("easy", "normal", "hard"), 3 * len(rows)
    )
    assert fault_counts(pool) == {"duplicate_row": {"keep": repeats(pairs)}}
    assert repeats(pairs) == 90
    assert len(read_pool(DATA / "rm_bench", faults={"duplicate_row": "drop"}).prompts) == len(
        set(pairs)
    )


def test_hh_rlhf():
    """Pairs whose prompts differ fail the read by default, and are counted when dropped."""
    path = DATA / "hh_rlhf" / "harmless-base-test.jsonl.gz"
    rows = raw("hh_rlhf/harmless-base-test.jsonl.gz")
    marker = "\n\nAssistant:"
    cut = [(r["chosen"].rpartition(marker), r["rejected"].rpartition(marker)) for r in rows]
    alike = [(a, b) for a, b in cut if a[0].split() == b[0].split()]
    speakers = [re.findall(r"\n\n(Human|Assistant):", "".join(a)) for a, _ in alike]

    with pytest.raises(PoolError, match="differing_prompts: 3 in 1752 rows"):
        read_pool(path)
    pool = read_pool(path, faults={"differing_prompts": "drop"})

    assert fault_counts(pool) == {
        "differing_prompts": {"drop": len(rows) - len(alike)},
        "empty_answer": {"keep": sum(not a[2].strip() or not b[2].strip() for a, b in alike)},
        "repeated_role": {"keep": sum(any(x == y for x, y in pairwise(s)) for s in speakers)},
    }
    assert [len(p.messages) + 1 for p in pool.prompts] == [len(s) for s in speakers]
    assert (len(rows), len(pool.prompts)) == (1752, 1749)


def test_alpaca_eval_pool():
    """603 prompts × 56 systems load in a few seconds; the second judge knows some responses."""
    rows = raw("alpaca_eval/pool.jsonl.gz")

    start = time.perf_counter()
    pool = read_pool(DATA / "alpaca_eval" / "pool.jsonl.gz")
    seconds = time.perf_counter() - start

    judged = sum(v is not None for r in rows for v in r["gpt4_vs_davinci003"])
    second = labelled(pool, "gpt4_vs_davinci003", "drop")

    assert pool.format == "native"
    assert sizes(pool)[:2] == (603, 603)
    assert fault_counts(pool) == {
        "identical_answers": {
            "keep": sum(len(set(r["responses"])) < len(r["responses"]) for r in rows)
        },
        "empty_answer": {"keep": sum(any(not x.strip() for x in r["responses"]) for r in rows)},
    }
    assert pool.label_columns == ("golden", "gpt4_vs_davinci003")
    assert pool.slice_columns == ("category",)
    assert sum(len(p.responses) for p in second.prompts) == judged
    assert all(
        rows[p.line - 1]["responses"][i] == r
        for p in second.prompts
        for i, r in zip(p.indices, p.responses, strict=True)
    )
    with pytest.raises(PoolError, match="missing_label: 603 in 603 prompts"):
        labelled(pool, "gpt4_vs_davinci003")
    assert seconds < 10  # 0.4 s on one 2026 core


def test_alpaca_eval_annotations_agree_with_the_pool():
    """The golden of a published annotation is that of the same response in the pool."""
    known = {
        (p.messages, response): golden
        for p in read_pool(DATA / "alpaca_eval" / "pool.jsonl.gz").prompts
        for response, golden in zip(p.responses, p.labels["golden"], strict=True)
    }

    annotated = read_pool(DATA / "alpaca_eval" / "original").prompts
    both = [
        (p.labels["golden"][1], known[p.messages, p.responses[1]])
        for p in annotated
        if (p.messages, p.responses[1]) in known
    ]

    assert len(annotated) == 200
    assert all(sum(p.labels["golden"]) == pytest.approx(1) for p in annotated)
    assert [a for a, _ in both] == pytest.approx([b for _, b in both], abs=1e-6)


def test_one_response_a_row():
    """The outputs of two gaming systems become two responses to each prompt."""
    pool = read_pool(DATA / "alpaca_eval" / "gamed.jsonl.gz")

    assert (pool.format, sizes(pool)[:3]) == ("native_rows", (1206, 603, 1206))
    assert {len(p.labels["golden"]) for p in pool.prompts} == {2}
