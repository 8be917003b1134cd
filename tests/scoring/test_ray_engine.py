"""Scoring on a local Ray cluster: the scores of one machine, whoever is killed."""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from counting_models import numbered_samples
from stored_scores import fill, scores_of

from rmcheck.checks.measurement import Sampling
from rmcheck.checks.shard_totals import ShardTotals, shard_totals
from rmcheck.checks.shards import measure_totals, sum_shards
from rmcheck.errors import ScoringError, UsageError
from rmcheck.lab.cluster.ray_engine import RayEngine
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.model import RewardModel
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.members import fill_members, read_combined
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import PoolSamples, Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore, ScoreStore

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")

TEXTS = 60
# A module notes when it is imported (once a process that loads the model) and what it scores.
MODULE = """\
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def note(name, line):
    with (HERE / name).open("a") as file:
        file.write(f"{os.getpid()}\\t{line}\\n")

note("loads", "")

def length(prompts, responses):
    note("batches", "\\t".join(responses))
    time.sleep(float((HERE / "seconds").read_text()))
    for text in responses:
        if text.startswith("deadly"):
            os._exit(1)
    return [float("nan") if text == "bad" else float(len(text)) for text in responses]
"""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Ray for all tests here, with four CPUs to reserve whatever the machine has."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with the module, which answers at once."""
    (tmp_path / "noting.py").write_text(MODULE)
    (tmp_path / "seconds").write_text("0")
    return tmp_path


def model_in(folder: Path) -> RewardModel:
    """The noting model, not loaded."""
    return open_model("python:noting:length?version=1", base=folder)


def engine(folder: Path, **options) -> RayEngine:
    """Two actors of half a CPU."""
    return RayEngine(**{"actors": 2, "cpus_per_actor": 0.5, "base": folder, **options})


def score(folder: Path, samples: list[Sample], **options) -> ScoringReport:
    """Score on the cluster, some texts a batch."""
    store = ScoreStore(folder / ".rmcheck")
    request = Request(model_in(folder), tuple(samples))
    return fill_requests([request], store, budget=40, engine=engine(folder, **options))


def noted(folder: Path, name: str) -> list[tuple[int, list[str]]]:
    """Process and texts of each line of a log."""
    path = folder / name
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split("\t")[0]), line.split("\t")[1:]) for line in lines]


def found(folder: Path, samples: list[Sample]) -> np.ndarray:
    """What a reader of the store finds, NaN where there is nothing."""
    scores = ScoreStore(folder / ".rmcheck").open(model_in(folder).fingerprint)
    return scores.lookup([s.text_key for s in samples]).scores


def test_every_actor_loads_the_model_once(folder):
    """Two processes, two loads, all texts scored once, one part left in the store."""
    samples = numbered_samples(TEXTS)
    report = score(folder, samples)
    loads = [pid for pid, _ in noted(folder, "loads")]
    times = Counter(text for _, texts in noted(folder, "batches") for text in texts)

    assert len(loads) == len(set(loads)) == 2
    assert os.getpid() not in loads
    assert times == Counter(s.response for s in samples)
    assert found(folder, samples).tolist() == [len(s.response) for s in samples]
    assert (report.scored, report.from_store, report.requested) == (TEXTS, 0, TEXTS)
    assert len(list((folder / ".rmcheck").rglob("*.parquet"))) == 1
    assert not list((folder / ".rmcheck").rglob("*.tmp"))


def test_what_is_stored_needs_no_cluster(folder):
    """A second run finds everything and asks for no actor, even an impossible one."""
    samples = numbered_samples(20)
    fill(model_in(folder), samples, ScoreStore(folder / ".rmcheck"))
    report = score(folder, samples, actors=1000)

    assert (report.scored, report.from_store) == (0, 20)


def test_a_checkpoint_gets_the_rewards_of_one_machine(tmp_path, monkeypatch):
    """A transformers model in an actor: equal to one machine but for rounding, and proved there."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "models")
    tiny_models = importlib.import_module("tiny_models")
    tiny_models.llama(tmp_path / "rm")
    model = open_model("hf:rm", base=tmp_path)
    samples, store = tiny_models.samples(), ScoreStore(tmp_path / ".rmcheck")
    alone = MemoryStore()
    fill(model, samples, alone)
    fill_requests([Request(model, tuple(samples))], store, engine=engine(tmp_path, actors=1))
    expected = scores_of(model, samples, alone).scores
    page = store.open(model.fingerprint).provenance.conformance

    np.testing.assert_allclose(scores_of(model, samples, store).scores, expected, atol=1e-5)
    assert "batch_invariance" in [item.name for item in page]


def test_columns_of_the_pool_reach_the_actors(folder):
    """The same answer under another ground truth is another score, as on one machine."""
    rows = [{"prompt": "1 + 1?", "responses": ["1", "2"], "truth": str(i % 3)} for i in range(9)]
    rows = [{**row, "prompt_id": f"p{i}"} for i, row in enumerate(rows)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "checking.py").write_text(
        "def right(prompts, responses, truth):\n"
        "    return [float(t == r) for t, r in zip(truth, responses)]\n"
    )
    model = open_model("python:checking:right?version=1", base=folder)
    request = Request(model, PoolSamples(read_pool(folder / "pool.jsonl")))
    store = ScoreStore(folder / ".rmcheck")
    (report,) = fill_members([request], lambda _: store, engine=engine(folder, actors=1))

    found = read_combined(request, lambda _: store).rewards.tolist()
    assert found == [float(str(i % 3) == text) for i in range(9) for text in ("1", "2")]
    assert report.scored == 6  # two answers under three truths


def test_members_of_an_ensemble_come_one_after_another(folder):
    """No process ever holds two members."""
    (folder / "other.py").write_text(MODULE.replace('"loads", ""', '"loads", "other"'))
    members = "members: ['python:noting:length?version=1', 'python:other:length?version=2']\n"
    (folder / "both.yaml").write_text(members)
    model = open_model("ensemble:both.yaml", base=folder)
    samples, store = numbered_samples(20), ScoreStore(folder / ".rmcheck")
    request = Request(model, tuple(samples))
    reports = fill_members([request], lambda _: store, engine=engine(folder))
    loads = noted(folder, "loads")

    assert [report.scored for report in reports] == [20, 20]
    assert [texts for _, texts in loads] == [[""], [""], ["other"], ["other"]]
    assert len({pid for pid, _ in loads}) == 4


def test_killed_actors_cost_their_batch_in_flight(folder):
    """Processes killed at random moments: the run ends by itself, nothing is lost, wrong or twice
    but for the batches that a kill interrupted.
    """  # noqa: D205
    (folder / "seconds").write_text("0.05")
    samples, rng, kills = numbered_samples(TEXTS), random.Random(1), 0
    failed: list[BaseException] = []
    reports: list[ScoringReport] = []

    def run() -> None:
        try:
            reports.append(score(folder, samples))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    seen = 0
    while thread.is_alive() and kills < 5:
        batches = noted(folder, "batches")
        if len(batches) <= seen + 1:
            time.sleep(0.01)
            continue
        time.sleep(rng.uniform(0, 0.05))
        seen = len(batches)
        try:
            os.kill(rng.choice(batches[-2:])[0], signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            continue
    thread.join(timeout=120)
    again = Counter(text for _, texts in noted(folder, "batches") for text in texts)
    again.subtract(s.response for s in samples)
    in_flight = max(len(texts) for _, texts in noted(folder, "batches"))

    assert not failed
    assert kills >= 3
    assert reports[0].scored == TEXTS
    assert found(folder, samples).tolist() == [len(s.response) for s in samples]
    assert min(again.values()) == 0
    assert sum(again.values()) <= kills * in_flight


SCRIPT = """\
import sys
from rmcheck.cli import main
sys.exit(main(sys.argv[1:]))
"""
SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
"""


def test_a_killed_command_is_resumed_by_running_it_again(folder):
    """`rmcheck score --engine ray`, killed as it scores here, then run again on its own Ray: only
    what was not stored is scored.
    """  # noqa: D205
    (folder / "demo.yaml").write_text(SUITE)
    (folder / "seconds").write_text("0.3")
    rows = [
        f'{{"prompt": "q{i}", "responses": ["{"x" * (i + 1)}", "{"y" * 4000}{i}"], '
        '"golden": [0, 1]}\n'
        for i in range(30)
    ]
    (folder / "pool.jsonl").write_text("".join(rows))
    command = [sys.executable, "-c", SCRIPT, "score", "demo.yaml", "--engine", "ray"]
    command += ["--model", "python:noting:length?version=1", "--actors", "1"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    here = ["--ray-address", ray.get_runtime_context().gcs_address]
    process = subprocess.Popen([*command, *here], cwd=folder, env=environment)
    while len(noted(folder, "batches")) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    actor = noted(folder, "loads")[0][0]
    deadline = time.monotonic() + 30
    while Path(f"/proc/{actor}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    begun = len(noted(folder, "batches"))
    stored = len(ScoreStore(folder / ".rmcheck").open(model_in(folder).fingerprint))
    (folder / "seconds").write_text("0")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )

    assert 0 < stored < 60
    assert f"{60 - stored} scored" in done.stdout
    assert f"{stored} from the store" in done.stdout
    assert sum(len(texts) for _, texts in noted(folder, "batches")[begun:]) == 60 - stored


def test_a_text_that_kills_every_actor_is_named(folder):
    """Four actors die over one block: the run ends, says which prompts, and keeps the others."""
    samples = [Sample("p-deadly", 0, (), "deadly " + "x" * 200), *numbered_samples(TEXTS)]
    with pytest.raises(ScoringError, match="4 actors died one after another over 1 texts") as info:
        score(folder, samples)

    assert "'p-deadly'" in str(info.value)
    assert np.isnan(found(folder, samples)[0])
    assert np.isfinite(found(folder, samples)).any()


def test_a_bad_reward_stops_the_run(folder):
    """NaN is refused as on one machine; the error names the node and the prompt."""
    samples = [Sample("p-bad", 0, (), "bad"), *numbered_samples(TEXTS)]
    with pytest.raises(ScoringError, match=r"node .*, process \d+: .*'p-bad'.* is nan"):
        score(folder, samples)

    assert np.isnan(found(folder, samples)[0])


def test_a_run_in_which_nothing_moves_ends(folder):
    """Says for how long nothing was heard, who was at what, and the remedy; actors are ended."""
    (folder / "seconds").write_text("1000")
    with pytest.raises(
        ScoringError, match="nothing was heard from any of 2 actors for 3 s"
    ) as info:
        score(folder, numbered_samples(TEXTS), timeout=3)

    assert "--timeout" in str(info.value)
    assert "process " in str(info.value)


def test_metrics_over_shards_are_a_map_and_a_sum():
    """Totals of shards from Ray tasks, merged as they come, give the estimate of the whole pool."""
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(120, 4))
    proxy = golden + rng.normal(size=(120, 4))
    names = [f"p{i}" for i in range(120)]
    metrics, sampling = [make_metric("accuracy"), make_metric("ndr", n=2)], Sampling(resamples=300)

    def totals_of(rows: slice) -> ShardTotals:
        shard = Rewards.from_arrays(proxy[rows], golden[rows], prompt_ids=names[rows])
        return shard_totals(metrics, shard, sampling=sampling)

    on_cluster = ray.remote(num_cpus=0.5)(totals_of)
    calls = [on_cluster.remote(slice(start, start + 30)) for start in range(0, 120, 30)]
    merged = []
    while calls:
        done, calls = ray.wait(calls)
        merged.append(ray.get(done[0]))
    found = measure_totals(sum_shards(merged))
    whole = measure_totals(totals_of(slice(None)))

    for one, other in zip(found, whole, strict=True):
        a, b = one.estimate, other.estimate
        assert (a.value, a.lower, a.upper) == pytest.approx((b.value, b.lower, b.upper), rel=1e-12)
        assert a.n == b.n == 120


def test_actors_that_do_not_fit_are_refused_before_anything_starts(folder):
    """Says what is asked and what there is."""
    with pytest.raises(UsageError, match="10 actors of 1 CPU each do not fit") as info:
        score(folder, numbered_samples(3), actors=10, cpus_per_actor=1)

    assert "room for 4" in str(info.value)
    assert "4 CPU, 0 GPU" in str(info.value)
    assert not noted(folder, "loads")


def test_gpus_that_are_not_there_are_refused(folder):
    """An actor with a GPU has no place on a machine without one."""
    with pytest.raises(UsageError, match=r"2 actors of 0\.5 CPU and 1 GPU each do not fit"):
        score(folder, numbered_samples(3), gpus_per_actor=1)


def test_scores_that_are_not_for_keeping_are_refused(folder):
    """A function without a version cannot hand its scores over through the store."""
    model = open_model("python:noting:length", base=folder)
    request = Request(model, tuple(numbered_samples(3)))
    session = ScoreStore(folder / "session", durable=False)
    with pytest.raises(UsageError, match=r"not for keeping.*--engine local.*version=1"):
        fill_requests([request], session, engine=engine(folder))


def test_an_address_where_nobody_listens_is_refused_at_once(folder):
    """Ray itself would try for two minutes; a command of its own, since Ray runs here already."""
    (folder / "demo.yaml").write_text(SUITE)
    (folder / "pool.jsonl").write_text(
        '{"prompt": "q", "responses": ["a", "b"], "golden": [0, 1]}\n'
    )
    command = [sys.executable, "-c", SCRIPT, "score", "demo.yaml", "--engine", "ray"]
    command += ["--model", "python:noting:length?version=1", "--ray-address", "127.0.0.1:9"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "no Ray cluster can be reached at '127.0.0.1:9'" in done.stderr
