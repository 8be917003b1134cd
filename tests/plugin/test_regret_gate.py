"""Predicted regret in the gate: the predictor chosen, the history, the second golden read."""

import json
import random
import sys
from dataclasses import replace

import numpy as np
import nursery
import pytest

from rmcheck.cli import main
from rmcheck.errors import SuiteError
from rmcheck.history.history import History
from rmcheck.history.record_reading import run_records
from rmcheck.history.records import RegretRecord, Target
from rmcheck.suite.loader import parse_suite

SUITE = """\
rmcheck: 1
name: demo
resamples: 500
confidence: 0.9
pool: {path: pool.jsonl}
history: history
checks:
  - {name: regret, metric: predicted_regret, n: 20, at_most: 0.5}
"""


@pytest.fixture
def bench(pytester):
    """A folder with a pool of 90 prompts × 10 and an empty history."""
    rng = random.Random(0)
    rows = []
    for i in range(90):
        golden = [round(rng.gauss(0, 1), 3) for _ in range(10)]
        again = [round(g + rng.gauss(0, 0.5), 3) for g in golden]
        answers = [f"answer {j} of {i}" for j in range(10)]
        rows.append(
            {"prompt": f"What is {i}?", "responses": answers, "golden": golden, "again": again}
        )
    pytester.path.joinpath("pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    pytester.path.joinpath("history").mkdir()
    return pytester


def gate(bench, model, *arguments):
    """Run the gate in this process and read its report."""
    result = bench.runpytest_inprocess(
        "--rmcheck", f"--rmcheck-model={model}", "--rmcheck-report=out", *arguments
    )
    return result, json.loads(bench.path.joinpath("out/report.json").read_text())


def remember(bench, noise, regret, capsys):
    """Gate a past model, and put what RL made of it into the history."""
    gate(bench, f"fake:perfect?noise={noise}")
    assert main(["history", "add", "out/report.json", "--to", "history"]) == 0
    capsys.readouterr()
    if regret is None:
        return
    newest = max(bench.path.joinpath("history").glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
    assert (
        main(["history", "add-regret", "history", newest.stem, f"--regret={regret}", "--n=20"]) == 0
    )
    capsys.readouterr()


def test_regret_is_calibrated_on_what_rl_made_of_past_models(bench, capsys):
    """With nine past models at 90 % the prediction follows their regrets, and says so."""
    for k in range(10):
        remember(bench, 0.3 + 0.15 * k, 0.2 + 0.06 * k, capsys)

    result, report = gate(bench, "fake:perfect?noise=0.95")

    (check,) = report["checks"]
    result.stdout.fnmatch_lines(["*calibrated on 10 past RMs with a measured regret*before*"])
    assert 0.4 < check["value"] < 0.55
    assert check["facts"]["pooled_drop"] < 0.4
    assert check["lower"] < check["value"] < check["upper"]


def test_the_fixture_predicts_what_the_suite_s_check_predicts(bench, capsys):
    """In a plain test the prediction is calibrated on the suite's history too."""
    for k in range(10):
        remember(bench, 0.3 + 0.15 * k, 0.2 + 0.06 * k, capsys)
    bench.path.joinpath("test_predicted_regret_fixture.py").write_text(
        "import pytest\n\n\n"
        '@pytest.mark.rmcheck(suite="demo.yaml")\n'
        "def test_regret(predicted_regret):\n"
        "    found = predicted_regret.at(n=20)\n"
        '    assert "calibrated on 10 past RMs" in found.measurement.note\n'
        "    assert 0.4 < found.value < 0.55\n"
    )

    result = bench.runpytest_inprocess(
        "--rmcheck", "--rmcheck-model=fake:perfect?noise=0.95", "test_predicted_regret_fixture.py"
    )

    result.assert_outcomes(passed=1)


def test_a_model_is_not_calibrated_on_itself(bench, capsys):
    """The candidate's own record does not count, and is named as left out."""
    for k in range(3):
        remember(bench, 0.3 + 0.15 * k, 0.2, capsys)

    result, _ = gate(bench, "fake:perfect?noise=0.3")

    result.stdout.fnmatch_lines(
        ["*not calibrated, 2 past RMs*the reward model itself: 1*bounds at 90% need 9*"]
    )


def test_a_run_without_a_regret_counts_for_nothing(bench, capsys):
    """Models that RL has not been run with are counted as such."""
    remember(bench, 0.5, None, capsys)

    result, _ = gate(bench, "fake:perfect?noise=0.7")

    result.stdout.fnmatch_lines(["*not calibrated, 0 past RMs*no regret yet: 1*"])


def test_calibration_that_is_asked_for_and_impossible_is_inconclusive(bench):
    """`predictor: calibrated` with an empty history decides nothing."""
    suite = SUITE.replace("n: 20,", "n: 20, predictor: calibrated,")
    bench.path.joinpath("demo.yaml").write_text(suite)

    result, report = gate(bench, "fake:perfect")

    assert result.ret == 1
    assert report["checks"][0]["verdict"] == "inconclusive"
    result.stdout.fnmatch_lines(["*cannot be calibrated: 0 past RMs*"])


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (SUITE.replace("history: history", "history: histroy"), "*demo.yaml:6*no folder*histroy*"),
        (
            SUITE.replace("history: history\n", "").replace(
                "n: 20,", "n: 20, predictor: calibrated,"
            ),
            "*demo.yaml:7*'calibrated' needs the suite's 'history'*",
        ),
        (
            SUITE.replace("n: 20,", ""),
            "*demo.yaml:8*predicted_regret*needs n or kl, one of them; neither is given*",
        ),
        (
            SUITE.replace("n: 20,", "n: 20, predictor: poled,"),
            "*demo.yaml:8*'poled'*Did you mean 'pooled'*",
        ),
        (
            SUITE.replace("checks:", "golden: {column: golden, repeat: agian}\nchecks:"),
            "*demo.yaml:7*no label column 'agian'*Did you mean 'again'*",
        ),
        (
            SUITE.replace("checks:", "golden: {model: 'fake:perfect', repeat: again}\nchecks:"),
            "*demo.yaml:7*'repeat'*column*",
        ),
    ],
)
def test_what_a_suite_asks_in_vain_is_said_at_its_line(bench, suite, message):
    """A mistake in the suite is found before anything is scored."""
    bench.path.joinpath("demo.yaml").write_text(suite)

    result = bench.runpytest_inprocess("--rmcheck", "--rmcheck-model=fake:perfect")

    assert result.ret not in (0, 1)
    text = " ".join((result.stdout.str() + result.stderr.str()).split())
    words = [part for part in message.split("*") if part]
    assert all(part in text for part in words), text


def test_a_damaged_history_stops_the_suite(bench, capsys):
    """A record that cannot be read is named; predictions are not made on what is left."""
    remember(bench, 0.5, 0.2, capsys)
    (record, *_) = bench.path.joinpath("history").glob("*[!t]-*.json")
    record.write_text(record.read_text()[:100])

    result = bench.runpytest_inprocess("--rmcheck", "--rmcheck-model=fake:perfect")

    assert result.ret not in (0, 1)
    assert record.name in result.stdout.str() + result.stderr.str()


def test_a_second_golden_read_is_used_and_said(bench):
    """With `golden.repeat` the noise of golden is taken out of the regret."""
    suite = SUITE.replace("n: 20,", "n: 10, predictor: measured,")
    bench.path.joinpath("demo.yaml").write_text(suite)
    _, once = gate(bench, "fake:perfect?noise=0.7")
    bench.path.joinpath("demo.yaml").write_text(
        suite.replace("checks:", "golden: {column: golden, repeat: again}\nchecks:")
    )

    _, twice = gate(bench, "fake:perfect?noise=0.7")

    assert twice["checks"][0]["value"] < once["checks"][0]["value"]
    assert "golden's noise taken out" in twice["checks"][0]["note"]
    assert 0.7 < twice["checks"][0]["facts"]["golden_reliability"] < 0.9


def test_a_nested_design_goes_from_rows_to_a_verdict(tmp_path, monkeypatch, capsys):
    """`rmcheck sample` writes rows; labelled, they are the pool of a gate for the same model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tmp_path.joinpath("nested_rules.py").write_text(
        "def number(prompts, responses):\n    return [float(r.split()[1]) for r in responses]\n"
        "def other(prompts, responses):\n    return [-float(r.split()[1]) for r in responses]\n"
    )
    rng = np.random.default_rng(0)
    golden = {}
    with tmp_path.joinpath("big.jsonl").open("w") as file:
        for i in range(60):
            g = rng.standard_normal(64)
            texts = [f"score {v:.6f} {i}" for v in g + 0.8 * rng.standard_normal(64)]
            golden |= dict(zip(texts, g.tolist(), strict=True))
            file.write(json.dumps({"prompt": f"What is {i}?", "responses": texts}) + "\n")
    arguments = ["--design=nested", "--n=4,16,64", "--out=label.jsonl"]
    model = "python:nested_rules:number?version=1"
    assert main(["sample", "big.jsonl", f"--model={model}", *arguments]) == 0
    assert "60 prompts" in capsys.readouterr().out
    rows = [json.loads(line) for line in tmp_path.joinpath("label.jsonl").read_text().splitlines()]
    for row in rows:
        row["golden"] = [golden[text] for text in row["responses"]]
    tmp_path.joinpath("labelled.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    tmp_path.joinpath("nested.yaml").write_text(
        "rmcheck: 1\nname: nested\nresamples: 500\npool: {path: labelled.jsonl}\nchecks:\n"
        "  - {name: regret, metric: predicted_regret, n: 64, predictor: nested, at_most: 0.45}\n"
    )

    def verdict(rule):
        command = [sys.executable, "-m", "pytest", "--rmcheck", "nested.yaml"]
        command += [f"--rmcheck-model=python:nested_rules:{rule}?version=1"]
        return nursery.run(command, cwd=tmp_path)

    same, other = verdict("number"), verdict("other")
    assert same.returncode == 0, same.stdout
    assert "measured at n=64 from the labels of a nested design" in same.stdout
    assert other.returncode == 1
    assert "the labels were drawn for another RM" in " ".join(other.stdout.split())


def test_rows_are_not_written_over(tmp_path, monkeypatch, capsys):
    """A file with that name may hold labels: the command refuses, in one line."""
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "q", "responses": ["a", "b"], "golden": [1, 2]}
    tmp_path.joinpath("big.jsonl").write_text(json.dumps(row) + "\n")
    tmp_path.joinpath("label.jsonl").write_text("labels\n")
    arguments = ["--design=nested", "--n=2", "--random=2", "--out=label.jsonl"]

    code = main(["sample", "big.jsonl", "--model=fake:random", *arguments])

    assert code == 2
    assert "label.jsonl exists, maybe with labels in it" in capsys.readouterr().err
    assert tmp_path.joinpath("label.jsonl").read_text() == "labels\n"


RL_SUITE = """\
rmcheck: 1
name: demo
resamples: 500
confidence: 0.9
pool: {path: pool.jsonl}
history: history
lineage: on_policy
checks:
  - {name: rl, metric: predicted_regret, kl: 0.5, optimizer: rl, at_most: 0.9}
"""


def rl_history(bench, lineages):
    """Past models with RL runs: what the gate saw of one, with other numbers for each."""
    (run,) = run_records(json.loads(bench.path.joinpath("out/report.json").read_text()))
    (check,) = run.checks
    history = History(bench.path / "history")
    for k, lineage in enumerate(lineages):
        facts = {name: value + 0.02 * k for name, value in check.facts.items()}
        past = replace(
            run, fingerprint=f"past {k}", lineage=lineage, checks=(replace(check, facts=facts),)
        )
        history.add(past)
        target = Target("kl", 0.5, "rl")
        regret = RegretRecord(past.id, past.fingerprint, 0.3 + 0.02 * k, target, past.time)
        history.add(regret)


def test_rl_is_foretold_from_rl_runs_of_the_same_lineage_alone(bench):
    """Without them nothing is decided, and it is said why; with nine at 90 % they decide."""
    bench.path.joinpath("demo.yaml").write_text(RL_SUITE)

    result, report = gate(bench, "fake:perfect?noise=0.3")
    assert [check["verdict"] for check in report["checks"]] == ["inconclusive"]
    result.stdout.fnmatch_lines(["*what RL makes of a reward model does not follow from*"])

    rl_history(bench, ["on_policy"] * 10 + ["off_policy"] * 3)
    result, report = gate(bench, "fake:perfect?noise=0.3")
    (check,) = report["checks"]
    assert check["verdict"] == "pass"
    assert "calibrated on 10 past RMs with a measured regret" in check["note"]
    assert "another lineage: 3" in check["note"]
    assert report["suites"][0]["lineage"] == "on_policy"

    bench.path.joinpath("demo.yaml").write_text(RL_SUITE.replace("lineage: on_policy\n", ""))
    _, report = gate(bench, "fake:perfect?noise=0.3")
    assert [check["verdict"] for check in report["checks"]] == ["inconclusive"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kl: 0.5", "n: 16", "optimizer rl needs kl"),
        ("optimizer: rl", "optimizer: rl, predictor: pooled", "past RL runs alone decide"),
        ("optimizer: rl", "optimizer: ppo", "'ppo'"),
        ("on_policy", "mine", "'mine'"),
    ],
)
def test_what_cannot_be_asked_of_rl_is_refused_in_the_suite(old, new, said):
    """With the place and what is valid."""
    with pytest.raises(SuiteError) as caught:
        parse_suite(RL_SUITE.replace(old, new), "demo.yaml")

    assert said in str(caught.value)
