"""The page of a large run stays small enough to mail."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from failed_check import RECORD

from rmcheck.checks.measurement import Sampling
from rmcheck.checks.record import EXCERPT, MistakeRecord, PoolRecord, SuiteRecord
from rmcheck.metrics.length_bias import LENGTH
from rmcheck.metrics.rewards import Rewards
from rmcheck.reports.document import report_data
from rmcheck.reports.page import page
from rmcheck.run.drawings import OF_A_MODEL

PROMPTS, RESPONSES, SLICES, METRICS = 2_733, 64, 25, 8
MOST = 2_000_000


@pytest.fixture(scope="module")
def drawn():
    """What is drawn of a candidate and a baseline on 2,733 prompts with 64 responses."""
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    golden = rng.standard_normal((PROMPTS, RESPONSES))
    slices = {"topic": [f"topic {i % SLICES}" for i in range(PROMPTS)]}
    length = rng.lognormal(6, 0.5, golden.shape)
    proxy = golden + rng.standard_normal(golden.shape)
    rewards = Rewards.from_arrays(proxy, golden, slices=slices, columns={LENGTH: length})
    found = {name: draw(rewards, Sampling(resamples=50)) for name, draw in OF_A_MODEL.items()}
    return {name: {"candidate": one, "baseline": one} for name, one in found.items()}


def test_a_page_of_2733_prompts_with_64_responses_is_below_2_mb(drawn):
    """With 200 checks that fail, and the longest texts that any of them shows."""
    text = '<&"é' * (EXCERPT // 4)
    checks = [
        replace(
            RECORD,
            name=f"check {i}",
            slice=f"topic=topic {j}",
            mistakes=tuple(MistakeRecord(f"{j} {k}", 2.0, 1.0, text, text, text) for k in range(3)),
        )
        for i, j in product(range(METRICS), range(SLICES))
    ]
    pool = PoolRecord("pool.jsonl", "native", "ab" * 32, PROMPTS, PROMPTS, 174_912, PROMPTS, {})
    suite = SuiteRecord("demo", "demo.yaml", "column golden", pool, (), 10_000, 0).as_dict()
    data = report_data(checks, [suite | {"drawings": drawn}], (), "0.1.0")

    size = len(page(json.loads(json.dumps(data))).encode())

    assert size < MOST
    assert size > 100_000  # the drawings are there
