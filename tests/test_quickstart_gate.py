"""The main job end to end: real transformers models, scored, stored and judged."""

import gzip
import json
import os
import re
import subprocess
import sys
from functools import cache, partial
from itertools import islice
from pathlib import Path

import nursery
import pytest

ROOT = Path(__file__).resolve().parents[1]
FORKED = partial(nursery.run, torch=True)
# Once, everything is as it is for users.
FRESH = partial(subprocess.run, capture_output=True, text=True, check=False)
HEAVY = ("torch", "transformers", "tokenizers")
REPORTER = """
import sys

def pytest_unconfigure():
    print("LOADED", [name for name in {heavy!r} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """Runs the quickstart as `make gate` does, with a store that the workers of this run share."""
    folder = tmp_path_factory.mktemp("quickstart")
    (folder / "loaded_modules.py").write_text(REPORTER.format(heavy=HEAVY))
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quickstart-store"

    def run(model, *arguments, suite="suites/quickstart", start=FORKED):
        command = [
            *(sys.executable, "-m", "pytest", str(suite), "--rmcheck"),
            f"--rmcheck-model=hf:suites/quickstart/models/{model}",
            "--rmcheck-baseline=hf:suites/quickstart/models/baseline",
            *(f"--rmcheck-store={store}", "-p", "loaded_modules", "-s"),
            *arguments,
        ]
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        return start(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path})

    return run


@pytest.fixture(scope="module")
def ran(gate, tmp_path_factory):
    """What a run of a model printed, and its report; `again` is a run after that."""

    @cache
    def once(model, again=False):
        if again:
            once(model)
        folder = tmp_path_factory.mktemp(model)
        done = gate(model, f"--rmcheck-report={folder}", start=nursery.run if again else FORKED)
        return done, json.loads((folder / "report.json").read_text())

    return once


def words_and_numbers(text):
    """The table's lines without their numbers, and the numbers."""
    lines = [line for line in text.splitlines() if line.startswith("quickstart::")]
    words = [re.sub(r"-?\d+\.\d{3}", "#", line).split() for line in lines]
    return words, [float(number) for line in lines for number in re.findall(r"-?\d+\.\d{3}", line)]


def test_the_good_candidate_passes_every_check(ran):
    """Exit code 0, against the older baseline."""
    done, _ = ran("good")

    assert done.returncode == 0, done.stdout
    assert "7 checks: 7 pass." in done.stdout


def test_the_length_lover_fails_although_its_accuracy_is_close(ran):
    """Accuracy and ranking pass; best-of-n and regret do not: the point of the whole tool."""
    reports = {model: ran(model)[1] for model in ("good", "length-lover")}
    found = {m: {c["name"]: c for c in report["checks"]} for m, report in reports.items()}
    failed = {c["name"] for c in reports["length-lover"]["checks"] if c["verdict"] == "fail"}
    accuracy = [found[model]["accuracy"]["value"] for model in ("good", "length-lover")]

    assert failed == {"best-of-16", "regret"}
    assert abs(accuracy[0] - accuracy[1]) <= 0.03
    assert found["length-lover"]["best-of-16"]["lower"] > 0.5
    assert found["good"]["best-of-16"]["upper"] < 0.15


def test_the_readme_shows_what_is_printed(ran):
    """The table on the first screen is that of the real run, to what another CPU may round."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    block = next(text for text in blocks if "quickstart::" in text)
    shown = words_and_numbers(block)

    printed = words_and_numbers(ran("length-lover")[0].stdout)

    assert block.startswith("$ make gate MODEL=hf:suites/quickstart/models/length-lover\n")
    assert printed[0] == shown[0]
    assert printed[1] == pytest.approx(shown[1], abs=0.005)


def test_a_second_run_needs_neither_torch_nor_a_tokenizer(ran):
    """Everything is in the store: nothing is scored, and no engine is imported."""
    done, _ = ran("good", again=True)

    assert done.returncode == 0
    assert "LOADED []" in done.stdout
    assert re.search(r"models/good: 7,680 from the store", done.stdout)


def test_workers_load_each_model_once(gate, tmp_path):
    """Two workers, a fresh store: the texts of 30 prompts are scored once for each model."""
    source = ROOT / "suites" / "quickstart"
    with gzip.open(source / "pool.jsonl.gz", "rt") as lines:
        (tmp_path / "pool.jsonl").write_text("".join(islice(lines, 30)))
    suite = (source / "quickstart.yaml").read_text()
    (tmp_path / "few.yaml").write_text(suite.replace("pool.jsonl.gz", "pool.jsonl"))
    options = (f"--rmcheck-store={tmp_path / 'store'}", f"--rmcheck-report={tmp_path}")

    done = gate("good", "-n", "2", *options, suite=tmp_path / "few.yaml", start=FRESH)
    report = json.loads((tmp_path / "report.json").read_text())
    scored = [model["scoring"]["scored"] for model in report["suites"][0]["models"]]

    assert done.returncode == 1, done.stdout  # 30 prompts decide little
    assert len(report["checks"]) == 7
    assert scored == [960, 960]


@pytest.mark.parametrize(
    ("model", "again"), [("good", False), ("good", True), ("length-lover", False)]
)
def test_the_report_holds_the_conformance_page(ran, model, again):
    """Also when all scores came from the store, the proof of the scoring run is shown."""
    _, report = ran(model, again)
    candidate = report["suites"][0]["models"][0]

    names = {item["name"] for item in candidate["conformance"]}
    assert {"head", "bos", "eos", "position", "batch_invariance"} <= names
    assert all(item["status"] != "fail" for item in candidate["conformance"])


def test_the_try_without_a_checkpoint_ends_as_the_readme_says(tmp_path):
    """Six checks fail; the one that compares asks for a baseline and stops no other."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\$ \.venv/bin/(pytest .*)$", readme, re.MULTILINE)
    command = [sys.executable, "-m", *line.split(), f"--rmcheck-store={tmp_path}"]

    done = nursery.run(command, cwd=ROOT)

    assert (
        "Six checks fail, and `no-regression` says that it needs a `--rmcheck-baseline`" in readme
    )
    assert done.stdout.splitlines()[-1].strip("= ").startswith("6 failed, 1 error")
    assert "no-regression compares with a baseline, and none was given" in done.stdout
    assert "--rmcheck-baseline=" in done.stdout
