"""The history: files that survive merges, and the table that a prediction learns from."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rmcheck.errors import FileError, StoreError, UsageError
from rmcheck.history.calibration import Basis, calibration_table, check_at, comparable
from rmcheck.history.history import History, HistoryContents
from rmcheck.history.record_reading import run_records
from rmcheck.history.records import CheckEntry, RegretRecord, RunRecord, Target

TIME = datetime(2026, 11, 23, 1, 13, 12, tzinfo=UTC)
N256 = Target("n", 256)
SIGNATURE = (
    "predicted_regret|n:256|confidence:0.95|resamples:2000|seed:0|data:11112222"
    "|candidate:{}|v:0.2.0"
)
METRIC = "predicted_regret"


def a_check(fingerprint="aaaa", **changes):
    """A check of predicted regret with the facts that calibration learns from."""
    entry = CheckEntry(
        name="regret",
        metric="predicted_regret",
        settings={"n": 256},
        signature=SIGNATURE.format(fingerprint),
        slice="",
        value=0.25,
        lower=0.2,
        upper=0.3,
        confidence=0.95,
        n=200,
        facts={"ndr_2": 0.75, "tail_excess": 0.01},
        verdict="pass",
    )
    return replace(entry, **changes)


def a_run(fingerprint="aaaa", *, day=0, checks=None, **changes):
    """A run of one reward model."""
    record = RunRecord(
        rmcheck="0.2.0",
        time=TIME + timedelta(days=day),
        rm="runs/rm 7b",
        spec="hf:runs/rm 7b",
        fingerprint=fingerprint,
        suite="helpfulness",
        suite_path="suites/helpfulness.yaml",
        pool="data/helpfulness.jsonl",
        pool_fingerprint="11112222",
        golden="column golden",
        golden_fingerprint="",
        checks=(a_check(fingerprint),) if checks is None else checks,
    )
    return replace(record, **changes)


def a_regret(run, value=0.31, target=N256, **changes):
    """What RL gave for the reward model of a run."""
    record = RegretRecord(run.id, run.fingerprint, value, target, TIME)
    return replace(record, **changes)


def table(runs, regrets, **changes):
    """The calibration table of the default basis."""
    given = {"target": N256, "features": ["ndr_2"], "basis": Basis.of_check(a_run(), a_check())}
    return calibration_table(runs, regrets, **{**given, **changes})


def test_records_come_back_as_they_were(tmp_path):
    """Runs and regrets read from the folder equal those written, infinite bounds among them."""
    history = History(tmp_path / "history")
    run = a_run(checks=(a_check(upper=math.inf), a_check(lower=-math.inf, slice="category=code")))
    regret = a_regret(run, lower=0.2, upper=0.4, seed=0, note="PPO run 7")

    history.add(run)
    history.add(regret)

    assert history.sound() == HistoryContents((run,), (regret,), ())


def test_files_are_reviewable(tmp_path):
    """One value a line, sorted keys, and a name of date, RM and hash."""
    path = History(tmp_path).add(a_run())

    text = path.read_text()
    assert path.name.startswith("2026-11-23-runs-rm-7b-")
    assert '    "fingerprint": "aaaa",\n    "name": "runs/rm 7b",\n' in text
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_the_same_run_added_twice_is_one_file(tmp_path):
    """A record that differs in its time alone is there already; any other difference is another."""
    history = History(tmp_path)

    first = history.add(a_run())
    again = history.add(a_run(day=3))
    other = history.add(a_run(checks=(a_check(value=0.26),)))

    assert again == first
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


def test_two_branches_that_added_the_same_run_give_one_run(tmp_path):
    """Equal records with the names of two days are read once."""
    branches = [History(tmp_path / name) for name in ("ours", "theirs")]
    paths = [h.add(a_run(day=day)) for day, h in enumerate(branches)]

    paths[1].rename(tmp_path / "ours" / paths[1].name)

    assert paths[0].name != paths[1].name
    assert branches[0].sound().runs == (a_run(),)


def test_a_regret_touches_no_other_file(tmp_path):
    """Regrets are files of their own, one each, beside a run that stays as it was."""
    history = History(tmp_path)
    path = history.add(a_run())
    before = path.read_bytes()

    regrets = [history.add(a_regret(a_run(), value, seed=s)) for s, value in [(0, 0.3)] * 2]
    history.add(a_regret(a_run(), 0.3, seed=1))

    assert regrets[0] == regrets[1]
    assert path.read_bytes() == before
    assert len(list(tmp_path.glob(f"{a_run().id}.regret-*.json"))) == 2


def test_many_writers_at_once_lose_nothing(tmp_path):
    """Threads that add the same and different runs leave each once, whole."""
    records = [a_run(f"fp{i % 10}") for i in range(60)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(History(tmp_path).add, records))

    assert {r.fingerprint for r in History(tmp_path).sound().runs} == {f"fp{i}" for i in range(10)}
    assert len(list(tmp_path.iterdir())) == 10


def test_all_damaged_files_are_named_and_good_ones_are_read(tmp_path):
    """Each wrong file has its line and what is wrong; the good records are there all the same."""
    history = History(tmp_path)
    good = a_run("good")
    history.add(good)
    bad = history.add(a_run("bad"))
    text = bad.read_text()
    line = text[: text.index('"value"')].count("\n") + 1
    bad.write_text(text.replace('"value": 0.25', '"value": "high"').replace("metric", "metrik"))
    (tmp_path / "a.json").write_text("{\n<<<<<<< ours\n=======\n>>>>>>> theirs\n}\n")
    (tmp_path / "b.json").write_text('{"a": 1,\n "b": }')
    (tmp_path / "c.json").write_text("[1]")
    (tmp_path / "d.json").write_text('{"name": "package"}')
    (tmp_path / "e.json").write_text('{"record": 99}')
    (tmp_path / "f.json").write_bytes(b"\xff\xfe")
    (tmp_path / "g.json").write_text('{"record": 1, "kind": "score"}')
    (tmp_path / "README.md").write_text("not ours")

    found = history.contents()

    assert found.runs == (good,)
    said = "\n".join(str(problem) for problem in found.problems)
    assert "a.json:2: it holds the marks of a merge conflict" in said
    assert "b.json:2: not JSON" in said
    assert "c.json:1: a record is an object, not list" in said
    assert "d.json:1: not a record of rmcheck" in said
    assert "e.json:1: record is 99: written by a newer rmcheck" in said
    assert "f.json: not UTF-8" in said
    assert "g.json:1: kind is 'score'; valid: run, regret." in said
    assert f"{bad.name}:{line}: checks[0].value is 'high'; it must be a finite number" in said
    assert "checks[0].metric is missing" in said
    assert "unknown field 'metrik'. Did you mean 'metric'?" in said
    assert "README" not in said
    with pytest.raises(FileError, match="problems in"):
        history.sound()


def test_a_record_changed_by_hand_is_noticed(tmp_path):
    """A number that no longer has the hash of the file's name is not believed."""
    history = History(tmp_path)
    path = history.add(a_run())
    path.write_text(path.read_text().replace("0.25", "0.15"))

    with pytest.raises(FileError, match="changed after it was written"):
        history.sound()


def test_a_history_that_is_not_there_is_an_error(tmp_path):
    """Reading makes nothing and says how the folder comes about."""
    with pytest.raises(StoreError, match="rmcheck history add"):
        History(tmp_path / "none").sound()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        History(tmp_path / "file").add(a_run())


def test_a_run_is_found_by_any_clear_beginning(tmp_path):
    """A prefix of one run is enough; of several or of none the error lists what there is."""
    history = History(tmp_path)
    runs = [a_run("a", rm="good"), a_run("b", rm="bad"), a_run("c", day=1, rm="bad")]
    for run in runs:
        history.add(run)

    assert history.run("2026-11-24") == runs[2]
    assert history.run(runs[0].id) == runs[0]
    with pytest.raises(UsageError, match="begins 2 runs"):
        history.run("2026-11-23")
    with pytest.raises(UsageError, match=f"Did you mean '{runs[0].id}'"):
        history.run(f"x{runs[0].id}")
    with pytest.raises(UsageError, match="no run ''"):
        history.run("")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 31.0}, "regret is 31; valid: a share of the golden gain"),
        ({"value": math.nan}, "regret is nan"),
        ({"lower": 0.4}, "lies outside its bounds"),
        ({"upper": 0.2}, "lies outside its bounds"),
    ],
)
def test_what_is_no_regret_is_refused(changes, said):
    """Percentages, NaN and values outside their own bounds say what is valid."""
    with pytest.raises(UsageError, match=said):
        a_regret(a_run(), **changes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("n", 1),
        ("n", 2.5),
        ("n", math.inf),
        ("n", math.nan),
        ("kl", 0.0),
        ("kl", math.inf),
        ("kl", math.nan),
    ],
)
def test_a_target_must_be_one(kind, value):
    """A target is a whole n from 2 on, or a finite KL above 0."""
    with pytest.raises(UsageError, match="valid"):
        Target(kind, value)


def test_a_report_gives_one_record_a_suite():
    """The candidate's checks of each suite become a record; undecided suites give none."""
    check = {**vars(a_check()), "path": "s.yaml", "suite": "s", "extra": 1}
    candidate = {"role": "candidate", "spec": "hf:a", "name": "a", "fingerprint": "aaaa"}
    golden = {"role": "golden", "spec": "hf:g", "name": "g", "fingerprint": "gggg"}
    pool = {"path": "p.jsonl", "fingerprint": "pppp"}
    suite = {"name": "s", "path": "s.yaml", "golden": "hf:g", "pool": pool}
    report = {
        "report": 1,
        "rmcheck": "0.2.0",
        "checks": [check],
        "suites": [
            {**suite, "models": [candidate, golden]},
            {**suite, "path": "undecided.yaml", "models": [candidate]},
        ],
    }

    (found,) = run_records(report, time=TIME)

    assert (found.rm, found.fingerprint, found.suite) == ("a", "aaaa", "s")
    assert (found.golden, found.golden_fingerprint) == ("hf:g", "gggg")
    assert found.checks == (a_check(),)


def test_what_is_no_report_is_refused():
    """Another JSON object, and a report with missing parts, say what is wrong."""
    with pytest.raises(FileError, match="not a report"):
        run_records({"name": "package"})
    with pytest.raises(FileError, match=r"checks\[0\].signature is missing") as caught:
        run_records({"report": 1, "rmcheck": "1", "checks": [{}], "suites": [{"models": []}]})
    assert "names no candidate" in str(caught.value)


def test_a_table_has_one_row_a_reward_model():
    """The latest run of each counts, and its regrets are averaged and counted."""
    old = a_run("a", checks=(a_check("a", facts={"ndr_2": 0.1}),))
    new = a_run("a", day=1, checks=(a_check("a", facts={"ndr_2": 0.6}),))
    other = a_run("b", rm="b")

    found = table(
        [new, other, old], [a_regret(old, 0.4), a_regret(old, 0.5, seed=1), a_regret(other, 0.2)]
    )

    assert found.features.tolist() == [[0.75], [0.6]]
    assert found.regrets.tolist() == pytest.approx([0.2, 0.45])
    assert found.regret_counts == (1, 2)
    assert found.left_out == {}


def test_every_reward_model_left_out_is_counted_under_its_reason():
    """Another pool, golden, metric or version, no feature, no regret, another target, oneself."""
    newer = a_check(signature=SIGNATURE.format("e").replace("0.2.0", "0.3.0"))
    runs = {
        "in": a_run("in"),
        "itself": a_run("itself"),
        "pool": a_run("pool", pool_fingerprint="other"),
        "golden": a_run("golden", golden="column human"),
        "metric": a_run("metric", checks=(a_check(metric="accuracy"),)),
        "version": a_run("version", checks=(newer,)),
        "feature": a_run("feature", checks=(a_check(facts={}),)),
        "regret": a_run("regret"),
        "target": a_run("target"),
    }
    regrets = [a_regret(run) for name, run in runs.items() if name not in ("regret", "target")]
    regrets += [a_regret(runs["target"], target=Target("kl", 4.0)), a_regret(a_run("gone"))]

    found = table(list(runs.values()), regrets, candidate="itself")

    assert found.names == ("runs/rm 7b",)
    assert found.left_out == {
        "the reward model itself": 1,
        "another pool": 1,
        "another golden": 1,
        "metric not measured": 1,
        "another version or settings of the metric": 1,
        "a feature is missing": 1,
        "no regret yet": 1,
        "regret at another n or KL, or of another optimizer": 1,
        "regret without a run": 1,
    }
    assert "another pool: 1" in found.left_out_text()
    assert len(found) + sum(found.left_out.values()) == 10


def test_an_empty_history_gives_an_empty_table():
    """No rows, and still (0, F) features."""
    found = table([], [], features=["ndr_2", "tail_excess"])

    assert len(found) == 0
    assert found.features.shape == (0, 2)


def test_models_and_resampling_do_not_make_runs_incomparable():
    """A signature is compared without models, seeds and parts that the caller ignores."""
    first = "m|n:8|predictor:measured|confidence:0.95|seed:1|candidate:a|golden:g|v:1"
    second = "m|n:8|predictor:calibrated|confidence:0.9|seed:2|candidate:b|baseline:c|golden:g|v:1"

    assert (
        comparable(first, ["predictor"])
        == comparable(second, ["predictor"])
        == ("m|n:8|golden:g|v:1")
    )
    assert comparable(first) != comparable(second)


def test_a_check_is_found_by_metric_and_target():
    """The whole pool goes before slices; none and several say what there is."""
    at_16 = a_check(settings={"n": 16}, signature="predicted_regret|n:16")
    code = a_check(slice="category=code", signature="predicted_regret|n:256|category:code")
    run = a_run(checks=(at_16, code, a_check()))

    assert check_at(run, METRIC, N256) == a_check()
    assert check_at(run, METRIC, Target("n", 16)) == at_16
    with pytest.raises(UsageError, match="no check of 'predicted_regret' at n=64"):
        check_at(run, METRIC, Target("n", 64))
    with pytest.raises(UsageError, match="Did you mean 'predicted_regret'"):
        check_at(run, "predicted_regrets", N256)
    two = a_run(checks=(a_check(), a_check(signature="predicted_regret|n:256|predictor:nested")))
    with pytest.raises(UsageError, match="2 checks of 'predicted_regret' at n=256"):
        check_at(two, METRIC, N256)
