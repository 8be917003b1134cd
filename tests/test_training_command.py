"""The command `rmcheck training`: from the log of an RL run to one sentence."""

import json

import numpy as np
import pytest

from rmcheck.cli import main


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log in the current directory whose golden peaks at KL 7.4 and falls."""
    rng = np.random.default_rng(0)
    kl = np.linspace(0.0, 30.0, 60)
    d = np.sqrt(kl)
    golden = d * (1 - 0.5 * np.log(np.where(d > 0, d, 1.0))) + 0.05 * rng.normal(size=60)
    rows = zip(range(60), kl, d + 0.05 * rng.normal(size=60), golden, strict=True)
    lines = ["step,kl,proxy,judge", *(f"{s},{k},{p},{g}" for s, k, p, g in rows)]
    (tmp_path / "run.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_log_ends_in_one_sentence(log, capsys):
    """Columns, numbers and the sentence are printed, and no outcome is a failure by itself."""
    assert main(["training", "run.csv", "--golden=judge", "--out=found.json"]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("run.csv: 60 points; steps 0 to 59, KL up to 30 nats")
    assert "golden 'judge'" in printed[1]
    assert any(line.startswith("onset (step)") for line in printed)
    assert printed[-1].startswith("Falls from step ")
    data = json.loads((log / "found.json").read_text())
    assert data["sentence"] == printed[-1]
    assert data["log"]["columns"]["golden"] == "judge"
    assert data["outcome"] == "falls"
    assert data["onset"]["lower"] < data["onset"]["step"] < data["onset"]["upper"]
    assert {"value", "lower", "upper"} <= set(data["transfer"])


def test_a_run_that_follows_shows_no_onset(log, capsys):
    """Where golden follows no onset is printed, and a peak beyond the log has no number."""
    assert main(["training", "run.csv", "--golden=proxy", "--unit=1"]) == 0

    printed = capsys.readouterr().out
    assert "onset" not in printed
    assert "above 30" in printed
    assert "Follows: proxy gained" in printed
    assert "the transfer is 1 by construction" in printed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--fail-on=stopped,falls"], 1),
        (["--fail-on=falls"], 1),
        (["--fail-on=stopped, undecided"], 0),
        (["--axis=kl", "--fail-on=falls"], 1),
        ([], 0),
    ],
)
def test_the_outcomes_that_fail_set_the_exit_code(log, arguments, code):
    """Exit code 1 where the outcome is one of them, so that a pipeline can stop."""
    assert main(["training", "run.csv", "--golden=judge", *arguments]) == code


def test_an_outcome_that_there_is_not_is_refused(log, capsys):
    """A mistyped outcome would never fail anything; all of them are shown."""
    with pytest.raises(SystemExit) as stop:
        main(["training", "run.csv", "--golden=judge", "--fail-on=stoped"])

    assert stop.value.code == 2
    assert "'stoped'; valid: follows, stopped, falls, undecided" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run.csv"], "no column for golden"),
        (["run.csv", "--golden=jugde"], "Did you mean 'judge'?"),
        (["none.csv"], "none.csv: cannot be read"),
        (["run.csv", "--golden=judge", "--out=none/found.json"], "cannot be written"),
        (["run.csv", "--golden=judge", "--unit=0"], "--unit is 0; it must be above 0"),
        (["run.csv", "--golden=judge", "--at-least=nan"], "--at-least is nan; it must be above 0"),
    ],
)
def test_wrong_input_is_exit_2(log, capsys, arguments, said):
    """A wrong column, file or target is told on stderr."""
    assert main(["training", *arguments]) == 2

    assert said in capsys.readouterr().err


def test_a_series_without_noise_names_the_file(log, capsys):
    """What cannot be analysed is exit 2 with the file and the series."""
    text = (log / "run.csv").read_text().splitlines()
    constant = [line.rsplit(",", 1)[0] + ",0.5" for line in text[1:]]
    (log / "flat.csv").write_text("\n".join([text[0], *constant]))

    assert main(["training", "flat.csv", "--golden=judge"]) == 2
    assert "flat.csv: golden: all 60 points" in capsys.readouterr().err
