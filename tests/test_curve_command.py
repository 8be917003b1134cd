"""The command `rmcheck curve`."""

import csv
import json

import numpy as np
import pytest

from rmcheck.cli import main

SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
golden: {column: golden}
resamples: 1000
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.60}
"""
MODEL = "--model=python:curve_rules:length?version=1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with a pool of 40 prompts x 32 responses whose golden likes length."""
    rng = np.random.default_rng(0)
    lengths = rng.permuted(np.tile(np.arange(1, 33), (40, 1)), axis=1)
    rows = (
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"{i}." + "x" * int(n) for n in lengths[i]],
            "golden": (lengths[i] + rng.normal(0, 8, 32)).tolist(),
        }
        for i in range(40)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    (tmp_path / "curve_rules.py").write_text(
        "def length(prompts, responses):\n    return [float(len(r)) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_both_curves_are_printed_and_written(folder, capsys):
    """A table over n, one over KL with what was refused and why, and the same as JSON."""
    assert main(["curve", "demo.yaml", MODEL, "--kl=0.1,5", "--out=curve.json"]) == 0
    shown = capsys.readouterr().out
    written = json.loads((folder / "curve.json").read_text())[0]

    assert "demo: curve_rules:length, 95% bounds that hold for each whole curve" in shown
    assert "best-of-n, 40 prompts:" in shown
    assert "past the peak at n = 32: no sign" in shown
    assert "refused: KL 5 is out of reach" in shown
    assert "1,280 scored" in shown
    assert written["suite"] == "demo"
    assert written["best_of_n"]["points"][-1]["n"] == 32
    assert written["best_of_n"]["resamples"] == 1000
    assert written["kl"]["points"][0]["kl"] == 0.1
    assert written["kl"]["refused"][0]["kl"] == 5


def test_what_accuracy_promises_stands_beside_what_is_measured(folder, capsys):
    """The drop of a Gaussian proxy of this accuracy, the measured one, and the errors' tail."""
    main(["curve", "demo.yaml", MODEL, "--out=curve.json"])
    shown = capsys.readouterr().out
    written = json.loads((folder / "curve.json").read_text())[0]
    measured = written["best_of_n"]["points"][-1]["drop"]

    assert "what a Gaussian proxy would lose at n = 32, 40 prompts:" in shown
    assert written["expected_and_observed"]["drop_observed"] == pytest.approx(measured)
    assert f"measured: {measured:.3f}" in shown
    assert written["tails"]["responses"] == 1_280


def test_a_pool_of_several_steps_says_to_which_the_model_holds(folder, capsys):
    """With the slope, the advice where it falls, and the same as JSON."""
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        row["policy_step"] = 100 * (i % 2)
        if i % 2:
            row["golden"] = rng.normal(size=32).tolist()
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    arguments = ["curve", "demo.yaml", MODEL, "--over=policy_step", "--at-least=0.6"]
    assert main([*arguments, "--out=curve.json"]) == 0
    shown = capsys.readouterr().out
    accuracy, ndr = json.loads((folder / "curve.json").read_text())[0]["decay"]

    assert "accuracy of 0.6 or more, by its lower bound: to step 0" in shown
    assert "judge the model on responses of the policy as it is now" in shown
    assert [point["step"] for point in accuracy["points"]] == [0, 100]
    assert accuracy["upper"] < 0
    assert (accuracy["holds_to"], ndr["holds_to"]) == (0, None)
    assert main(["curve", "demo.yaml", MODEL, "--over=step"]) == 2
    assert main(["curve", "demo.yaml", MODEL, "--at-least=0.6"]) == 2


def test_what_the_picked_texts_look_like_stands_below(folder, capsys):
    """Every trait at the largest n in the table, and at each n in the JSON."""
    main(["curve", "demo.yaml", MODEL, "--out=curve.json"])
    shown = capsys.readouterr().out
    picked = json.loads((folder / "curve.json").read_text())[0]["picked_texts"]

    assert "what the texts picked by best of 32 have more or less of than all:" in shown
    assert "stock opening" in shown
    assert {one["trait"] for one in picked} >= {"words", "refusal", "rare words"}
    assert min(one["n"] for one in picked) == 2


def test_a_tail_that_cannot_be_told_says_why(folder, capsys):
    """Too few responses give the reason instead of numbers."""
    text = (folder / "pool.jsonl").read_text().splitlines()[:31]
    (folder / "pool.jsonl").write_text("\n".join(text) + "\n")

    main(["curve", "demo.yaml", MODEL])

    assert "tail of the errors: not told, " in capsys.readouterr().out


def test_columns_are_aligned(folder, capsys):
    """Every line of the table over n ends in the same column."""
    main(["curve", "demo.yaml", MODEL, "--n=1,4,32"])
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.endswith(" drop"))

    assert len({len(line) for line in lines[head : head + 4]}) == 1
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["1", "4", "32"]


def test_points_are_written_as_csv(folder, capsys):
    """One line a point, with the curve it is of."""
    main(["curve", "demo.yaml", MODEL, "--n=2,8", "--kl=0.1", "--out=curve.csv"])
    rows = list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))

    assert [(row["curve"], row["n"], row["kl"]) for row in rows] == [
        ("best_of_n", "2", ""),
        ("best_of_n", "8", ""),
        ("kl", "", "0.1"),
    ]
    assert 0 < float(rows[1]["drop"]) < 1


def test_scores_come_from_the_store(folder, capsys):
    """A second curve scores nothing."""
    main(["curve", "demo.yaml", MODEL])
    capsys.readouterr()

    main(["curve", "demo.yaml", MODEL])

    assert "1,280 from the store" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--n=4,x"], "--n is '4,x'; valid: whole numbers from 1 with commas"),
        (["--n=0,4"], "--n is '0,4'; valid: whole numbers"),
        (["--n=4,64"], "demo: best of 64 asked; the pool has 32 responses"),
        (["--n=4"], "n = 4 has no shape"),
        (["--kl=0"], "kl is 0.0; valid"),
        (["--kl=a"], "--kl is 'a'; valid: numbers above 0"),
        (["--out=curve.txt"], "--out is 'curve.txt'; valid: a file that ends in .json or .csv"),
        (["--out=missing/curve.csv"], "cannot be written"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(folder, capsys, arguments, said):
    """What was given and what is valid, without a traceback."""
    status = main(["curve", "demo.yaml", MODEL, *arguments])
    error = capsys.readouterr().err

    assert status == 2
    assert said in error
    assert "Traceback" not in error


def test_a_constant_proxy_is_named_with_its_suite(folder, capsys):
    """A model that gives every response one reward has no curve."""
    (folder / "flat.py").write_text(
        "def one(prompts, responses):\n    return [1.0] * len(responses)\n"
    )

    assert main(["curve", "demo.yaml", "--model=python:flat:one?version=1"]) == 2
    assert "demo: the proxy rewards of every prompt are equal" in capsys.readouterr().err


def test_few_prompts_are_those_of_the_suite(folder, capsys):
    """A suite that decides on no less than 50 prompts trusts no curve on 40."""
    (folder / "demo.yaml").write_text(SUITE.replace("resamples: 1000", "min_prompts: 50"))

    assert main(["curve", "demo.yaml", MODEL, "--trust-suites"]) == 0
    assert "40 independent prompts, fewer than 50" in capsys.readouterr().out


def test_the_picks_become_what_the_model_likes(folder, capsys):
    """A label of the pool over n with bounds, beside golden's, is printed and written."""
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        longest = sorted(row["responses"], key=len)[-4:]
        row["flattering"] = [float(text in longest) for text in row["responses"]]
        shortest = row["responses"].index(min(row["responses"], key=len))
        row["responses"][shortest] = "I can't." if i % 2 else "No."
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ("demo.yaml", MODEL, "--label", "flattering", "refusal", "--out=curve.json")

    assert main(["curve", *how]) == 0
    shown = capsys.readouterr().out
    found = json.loads((folder / "curve.json").read_text())[0]["labels"]

    one = [row for row in found if row["label"] == "flattering"]
    shares = [row["proxy"] for row in one]
    assert one[0]["pool"] == pytest.approx(4 / 32)
    assert shares == sorted(shares)
    assert all(row["proxy_lower"] <= row["proxy"] <= row["proxy_upper"] for row in one)
    assert one[-1]["beyond"] == pytest.approx(one[-1]["proxy"] - one[-1]["golden"])
    assert "what the picks become; golden's: its own best of 32, 40 prompts:" in shown
    assert "more than golden picks, at least" in shown
    assert {row["n"] for row in found if row["label"] == "refusal"} == {row["n"] for row in one}


def test_a_label_that_is_none_is_told_with_those_that_are(folder, capsys):
    """Columns of the pool and traits of texts."""
    assert main(["curve", "demo.yaml", MODEL, "--label", "refusals"]) == 2

    assert "demo has no 'refusals'. Did you mean 'refusal'?" in capsys.readouterr().err
