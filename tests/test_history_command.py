"""The command `rmcheck history`: records kept, regrets attached, calibration shown, exported."""

import json
import sys
import types
from pathlib import Path

import pytest

from rmcheck.cli import main
from rmcheck.history.history import History

SIGNATURE = "predicted_regret|n:256|seed:0|data:pppp|candidate:{}|v:0.2.0"


def a_report(fingerprint, kept=0.7):
    """What `pytest --rmcheck` writes, as far as the history reads it."""
    check = {
        "name": "regret",
        "metric": "predicted_regret",
        "settings": {"n": 256},
        "signature": SIGNATURE.format(fingerprint),
        "slice": "",
        "value": 1 - kept,
        "lower": 0.9 - kept,
        "upper": 1.1 - kept,
        "confidence": 0.95,
        "n": 200,
        "facts": {"pooled_drop": 1 - kept, "golden_gain": 1.0},
        "verdict": "pass",
        "path": "suites/s.yaml",
    }
    model = {"role": "candidate", "spec": "hf:x", "name": f"rm-{fingerprint}"}
    suite = {
        "name": "s",
        "path": "suites/s.yaml",
        "golden": "column golden",
        "pool": {"path": "pool.jsonl", "fingerprint": "pppp"},
        "models": [{**model, "fingerprint": fingerprint}],
    }
    return {"report": 1, "rmcheck": "0.2.0", "checks": [check], "suites": [suite]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with the report of one run."""
    (tmp_path / "report.json").write_text(json.dumps(a_report("aaaa")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_added_by_the_folder_of_its_report(folder, capsys):
    """As other commands name it."""
    assert main(["history", "add", ".", "--to=history"]) == 0
    assert capsys.readouterr().out.startswith("history/")


def past(folder, size):
    """A history of many reward models whose regret is known."""
    for i in range(size):
        kept = 0.2 + 0.6 * i / size
        (folder / "past.json").write_text(json.dumps(a_report(f"f{i:03}", kept)))
        assert main(["history", "add", "past.json", "--to=history"]) == 0
        (run,) = [r for r in History(Path("history")).sound().runs if r.fingerprint == f"f{i:03}"]
        regret = 0.9 - 0.8 * kept + 0.02 * (-1) ** i
        assert (
            main(["history", "add-regret", "history", run.id, f"--regret={regret}", "--n=256"]) == 0
        )


def test_a_report_is_kept_listed_and_shown(folder, capsys):
    """One file a suite and candidate; adding it again adds nothing."""
    for _ in range(2):
        assert main(["history", "add", "report.json", "--to=history"]) == 0
    assert len(list((folder / "history").iterdir())) == 1
    capsys.readouterr()

    assert main(["history", "list", "history"]) == 0
    listed = capsys.readouterr().out
    run = listed.splitlines()[1].split()[0]
    assert main(["history", "show", "history", run[:14]]) == 0
    shown = capsys.readouterr().out

    assert "1 pass" in listed
    assert "none yet" in listed
    assert run in shown
    assert "golden column golden" in shown
    assert "regret  200  0.300     [0.200, 0.400]  pass" in shown


def test_a_regret_is_attached_and_seen(folder, capsys):
    """What RL gave is a file beside the run, and both list and show print it."""
    main(["history", "add", "report.json", "--to=history"])
    run = Path(capsys.readouterr().out.strip()).stem
    command = ["history", "add-regret", "history", run, "--regret=0.31", "--kl=4.0"]

    assert main([*command, "--lower=0.2", "--seed=0", "--note=PPO run 7"]) == 0
    main(["history", "list", "history"])
    main(["history", "show", "history", run])

    printed = capsys.readouterr().out
    assert f"{run}.regret-" in printed
    assert "0.310 at kl=4\n" in printed
    assert "regret 0.310 at kl=4 [0.200, ?] seed 0 (PPO run 7)" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "none.json", "--to=history"], "none.json: cannot be read"),
        (["add", "other.json", "--to=history"], "other.json: not a report of `pytest --rmcheck`"),
        (["add", "empty.json", "--to=history"], "no check was decided"),
        (["list", "nowhere"], "nowhere: no such folder"),
        (["show", "history", "2020"], "no run '2020'"),
        (["add-regret", "history", "2020", "--regret=0.3", "--n=256"], "no run '2020'"),
        (["add-regret", "history", "2", "--regret=31", "--n=256"], "as in 0.31 for 31 %"),
        (["add-regret", "history", "2", "--regret=0.3", "--n=1"], "n is 1; valid"),
        (["calibrate", "history", "--n=256", "--metric=xi"], "no run has a check of 'xi'"),
        (["calibrate", "history", "--n=256", "--confidence=95"], "confidence is 95"),
        (["calibrate", "history", "--n=16"], "no check of 'predicted_regret' at n=16"),
        (["calibrate", "history", "--n=256", "--features=pool_drop"], "mean 'pooled_drop'"),
    ],
)
def test_wrong_input_is_exit_2(folder, capsys, arguments, said):
    """Each wrong file, run and number says what is wrong with it."""
    (folder / "other.json").write_text("{}")
    (folder / "empty.json").write_text(json.dumps({**a_report("b"), "checks": []}))
    main(["history", "add", "report.json", "--to=history"])

    assert main(["history", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_file_does_not_hide_the_good_ones(folder, capsys):
    """`list` prints what can be read, then everything that is wrong, and exits 2."""
    main(["history", "add", "report.json", "--to=history"])
    (folder / "history" / "bad.json").write_text("{")
    capsys.readouterr()

    assert main(["history", "list", "history"]) == 2

    printed = capsys.readouterr()
    assert "rm-aaaa" in printed.out
    assert "bad.json:1: not JSON" in printed.err


def test_calibrate_prints_the_table_and_its_coverage(folder, capsys):
    """Rows, left-one-out bounds, what was left out, and how often the bounds held."""
    past(folder, 11)
    main(["history", "add", "report.json", "--to=history"])
    capsys.readouterr()

    command = ["history", "calibrate", "history", "--n=256", "--confidence=0.9"]
    assert main(command) == 0

    printed = capsys.readouterr().out
    table = printed.splitlines()[1:13]
    assert table[0].split()[:3] == ["rm", "pooled_drop", "regret"]
    assert [row.split()[0] for row in table[1:]] == sorted(f"rm-f{i:03}" for i in range(11))
    assert "left out: no regret yet: 1" in printed
    assert "left-one-out error 0.02" in printed
    assert "left-one-out coverage of the 90% upper bound: 10 of 11" in printed


def test_calibrate_says_when_there_are_too_few(folder, capsys):
    """Four reward models give errors, no bound, and the number that is needed."""
    past(folder, 4)
    capsys.readouterr()

    assert main(["history", "calibrate", "history", "--n=256"]) == 0

    printed = capsys.readouterr().out
    assert "4 reward models are too few: a 95% bound needs 19" in printed
    assert "coverage" not in printed


class _FakeClient:
    """The part of MLflow's client that the export calls, in memory."""

    stores: dict = {}  # noqa: RUF012 - one for all clients, like a tracking server

    def __init__(self, tracking_uri):
        self.runs = self.stores.setdefault(tracking_uri, {})

    def get_experiment_by_name(self, name):
        return types.SimpleNamespace(experiment_id="1") if self.runs else None

    def create_experiment(self, name):
        return "1"

    def search_runs(self, experiments, filter_string, max_results):
        wanted = filter_string.split("'")[1]
        return [r for r in self.runs.values() if r.data.tags.get("rmcheck.run") == wanted]

    def create_run(self, experiment_id, start_time, run_name):
        data = types.SimpleNamespace(tags={}, params={}, metrics={})
        info = types.SimpleNamespace(run_id=run_name)
        self.runs[run_name] = types.SimpleNamespace(info=info, data=data)
        return self.runs[run_name]

    def log_param(self, run_id, key, value):
        self.runs[run_id].data.params[key] = value

    def log_metric(self, run_id, key, value, timestamp):
        self.runs[run_id].data.metrics[key] = value

    def set_tag(self, run_id, key, value):
        self.runs[run_id].data.tags[key] = value

    def set_terminated(self, run_id, end_time):
        self.runs[run_id].info.status = "FINISHED"


@pytest.fixture
def fake_mlflow(monkeypatch):
    """MLflow with a client in memory."""
    package, exceptions = types.ModuleType("mlflow"), types.ModuleType("mlflow.exceptions")
    package.MlflowClient = _FakeClient
    exceptions.MlflowException = type("MlflowException", (Exception,), {})
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", exceptions)
    monkeypatch.setattr(_FakeClient, "stores", {})
    return _FakeClient.stores


def exported(uri, capsys, to):
    """The last line that an export to this URI or project prints."""
    assert main(["history", "export", "history", f"--{to}={uri}"]) == 0
    return capsys.readouterr().out.splitlines()[-1]


def exports_once(uri, capsys, to="mlflow"):
    """Export twice, attach a regret, and export again."""
    main(["history", "add", "report.json", "--to=history"])
    run = Path(capsys.readouterr().out.strip()).stem

    assert exported(uri, capsys, to) == f"1 runs and 0 regrets added to {uri}"
    assert exported(uri, capsys, to) == f"0 runs and 0 regrets added to {uri}"
    main(["history", "add-regret", "history", run, "--regret=0.3", "--n=256"])
    assert exported(uri, capsys, to) == f"0 runs and 1 regrets added to {uri}"
    assert exported(uri, capsys, to) == f"0 runs and 0 regrets added to {uri}"
    return run


def test_an_export_adds_what_is_missing(folder, capsys, fake_mlflow):
    """Parameters, numbers, verdicts and later regrets arrive once."""
    run = exports_once("memory", capsys)

    data = fake_mlflow["memory"][run].data
    assert data.params["rm.fingerprint"] == "aaaa"
    assert data.metrics["regret.value"] == pytest.approx(0.3)
    assert data.metrics["regret.golden_gain"] == 1.0
    assert data.metrics["rl_regret.n.256"] == 0.3
    assert data.tags["rmcheck.verdict.regret"] == "pass"


class _FakeTracker(types.ModuleType):
    """As much of wandb and trackio as an export needs; `kept` has name to what was logged."""

    def __init__(self, name):
        super().__init__(name)
        self.kept = {}

    def init(self, *, name, group, config, **others):
        self.current = self.kept[name] = {"group": group, "config": config, **others}

    def log(self, numbers):
        self.current["numbers"] = numbers

    def finish(self):
        self.current = None

    def Api(self):
        runs = [types.SimpleNamespace(id=name, name=name) for name in self.kept]
        return types.SimpleNamespace(runs=lambda project: runs)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_an_export_to_a_tracker_adds_what_is_missing(folder, capsys, monkeypatch, name):
    """A run a record with its verdicts, and a run a regret in the same group, each once."""
    tracker = _FakeTracker(name)
    monkeypatch.setitem(sys.modules, name, tracker)

    run = exports_once("demo", capsys, to=name)

    first, later = tracker.kept.values()
    assert [first["group"], later["group"]] == [run, run]
    assert first["config"]["verdict.regret"] == "pass"
    assert first["numbers"]["regret.value"] == pytest.approx(0.3)
    assert later["numbers"] == {"rl_regret": 0.3}
    assert later["config"]["target"] == "n=256"


@pytest.mark.filterwarnings("ignore")  # those of trackio and its server are not ours
def test_an_export_to_trackio_itself(folder, capsys, monkeypatch):
    """The same with trackio and its database, where it is installed."""
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    pytest.importorskip("trackio")

    exports_once("demo", capsys, to="trackio")


def test_a_tracker_that_fails_is_named(folder, capsys, monkeypatch):
    """With what it said."""
    tracker = _FakeTracker("wandb")
    tracker.init = lambda **given: (_ for _ in ()).throw(RuntimeError("no account"))
    monkeypatch.setitem(sys.modules, "wandb", tracker)
    main(["history", "add", "report.json", "--to=history"])

    assert main(["history", "export", "history", "--wandb=demo"]) == 2
    assert "wandb project demo: the export failed: no account" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # those of MLflow and its database are not ours
def test_an_export_to_mlflow_itself(folder, capsys):
    """The same with MLflow and a database, where both are installed."""
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")

    exports_once(f"sqlite:///{folder}/mlflow.db", capsys)


def test_without_mlflow_the_extra_is_named(folder, capsys, monkeypatch):
    """The error says the pip command."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    main(["history", "add", "report.json", "--to=history"])

    assert main(["history", "export", "history", "--mlflow=http://localhost:1"]) == 2
    assert "pip install 'rmcheck[mlflow]'" in capsys.readouterr().err
