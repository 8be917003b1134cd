"""Files of the laboratory, and logs of RL runs."""

import json
from pathlib import Path

import numpy as np

from rmcheck.lab.file import read_laboratory
from rmcheck.lab.outcomes.logged import logged_rows, read_runs
from rmcheck.lab.study.rm_table import read_rm_table
from rmcheck.lab.study.study_file import load_study
from rmcheck.rl_logs.training_log import read_training_log
from rmcheck.wording import encodable
from targets.target import DEEP, DIGITS, HUGE, SUITES_HERE, Target, lines


def laboratory(path: Path) -> None:
    """The file of a laboratory, beside what it names."""
    for file in (SUITES_HERE / "lab").iterdir():
        if file.name != path.name:
            (path.parent / file.name).symlink_to(file)
    names = [recipe.name for recipe in read_laboratory(path).family.recipes]
    assert len(set(names)) == len(names)


def study(path: Path) -> None:
    """The file of a study."""
    assert encodable([load_study(path).name])


def rm_table(path: Path) -> None:
    """A table of reward models."""
    found = read_rm_table(path, "regret", "kind")
    for values in (found.outcome, *found.numbers.values()):
        assert np.isfinite(values).all()


def runs(path: Path) -> None:
    """A list of RL runs, and their log."""
    (path.parent / "log.csv").write_text(CSV)
    assert all(row["rm"] for row in logged_rows(read_runs(path)))


LABORATORIES = [
    *((SUITES_HERE / "lab" / f"{name}.yaml").read_bytes() for name in ("lab", "small")),
    b"lab: 1\npreferences: " + b"[" * 990,
]
STUDIES = [(SUITES_HERE / "study-small.yaml").read_bytes(), b"study: 1\npool: " + b"[" * 990]
RM_TABLES = [
    b"rm,accuracy,regret,kind\n" + b"".join(b"%d,0.%d,0.%d,a\n" % (i, i, 9 - i) for i in range(8)),
    b"accuracy,regret,kind\n" + b"1e999,1,b\n" * 7,
    b"accuracy,regret,kind\n" + b"9" * 5000 + b",1,b\n",
]
RUNS = [
    b"rm,golden,optimizer,seed,log\na,g,ppo,1,log.csv\ng,g,ppo,1,log.csv\n",
    b"rm,golden,optimizer,seed,log,proxy_column\na,g,ppo,1,log.csv,proxy\n",
    b"rm,golden,optimizer,seed,log\na,g,ppo,1,\0\n",
    b"rm,golden,optimizer,seed,log\na,g,ppo,1," + b"x" * 300 + b"\n",
]


def training(path: Path) -> None:
    """The log of an RL run."""
    log = read_training_log(path)
    for values in (log.steps, log.proxy, log.golden):
        assert values.shape == log.steps.shape
        assert np.isfinite(values).all()
    # KL may be unmeasured, and is never below 0.
    assert (np.isnan(log.kl) | ((log.kl >= 0) & np.isfinite(log.kl))).all()


STEPS = [{"step": i, "kl": i / 2, "proxy": i, "golden": -i} for i in range(12)]
CSV = "step,kl,proxy,golden\n" + "".join(f"{i},{i / 2},{i},{-i}\n" for i in range(12))
LOGS = [
    lines(STEPS),
    json.dumps({"log_history": STEPS}).encode(),
    json.dumps(STEPS).encode(),
    CSV.encode(),
    CSV.replace("step", "x" * 200_000).encode(),
    lines([{**STEPS[0], "kl": HUGE}, *STEPS[1:]]),
    b'{"step": %s}' % DIGITS.encode(),
    DEEP.encode(),
    f'{{"a":{DEEP}'.encode(),
]


TARGETS = {
    "laboratory": Target(laboratory, ("lab.yaml",), LABORATORIES),
    "study": Target(study, ("study.yaml",), STUDIES),
    "rm_table": Target(rm_table, ("table.csv",), RM_TABLES),
    "runs": Target(runs, ("runs.csv",), RUNS),
    "training": Target(training, ("log.csv",), LOGS),
}
