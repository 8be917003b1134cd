"""The command `rmcheck training`: from the log of an RL run to one sentence."""

import json

import numpy as np
import pytest

from rmcheck.cli import main


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log in the current directory whose golden peaks at KL 7.4 and falls."""
    rng = np.random.default_rng(0)
    kl = np.linspace(0.0, 30.0, 40)
    d = np.sqrt(kl)
    golden = d * (1 - 0.5 * np.log(np.where(d > 0, d, 1.0))) + 0.05 * rng.normal(size=40)
    rows = zip(range(40), kl, d + 0.05 * rng.normal(size=40), golden, strict=True)
    lines = ["step,kl,proxy,judge", *(f"{s},{k},{p},{g}" for s, k, p, g in rows)]
    (tmp_path / "run.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_log_ends_in_one_sentence(log, capsys):
    """The columns, the curve and the sentence are printed; over-optimisation is no failure."""
    assert main(["training", "run.csv", "--golden=judge", "--out=found.json"]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("run.csv: 40 points; steps 0 to 39, KL up to 30 nats")
    assert "golden 'judge'" in printed[1]
    assert printed[-1].startswith("Over-optimised from step ")
    data = json.loads((log / "found.json").read_text())
    assert data["sentence"] == printed[-1]
    assert data["log"]["columns"]["golden"] == "judge"


def test_a_run_without_a_turn_shows_none(log, capsys):
    """Without over-optimisation no turn is printed, and a peak beyond the log has no number."""
    assert main(["training", "run.csv", "--golden=proxy"]) == 0

    printed = capsys.readouterr().out
    assert "golden is highest" not in printed
    assert "above 30" in printed
    assert "No sign of over-optimisation up to KL 30" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run.csv"], "no column for golden"),
        (["run.csv", "--golden=jugde"], "Did you mean 'judge'?"),
        (["none.csv"], "none.csv: cannot be read"),
        (["run.csv", "--golden=judge", "--out=none/found.json"], "cannot be written"),
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
    assert "flat.csv: golden: all 40 points" in capsys.readouterr().err
