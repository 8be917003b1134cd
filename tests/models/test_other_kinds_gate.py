"""A gate over an implicit reward, with weighted heads as its baseline, from files to verdicts."""

import json
import os
import subprocess
import sys

import pytest
import tiny_models

SUITE = """\
rmcheck: 1
name: kinds
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.01}
  - {name: no-regression, metric: accuracy, max_drop: 0.99}
"""


@pytest.fixture
def workplace(tmp_path):
    """A suite, its pool, a policy with its reference, and a model of two heads."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"what is {tiny_models.TEXTS[i % 8]} and {i}",
            "responses": list(tiny_models.TEXTS[:4]),
            "golden": [0.0, 1.0, 2.0, 3.0],
        }
        for i in range(32)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "kinds.yaml").write_text(SUITE)
    tiny_models.causal(tmp_path / "policy", seed=1)
    tiny_models.causal(tmp_path / "reference", seed=2)
    labels = {0: "helpfulness", 1: "safety"}
    config = tiny_models.decoder_config("llama", num_labels=2, id2label=labels)
    tiny_models.save(config, tmp_path / "heads")
    return tmp_path


def test_a_gate_runs_on_both_kinds(workplace):
    """Both are scored, proven and judged; the report holds formula, heads and page of each."""
    command = [sys.executable, "-m", "pytest", "--rmcheck", "--rmcheck-report=out"]
    command += ["--rmcheck-model=implicit:policy,reference?beta=0.2"]
    command += ["--rmcheck-baseline=hf:heads?head=helpfulness:0.7,safety:0.3"]

    done = subprocess.run(
        [*command, "kinds.yaml"], cwd=workplace, capture_output=True, text=True, env=os.environ
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    report = (workplace / "out" / "report.json").read_text()
    assert "0.2 * (log policy - log reference), sum over response tokens" in report
    assert "0.7 * 'helpfulness' + 0.3 * 'safety'" in report
    assert "response_tokens" in report
