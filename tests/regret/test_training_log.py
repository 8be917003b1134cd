"""Logs of RL runs: every known form is read, garbage is refused, and the turn is found."""

import csv
import json

import numpy as np
import pytest

from rmcheck.errors import FileError, UndefinedMetricError
from rmcheck.regret.training_analysis import analyse_training
from rmcheck.regret.training_log import TrainingLog, read_training_log

SIZE = 40


def a_run(*, beta=0.5, noise=0.05, size=SIZE, seed=0):
    """Step, KL, proxy and golden of a run whose golden follows Gao's RL form plus noise."""
    rng = np.random.default_rng(seed)
    kl = np.linspace(0.0, 30.0, size)
    d = np.sqrt(kl)
    golden = 1 + d * (1 - beta * np.log(np.where(d > 0, d, 1.0)))
    return [
        {"step": 10 * (i + 1), "kl": kl[i], "proxy": p, "golden": g}
        for i, (p, g) in enumerate(
            zip(
                d + noise * rng.normal(size=size),
                golden + noise * rng.normal(size=size),
                strict=True,
            )
        )
    ]


def write_csv(path, rows, delimiter=","):
    """The rows as a table with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_lines(path, rows):
    """The rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def renamed(rows, **names):
    """The rows with other column names; None leaves a column out."""
    return [
        {names.get(key, key): value for key, value in row.items() if names.get(key, key)}
        for row in rows
    ]


def refused(path, **columns):
    """What reading the file says."""
    with pytest.raises(FileError) as caught:
        read_training_log(path, columns)
    return str(caught.value)


def test_every_container_gives_the_same_points(tmp_path):
    """CSV, TSV, JSON Lines, a JSON list and trainer_state.json are read alike."""
    rows = a_run()
    whole = tmp_path / "trainer_state.json"
    whole.write_text(json.dumps({"global_step": 400, "log_history": rows}, indent=2))
    (tmp_path / "one_line.json").write_text(json.dumps({"log_history": rows}))
    (tmp_path / "list.json").write_text(json.dumps(rows))
    write_csv(tmp_path / "a.csv", rows)
    write_csv(tmp_path / "b.tsv", rows, delimiter="\t")
    write_lines(tmp_path / "c.jsonl", rows)

    logs = [read_training_log(path) for path in sorted(tmp_path.iterdir())]

    assert len(logs) == 6
    for log in logs:
        assert log.steps.tolist() == [row["step"] for row in rows]
        assert log.golden.tolist() == [row["golden"] for row in rows]
        assert log.left_out == {}


def test_ppo_of_trl_is_read(tmp_path):
    """objective/kl and objective/scores are KL and proxy; golden comes in rows of its own."""
    state = []
    for row in a_run():
        step = {"step": row["step"], "objective/kl": row["kl"], "objective/scores": row["proxy"]}
        state.append({**step, "objective/rlhf_reward": 9.0, "policy/approxkl_avg": 0.1})
        state.append({"step": row["step"], "eval_golden": row["golden"]})
    state.append({"step": 400, "train_runtime": 3.0})
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": state}))

    log = read_training_log(path)

    assert log.columns == {
        "step": "step",
        "kl": "objective/kl",
        "proxy": "objective/scores",
        "golden": "eval_golden",
    }
    assert log.proxy.tolist() == [row["proxy"] for row in a_run()]
    assert log.left_out == {"rows without KL, proxy and golden": 1}


@pytest.mark.parametrize("length", ["completions/mean_length", "response_length"])
def test_a_kl_per_token_becomes_one_per_sequence(tmp_path, length):
    """TRL's GRPO and OpenRLHF log the KL of a token; it is multiplied by the length, and told."""
    rows = [{**row, "kl": row["kl"] / 50, length: 50.0} for row in renamed(a_run(), proxy="reward")]
    path = write_lines(tmp_path / "log.jsonl", rows)

    found = read_training_log(path)
    taken = read_training_log(path, {"kl": "kl"})

    np.testing.assert_allclose(found.kl, [row["kl"] for row in a_run()])
    assert "mean per token" in found.notes[0]
    np.testing.assert_allclose(taken.kl, [row["kl"] / 50 for row in a_run()])
    assert taken.notes == ()


def test_exports_of_loggers_are_read(tmp_path):
    """Names of runs, `train/` and the range columns of Weights & Biases do not get in the way."""
    rows = renamed(a_run(), step="Step", kl="ppo-7 - train/objective/kl", proxy="ppo-7 - reward")
    rows = [{**row, "ppo-7 - reward__MIN": 0, "ppo-7 - reward__MAX": 9} for row in rows]

    log = read_training_log(write_csv(tmp_path / "wandb.csv", rows))

    assert log.columns["kl"] == "ppo-7 - train/objective/kl"
    assert log.columns["proxy"] == "ppo-7 - reward"


def test_columns_can_be_named(tmp_path):
    """A name given wins over known ones, and one that is not there has its near miss."""
    rows = [{**row, "judge score": -row["golden"]} for row in a_run()]
    path = write_csv(tmp_path / "a.csv", rows)

    log = read_training_log(path, {"golden": "judge score"})

    assert log.golden.tolist() == [-row["golden"] for row in a_run()]
    said = refused(path, golden="judge scor", step="Step")
    assert "no column 'judge scor' for golden. Did you mean 'judge score'?" in said
    assert "no column 'Step' for step" in said


def test_missing_and_ambiguous_columns_are_all_told(tmp_path):
    """Each role without a column, and each with two, is one problem that says how to name one."""
    rows = renamed(a_run(), kl=None, golden=None, proxy="a - reward")
    rows = [{**row, "b - reward": 1.0} for row in rows]

    said = refused(write_csv(tmp_path / "a.csv", rows))

    assert "no column for kl" in said
    assert "no column for golden" in said
    assert "Name one with --golden" in said
    assert "proxy could be a - reward or b - reward; name one with --proxy" in said


def test_a_penalised_reward_is_no_proxy(tmp_path):
    """objective/rlhf_reward is not taken for what the RM said, and the error says why."""
    rows = renamed(a_run(), proxy="objective/rlhf_reward")

    said = refused(write_csv(tmp_path / "a.csv", rows))

    assert "objective/rlhf_reward has the KL penalty in it" in said


def test_a_single_tensorboard_series_is_explained(tmp_path):
    """An export with one series says that files must be joined."""
    path = tmp_path / "kl.csv"
    path.write_text("Wall time,Value\n1.0,2.0\n")

    assert "TensorBoard export holds one series a file" in refused(path)


def test_steps_without_golden_are_counted(tmp_path):
    """Rows without an evaluation are normal, left out, and counted by what they lack."""
    rows = a_run(size=60)
    for i, row in enumerate(rows):
        if i % 3:
            del row["golden"]

    log = read_training_log(write_csv(tmp_path / "a.csv", rows))

    assert log.steps.size == 20
    assert log.left_out == {"steps without golden": 40}


def test_all_wrong_cells_and_steps_are_told_with_their_lines(tmp_path):
    """NaN, text, infinity, repeated and unordered steps come at once, kind by kind."""
    rows = a_run()
    rows[2]["golden"] = "NaN"
    rows[3]["golden"] = "bad"
    rows[4]["kl"] = "inf"
    rows[6]["step"] = rows[5]["step"]
    rows[8]["step"] = 15
    rows[9]["step"] = ""

    said = refused(write_csv(tmp_path / "a.csv", rows))

    assert "a.csv:4: 2 cells of 'golden' that are no finite number (line 4: 'NaN'; line 5:" in said
    assert "1 cells of 'kl' that are no finite number (line 6: 'inf')" in said
    assert "steps with two values of 'kl' (line 8: step 60 has" in said
    assert "1 steps out of order (line 10: 15 after 80)" in said
    assert "1 rows without a step (line 11:" in said


def test_a_log_with_many_wrong_rows_stays_readable(tmp_path):
    """Only the first rows of a kind are shown, and the rest are counted."""
    rows = [{**row, "golden": "NaN"} for row in a_run()]

    said = refused(write_csv(tmp_path / "a.csv", rows))

    assert "40 cells of 'golden'" in said
    assert "and 35 more" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("[1, 2]", "entries that are no objects: 1, 2"),
        ('{"a": 1,\n "b": 2}', "a JSON object without log_history"),
        ('{"step": 1}\n{"step": \n', ":2: not JSON"),
        ('{"step": 1}\n[2]\n', ":2: a row must be an object, not list"),
        ("step,kl,kl\n1,2,3\n", "columns with the same name: kl"),
        ("step,kl\n1,2,3\n", ":2: 3 cells, and the header has 2"),
        ('{"log_history": 3}', "log_history is int"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, text, said):
    """Each broken form says what is wrong and where."""
    path = tmp_path / "log"
    path.write_text(text)

    assert said in refused(path)


def test_a_log_that_is_not_there_is_refused(tmp_path):
    """A missing file and one that is not text are errors of the file."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")

    assert "cannot be read" in refused(tmp_path / "none.csv")
    assert "not UTF-8" in refused(tmp_path / "bytes")


def test_too_few_points_are_refused(tmp_path):
    """Fewer than ten evaluations are no log, and what was left out is said."""
    rows = a_run()
    for row in rows[9:]:
        del row["golden"]

    said = refused(write_lines(tmp_path / "a.jsonl", rows))

    assert "9 steps have KL, proxy and golden; 10 are needed (31 steps without golden)" in said


def test_a_kl_that_is_none_is_refused(tmp_path):
    """Now and then an estimate below 0 is taken as 0; many of them, or a constant, are no KL."""
    rows = a_run()
    rows[0]["kl"] = -0.1
    few = read_training_log(write_lines(tmp_path / "few.jsonl", rows))
    negative = write_lines(tmp_path / "a.jsonl", [{**row, "kl": -row["kl"]} for row in rows])
    constant = write_lines(tmp_path / "b.jsonl", [{**row, "kl": 0.0} for row in rows])

    assert few.kl[0] == 0
    assert few.notes == ("1 KL estimates below 0 taken as 0",)
    assert "is below 0 at 39 of 40 steps" in refused(negative)
    assert "'kl' is 0 at all 40 steps" in refused(constant)


def log_of(rows):
    """The rows as they would be read."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    steps = columns.pop("step").astype(float)
    return TrainingLog("run.csv", steps, **columns, columns={}, left_out={}, notes=())


def test_an_over_optimised_run_is_found_where_it_is():
    """Golden with a peak at d* = exp(1/0.5 − 1), KL 7.39, is said to fall from about there."""
    found = analyse_training(log_of(a_run()))

    assert found.outcome == "over-optimised"
    assert found.sentence.startswith(f"Over-optimised from step {found.split.step.value:g}")
    assert found.curve.alpha.value == pytest.approx(1.0, abs=0.06)
    assert found.curve.beta.value == pytest.approx(0.5, abs=0.03)
    assert found.curve.start.value == pytest.approx(1.0, abs=0.1)
    assert found.curve.peak_kl.lower < np.exp(2) < found.curve.peak_kl.upper
    assert found.split.kl.value == pytest.approx(np.exp(2), abs=1.5)
    assert found.split.golden_after.upper < 0
    # The gain at the peak is β d* = 1.359, of which d = √30 keeps .819.
    assert found.split.lost_share == pytest.approx(1 - 0.8193 / 1.3591, abs=0.05)


def test_noise_free_coefficients_are_recovered():
    """Least squares gives α, β and the golden of the initial policy back."""
    curve = analyse_training(log_of(a_run(noise=1e-9))).curve

    assert [curve.start.value, curve.alpha.value, curve.beta.value] == pytest.approx(
        [1.0, 1.0, 0.5], abs=1e-6
    )
    assert curve.peak_kl.value == pytest.approx(np.exp(2), rel=1e-6)
    assert curve.rms < 1e-8


def test_a_run_that_only_rises_shows_no_sign():
    """Golden that keeps rising has no peak, and the sentence says what would have been seen."""
    found = analyse_training(log_of(a_run(beta=0.1)))

    assert found.outcome == "no sign"
    assert found.split.p_golden_falls > 0.5
    assert "would have been seen" in found.sentence


def test_a_golden_that_stalls_is_said_to():
    """Golden that stays at its plateau while proxy rises has not fallen, and the split is told."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 1, 60)
    golden = np.minimum(3 * t, 1) + 0.03 * rng.normal(size=60)
    proxy = t + 0.03 * rng.normal(size=60)

    found = analyse_training(TrainingLog("run", t, 25 * t, proxy, golden, {}, {}, ()))

    assert found.outcome == "no sign"
    assert found.sentence.endswith("proxy rises and golden does not measurably.")


def test_a_noisy_run_cannot_be_said():
    """Where a fall of a third of the gain would go unseen, neither outcome is claimed."""
    found = analyse_training(log_of(a_run(noise=1.5)))

    assert found.outcome == "cannot say"
    assert "too noisy or too short" in found.sentence


def test_golden_that_falls_with_the_proxy_is_not_over_optimisation():
    """Where proxy falls as well after the turn, something else went wrong."""
    rows = [{**row, "proxy": row["golden"]} for row in a_run()]

    found = analyse_training(log_of(rows))

    assert found.outcome == "cannot say"
    assert "proxy does not clearly rise" in found.sentence


def test_false_alarms_are_rare_on_runs_that_do_not_over_optimise():
    """Rising, saturating and flat golden are called over-optimised in 5 % of runs at most."""
    rng = np.random.default_rng(7)
    t = np.linspace(0, 1, 20)
    false = []
    for curve in (t, 1 - np.exp(-5 * t), 0 * t):
        for _ in range(60):
            golden, proxy = curve + 0.1 * rng.normal(size=20), t + 0.1 * rng.normal(size=20)
            log = TrainingLog("run", t, 25 * t, proxy, golden, {}, {}, ())
            false.append(analyse_training(log).outcome == "over-optimised")

    # Monte-Carlo error of .05 at 180 runs is .016.
    assert np.mean(false) <= 0.05 + 2 * 0.016


def test_long_logs_are_averaged():
    """A log of 3,000 steps is brought down to 200 points with the same answer."""
    found = analyse_training(log_of(a_run(size=3000, noise=0.3)))

    assert found.points == 200
    assert found.outcome == "over-optimised"
    assert found.split.kl.lower < np.exp(2) + 1
    assert found.split.kl.upper > np.exp(2) - 1


def test_a_series_without_variation_is_refused():
    """Golden or proxy that never changes gives an error with its name, never a number."""
    rows = a_run()

    for name in ("golden", "proxy"):
        with pytest.raises(UndefinedMetricError, match=f"{name}: .* without any noise"):
            analyse_training(log_of([{**row, name: 0.5} for row in rows]))


def test_an_analysis_is_plain_json():
    """Infinite numbers become null."""
    data = analyse_training(log_of(a_run(beta=-0.1))).as_dict()

    assert data["curve"]["peak_kl"]["value"] is None
    assert json.loads(json.dumps(data, allow_nan=False)) == data
