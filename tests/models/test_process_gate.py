"""A gate over a process reward model, from files to verdicts."""

import json
import os
import subprocess
import sys

import process_models
import pytest
import tiny_models

SUITE = """\
rmcheck: 1
name: steps
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.01}
  - {name: no-regression, metric: accuracy, max_drop: 0.99}
"""


@pytest.fixture
def workplace(tmp_path):
    """A suite, its pool, and a model of each kind."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"what is {tiny_models.TEXTS[i % 8]} and {i}",
            "responses": list(process_models.RESPONSES[:4]),
            "golden": [0.0, 1.0, 2.0, 3.0],
        }
        for i in range(32)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "steps.yaml").write_text(SUITE)
    process_models.labelled(tmp_path / "labelled")
    tiny_models.causal(tmp_path / "causal")
    return tmp_path


def test_a_gate_runs_on_both_kinds(workplace):
    """Both are scored, proven and judged; the report holds the formula and the page of each.

    The baseline's separator is in no response, which the reader of the verdicts learns.
    """
    command = [sys.executable, "-m", "pytest", "--rmcheck", "--rmcheck-report=out"]
    command += [r"--rmcheck-model=process:labelled?aggregate=product&step=\n&tag=\n"]
    command += ["--rmcheck-baseline=process:causal?aggregate=mean&step=;&tag=|"]

    done = subprocess.run(
        [*command, "steps.yaml"], cwd=workplace, capture_output=True, text=True, env=os.environ
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    report = (workplace / "out" / "report.json").read_text()
    assert "log-odds, product over steps" in report
    assert "token '+' against '-'" in report
    assert "a prompt is computed once for all of its responses" in report
    assert "every response has one step: is step=; what separates steps?" in report
