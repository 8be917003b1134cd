"""Logs of RL runs: every known form is read, and garbage is refused."""

import csv
import json

import numpy as np
import pytest

from rmcheck.errors import FileError
from rmcheck.rl_logs.training_log import read_training_log

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


# What trainers log: a row of training, a row of evaluation, and what is read from them.
KL, PROXY, GOLDEN = "<kl>", "<proxy>", "<golden>"
TRAINERS = {
    "TRL, GRPO": (
        {"step": "<step>", "reward": PROXY, "rewards/rm/mean": PROXY, "kl": KL, "loss": 0.1},
        {"step": "<step>", "eval_golden": GOLDEN, "eval_loss": 0.2, "eval_runtime": 3.0},
    ),
    "TRL, on Weights & Biases": (
        {"train/global_step": "<step>", "_step": "<row>", "train/reward": PROXY, "train/kl": KL},
        {"train/global_step": "<step>", "_step": "<row>", "eval/golden": GOLDEN},
    ),
    "OpenRLHF": (
        {"train/global_step": "<step>", "train/reward": PROXY, "train/return": 9.0, "train/kl": KL},
        {"eval/global_step": "<step>", "eval/eval_math_pass1": GOLDEN, "eval/eval_num_samples": 9},
    ),
    "verl": (
        {
            "training/global_step": "<step>",
            "critic/score/mean": PROXY,
            "critic/score/max": 1.0,
            "critic/rewards/mean": 9.0,
            "actor/kl_loss": KL,
            "actor/ppo_kl": 0.001,
        },
        {
            "training/global_step": "<step>",
            "val-core/openai/gsm8k/acc/mean@4": GOLDEN,
            "val-core/openai/gsm8k/acc/best@4/mean": 1.0,
            "val-aux/openai/gsm8k/reward/mean@4": 9.0,
        },
    ),
    "slime": (
        {"rollout/step": "<step>", "rollout/raw_reward": PROXY, "rollout/rewards": 0.0},
        {"eval/step": "<step>", "eval/aime": GOLDEN, "eval/aime-truncated_ratio": 0.1},
    ),
    "plain": (
        {"step": "<step>", "proxy_reward": PROXY, "true_reward": GOLDEN, "kl_to_ref": KL},
        {},
    ),
}  # fmt: skip


def as_logged(trainer, rows):
    """The rows as this trainer logs them."""
    out = []
    for row in rows:
        for form in TRAINERS[trainer]:
            known = {f"<{key}>": value for key, value in {**row, "row": len(out)}.items()}
            out += [{name: known.get(value, value) for name, value in form.items()}] if form else []
    return out


@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_trainers_log_is_found_without_flags(tmp_path, trainer):
    """Step, proxy and golden are those of the run under the names of each trainer."""
    rows = a_run()

    log = read_training_log(write_lines(tmp_path / "log.jsonl", as_logged(trainer, rows)))

    assert log.steps.tolist() == [row["step"] for row in rows]
    assert log.proxy.tolist() == [row["proxy"] for row in rows]
    assert log.golden.tolist() == [row["golden"] for row in rows]
    assert ("kl" in log.columns) == (trainer != "slime")


def test_a_file_of_verl_is_read(tmp_path):
    """Its rows hold the step and, in an object of their own, the rest."""
    rows = [
        {"step": row["step"], "data": {"critic/score/mean": row["proxy"], "golden": row["golden"]}}
        for row in a_run()
    ]

    log = read_training_log(write_lines(tmp_path / "log.jsonl", rows))

    assert log.golden.tolist() == [row["golden"] for row in a_run()]


def test_several_evaluations_are_ambiguous(tmp_path):
    """Which of them is golden is for the user to say; all are shown."""
    logged = [{**row, "eval/aime": 1.0} if "eval/gsm8k" in row else row
              for row in renamed(a_run(), golden="eval/gsm8k")]  # fmt: skip

    said = refused(write_lines(tmp_path / "log.jsonl", logged))

    assert "golden could be eval/gsm8k or eval/aime; name one with --golden" in said


def test_the_reward_of_the_training_on_other_prompts_is_told(tmp_path):
    """`eval_reward` is taken where there is nothing else, with what it is."""
    log = read_training_log(
        write_lines(tmp_path / "a.jsonl", renamed(a_run(), golden="eval_reward"))
    )

    assert "'eval_reward' is what the reward of the training says on other prompts" in log.notes[-1]


def test_reward_functions_are_offered_as_golden(tmp_path):
    """Where no golden is found, TRL's reward functions are candidates, and none is taken."""
    rows = renamed(a_run(), golden="rewards/verifier/mean")

    said = refused(write_lines(tmp_path / "a.jsonl", rows))

    assert "A reward function of weight 0 in training can be golden: rewards/verifier/mean" in said


@pytest.mark.parametrize(
    "length", ["completions/mean_length", "response_length", "response_length/mean"]
)
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

    assert "9 steps have proxy and golden; 10 are needed (31 steps without golden)" in said


def test_a_kl_that_is_none_is_refused(tmp_path):
    """Now and then an estimate below 0 is taken as 0; many of them are no KL."""
    rows = a_run()
    rows[0]["kl"] = -0.1
    few = read_training_log(write_lines(tmp_path / "few.jsonl", rows))
    negative = write_lines(tmp_path / "a.jsonl", [{**row, "kl": -row["kl"]} for row in rows])

    assert few.kl[0] == 0
    assert few.notes == ("1 KL estimates below 0 taken as 0",)
    assert "is below 0 at 39 of 40 steps" in refused(negative)


def test_a_kl_of_exactly_0_was_not_measured(tmp_path):
    """Trainers that measure KL now and then log 0 in between; only the first step is at KL 0."""
    rows = a_run()
    for i, row in enumerate(rows):
        row["kl"] = row["kl"] if i % 10 == 0 else 0.0
    log = read_training_log(write_lines(tmp_path / "a.jsonl", rows))

    assert np.flatnonzero(np.isfinite(log.kl)).tolist() == [0, 10, 20, 30]
    assert log.steps.size == SIZE
    assert "'kl' is exactly 0 at 36 steps after the first; taken as not measured" in log.notes[0]
    assert not log.kl_known


def test_a_log_without_kl_is_read(tmp_path):
    """Without a column, or with one that is always 0, the KL is not known, and that is told."""
    without = read_training_log(write_lines(tmp_path / "a.jsonl", renamed(a_run(), kl=None)))
    zero = write_lines(tmp_path / "b.jsonl", [{**row, "kl": 0.0} for row in a_run()])

    assert not np.isfinite(without.kl).any()
    assert without.notes == ("no column of the KL was found",)
    assert not read_training_log(zero).kl_known
    assert read_training_log(zero).notes[-1] == "'kl' says nothing about the KL"
