"""RL runs of others: from trainers' logs to the table that a study reads."""

import csv
import json

import numpy as np
import pytest

from rmcheck.cli import main
from rmcheck.errors import FileError
from rmcheck.lab.outcomes.logged import logged_rows, over_seeds, read_runs

HEAD = "rm,golden,optimizer,seed,log"
STEPS = np.arange(40)


@pytest.fixture
def listed(tmp_path):
    """Writes a list of runs, and reads it."""

    def reader(*rows, head=HEAD):
        path = tmp_path / "runs.csv"
        path.write_text("\n".join([head, *rows]) + "\n")
        return path

    return reader


def write_openrlhf(path, golden, kl):
    """A log as OpenRLHF writes it: the reward of the training, KL, and an evaluation by golden."""
    rows = [
        {"global_step": int(step), "reward": 0.1 * step, "kl": k, "eval/golden": g}
        for step, g, k in zip(STEPS, golden, kl, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def write_csv(path, golden, kl):
    """Golden's own run: its reward is golden's."""
    rows = [f"{s},{k},{g}" for s, g, k in zip(STEPS, golden, kl, strict=True)]
    path.write_text("\n".join(["step,objective/kl,reward", *rows]) + "\n")


@pytest.fixture
def two_runs(tmp_path, listed):
    """Golden rises to 2 at 20 nats and stays; the proxy's policy comes to 1 there, and falls."""
    rise = np.clip(STEPS / 20, 0, 1)
    write_csv(tmp_path / "own.csv", 1 + 2 * rise, rise * 20)
    proxy = np.where(STEPS <= 20, STEPS / 20, 1 - (STEPS - 20) / 10)
    proxy = np.maximum(proxy, -0.5)
    write_openrlhf(tmp_path / "a.jsonl", 1 + proxy, STEPS.astype(float))
    return listed("golden,golden,ppo,1,own.csv", "a,golden,ppo,1,a.jsonl")


def test_ndr_is_goldens_gain_over_that_of_its_own_run(two_runs):
    """At the end −0.5 of 2; at 20 nats, where golden's run ends, about half."""
    (row,) = logged_rows(read_runs(two_runs))

    assert row["ndr"] == pytest.approx(-0.5 / 2)
    assert row["regret"] == pytest.approx(1.25)
    assert row["golden_gain"] == pytest.approx(-0.5)
    assert row["kl"] == pytest.approx(np.mean(STEPS[-4:]))
    assert row["matched_kl"] == pytest.approx(20)
    assert row["ndr_matched"] == pytest.approx(0.5, abs=0.06)  # smoothed over four points


def test_the_command_writes_what_a_study_reads(two_runs, tmp_path, capsys):
    """A CSV whose columns are those of the laboratory's own `rl.csv`, and two more."""
    from rmcheck.lab.study.rl_table import NEEDED

    out = tmp_path / "out" / "rl.csv"

    assert main(["lab", "logs", str(two_runs), "--out", str(out)]) == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert set(NEEDED) <= row.keys()
    assert (row["rm"], row["golden"], row["optimizer"], row["seed"]) == ("a", "golden", "ppo", "1")
    assert "a against golden, ppo, seed 1: NDR -0.250 [-0." in capsys.readouterr().out


def test_ndr_has_bounds_from_the_noise_of_the_logs(tmp_path, listed):
    """One-sided ones, which hold .4 in most of 20 lists; none where a log has no noise."""
    rows = ["golden,golden,ppo,1,own.csv", "a,golden,ppo,1,a.jsonl"]
    rise, held = 1 - np.exp(-STEPS / 5), []
    for seed in range(20):
        noise = 0.1 * np.random.default_rng(seed).normal(size=(2, STEPS.size))
        write_csv(tmp_path / "own.csv", 1 + rise + noise[0], STEPS)
        write_openrlhf(tmp_path / "a.jsonl", 1 + 0.4 * rise + noise[1], STEPS.astype(float))
        (row,) = logged_rows(read_runs(listed(*rows)))
        held += [row["lower"] <= 0.4, row["upper"] >= 0.4]
        assert row["lower"] < row["ndr"] < row["upper"] < row["lower"] + 1

    assert np.mean(held) >= 0.85
    write_csv(tmp_path / "own.csv", 1 + STEPS / 40, STEPS)
    assert np.isnan(logged_rows(read_runs(listed(*rows)))[0]["lower"])


def test_several_seeds_have_an_interval_of_their_own():
    """Mean and Student's t over the runs that differ in their seed alone; one run has none."""
    rows = [
        {"rm": rm, "golden": "g", "optimizer": "ppo", "seed": seed, "ndr": ndr}
        for rm, seed, ndr in [("a", 1, 0.1), ("a", 2, 0.3), ("a", 3, np.nan), ("b", 1, 0.5)]
    ]
    (name,), (found,) = zip(*over_seeds(rows).items(), strict=True)

    assert name == ("a", "g", "ppo")
    assert found.value == pytest.approx(0.2)
    assert found.upper - found.value == pytest.approx(6.313752 * 0.1)  # t of one degree at .95


def test_a_run_without_goldens_own_has_no_ndr(two_runs, listed):
    """The note says which run is missing; another seed's is another luck."""
    path = listed("golden,golden,ppo,2,own.csv", "a,golden,ppo,1,a.jsonl")
    (row,) = logged_rows(read_runs(path))

    assert np.isnan(row["ndr"])
    assert row["note"] == "no run of golden itself by ppo with seed 1"


def test_a_golden_run_that_gains_nothing_is_no_denominator(tmp_path, listed):
    """Its gain is within the noise of its points."""
    noise = np.random.default_rng(0).normal(size=STEPS.size)
    write_csv(tmp_path / "own.csv", noise, STEPS)
    write_openrlhf(tmp_path / "a.jsonl", noise[::-1], STEPS.astype(float))
    path = listed("golden,golden,ppo,1,own.csv", "a,golden,ppo,1,a.jsonl")
    (row,) = logged_rows(read_runs(path))

    assert np.isnan(row["ndr"])
    assert "no denominator" in row["note"]


def test_without_kl_there_is_an_end_and_no_matched_kl(tmp_path, two_runs, listed):
    """The columns of a log may be named."""
    text = (tmp_path / "own.csv").read_text().replace("step,objective/kl,reward", "t,x,score")
    (tmp_path / "own.csv").write_text(text)
    head = f"{HEAD},step_column,proxy_column"
    path = listed("golden,golden,ppo,1,own.csv,t,score", "a,golden,ppo,1,a.jsonl,,", head=head)
    (row,) = logged_rows(read_runs(path))

    assert row["ndr"] == pytest.approx(-0.25)
    assert np.isnan(row["ndr_matched"])


def test_all_that_is_wrong_with_a_list_is_named_at_once(two_runs, listed):
    """A log that is not there, an empty cell, and a run that stands twice."""
    path = listed(
        "golden,golden,ppo,1,own.csv",
        "a,golden,ppo,1,missing.jsonl",
        "a,,ppo,2,a.jsonl",
        "golden,golden,ppo,1,own.csv",
    )
    with pytest.raises(FileError) as caught:
        read_runs(path)
    said = str(caught.value)

    assert "missing.jsonl" in said
    assert "no golden" in said
    assert "the same run as in line 2" in said


def test_a_list_without_a_column_says_which(two_runs, listed, capsys, tmp_path):
    """And what columns there are."""
    path = listed("a,golden,1,x", head="rm,golden,seed,log")

    assert main(["lab", "logs", str(path), "--out", str(tmp_path / "rl.csv")]) == 2
    assert "no column 'optimizer'" in capsys.readouterr().err
