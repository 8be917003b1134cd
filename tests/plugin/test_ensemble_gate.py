"""An ensemble as the model of a gate: candidate, baseline, golden RM, bundle, fixture."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from rmcheck.cli import main

# Versions make their scores worth keeping, as a checkpoint's are; each call leaves a line.
JUDGES = """\
from pathlib import Path

def _score(name, reward, responses):
    with Path("calls.txt").open("a") as log:
        log.writelines(f"{name}\\n" for _ in responses)
    return [float(reward(r)) for r in responses]

def length(prompts, responses):
    return _score("length", len, responses)

def words(prompts, responses):
    return _score("words", lambda r: 5 * len(r.split()), responses)

def digits(prompts, responses):
    return _score("digits", lambda r: -sum(c == "3" for c in r), responses)

def broken(prompts, responses):
    return [float("nan")] * len(responses)
"""
FILE = "members:\n" + "".join(
    f"  - python:judges:{name}?version=1\n" for name in ("length", "words", "digits")
)
RESPONSES = 900


@pytest.fixture
def judges(bench):
    """The bench with a module of reward functions and an ensemble of them that is kept."""
    bench.path.joinpath("judges.py").write_text(JUDGES)
    bench.path.joinpath("three.yaml").write_text(FILE)
    return bench


def gate_of(judges, *how):
    """Something that runs the gate in this process, or in a subprocess where `how` says more."""
    start = judges.runpytest_subprocess if how else judges.runpytest_inprocess

    def run(*arguments, model="ensemble:three.yaml", baseline="fake:length_biased"):
        models = [f"--rmcheck-model={model}", f"--rmcheck-baseline={baseline}"]
        return start("--rmcheck", *models, "--rmcheck-report=out", *how, *arguments)

    return run


@pytest.fixture
def run(judges):
    """Runs the gate in this process."""
    return gate_of(judges)


@pytest.fixture(params=[(), ("-n", "2")], ids=["plain", "xdist"])
def run_both_ways(judges, request):
    """Runs the gate in this process, and again in a subprocess with two workers."""
    return gate_of(judges, *request.param)


def calls(bench):
    """How many texts each function was given."""
    path = bench.path / "calls.txt"
    names = path.read_text().split() if path.exists() else []
    return {name: names.count(name) for name in sorted(set(names))}


def report(bench):
    """What the last run wrote."""
    return json.loads((bench.path / "out" / "report.json").read_text())


def pool(bench):
    """Responses and golden rewards, (P, N) each."""
    rows = [json.loads(line) for line in (bench.path / "pool.jsonl").read_text().splitlines()]
    return [row["responses"] for row in rows], np.array([row["golden"] for row in rows])


def test_members_are_scored_once_and_a_second_run_scores_nothing(run_both_ways, judges):
    """However many workers; and each member's scores serve a gate on it alone afterwards."""
    result = run_both_ways("-k", "accuracy or best")
    scored = calls(judges)
    told = [m["description"] for m in report(judges)["suites"][0]["models"]]
    again = gate_of(judges)
    again("-k", "accuracy", model="ensemble:three.yaml?combine=worst")
    again("-k", "accuracy", model="python:judges:words?version=1", baseline="ensemble:three.yaml")

    assert scored == {"digits": RESPONSES, "length": RESPONSES, "words": RESPONSES}
    assert calls(judges) == scored
    assert "as much on best-of-10 choices" in told[0]["disagreement"]
    result.stdout.fnmatch_lines(["  demo: candidate ensemble of 3 (mean): members disagree *"])


def test_the_gate_measures_what_is_combined_by_hand(run, judges):
    """Accuracy of the mean of three functions, computed here with two loops."""
    run("-k", "no-regression")
    responses, golden = pool(judges)
    proxy = np.array(
        [[(len(r) + 5 * len(r.split()) - r.count("3")) / 3 for r in row] for row in responses]
    )
    shares = []
    for r, g in zip(proxy, golden, strict=True):
        pairs = [(i, j) for i in range(len(g)) for j in range(len(g)) if g[i] > g[j]]
        shares.append(np.mean([0.5 + 0.5 * np.sign(r[i] - r[j]) for i, j in pairs]))
    (check,) = report(judges)["checks"]

    assert check["candidate"]["value"] == pytest.approx(np.mean(shares))


def test_the_report_tells_members_scoring_and_disagreement(run, judges):
    """Each member has its own entry; the ensemble's says how it combines and where it disagrees."""
    result = run()
    models = {m["spec"]: m for m in report(judges)["suites"][0]["models"]}
    ensemble = models["ensemble:three.yaml"]
    member = models["python:judges:words?version=1"]

    assert [m["role"] for m in models.values()] == [
        "candidate",
        *["candidate member"] * 3,
        "baseline",
    ]
    assert (member["scoring"]["scored"], ensemble["scoring"]) == (RESPONSES, {})
    assert ensemble["description"]["combine"] == "mean"
    assert "as much on best-of-10 choices" in ensemble["description"]["disagreement"]
    assert "differ more than 3 times in scale" in ensemble["description"]["warning"]
    result.stdout.fnmatch_lines(
        [
            "  demo: candidate ensemble of 3 (mean): members differ more than 3 times in scale*",
            "  demo: candidate ensemble of 3 (mean): members disagree * correlation *",
        ]
    )
    result.stdout.fnmatch_lines(["*python:judges:words*: 900 scored in *"])


SUITE = """\
rmcheck: 1
name: demo
resamples: 1000
pool: {path: pool.jsonl}
checks:
  - {name: agree, metric: disagreement_ratio, n: 4, at_most: %s}
  - {name: accuracy, metric: accuracy, at_least: 0.1}
"""


@pytest.mark.parametrize(("bound", "passed"), [("50", 2), ("0.1", 1)])
def test_a_suite_can_gate_on_disagreement(gate, bench, bound, passed):
    """Beside a baseline that is one model, and so has no such number."""
    (bench.path / "demo.yaml").write_text(SUITE % bound)
    model = "ensemble:fake:length_biased,fake:random?scale=prompt"

    result = gate(model=model, baseline="fake:length_biased")

    assert result.parseoutcomes().get("passed") == passed
    assert ("above 0.1" in result.stdout.str()) == (passed == 1)


def test_disagreement_of_one_model_is_an_error_of_that_check(gate, bench):
    """The other checks are judged; the error says what to give."""
    (bench.path / "demo.yaml").write_text(SUITE % "50")

    result = gate(model="fake:length_biased", baseline=None)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*disagreement_ratio needs an ensemble*ensemble:SPEC,SPEC*"])


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (
            "python:judges:broken",
            "python:judges:broken: the reward of prompt 'p*response * is nan*",
        ),
        ("scores:short.jsonl", "*short.jsonl has no score for 899 of 900 responses*"),
    ],
)
def test_a_member_that_fails_stops_every_check_and_is_named(run, judges, member, said):
    """NaN, or no score for a text: an error, never a verdict on the others alone."""
    row = {"prompt_id": "p0", "response": 0, "score": 1.0}
    (judges.path / "short.jsonl").write_text(json.dumps(row) + "\n")

    result = run(model=f"ensemble:{member},fake:length_biased")

    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines([f"*{said}"])


def test_a_member_that_cannot_be_opened_is_a_usage_error(gate):
    """Before anything is collected or scored."""
    result = gate(model="ensemble:fake:length_biased,hf:no/such")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "member 2: checkpoint" in result.stderr.str()


def test_an_ensemble_is_golden_too(run, judges):
    """The golden RM of a suite may be several, read from the same store as the candidate."""
    suite = judges.path / "demo.yaml"
    text = suite.read_text().replace(
        "checks:", "golden: {model: 'ensemble:three.yaml?scale=prompt'}\nchecks:"
    )
    suite.write_text(text)

    result = run(
        "--rmcheck-trust-suites",
        model="ensemble:three.yaml",
        baseline="python:judges:length?version=1",
    )
    accuracy = next(c for c in report(judges)["checks"] if c["name"] == "accuracy")

    assert "errors" not in result.parseoutcomes()
    assert 0.8 < accuracy["value"] < 1
    assert set(calls(judges).values()) == {RESPONSES}


@pytest.mark.parametrize("golden", ["fake:perfect", "ensemble:fake:random,fake:reversed"])
def test_a_golden_model_that_asks_for_golden_is_refused(gate, bench, golden):
    """Alone or among members: at collection, where the suite names it."""
    text = (bench.path / "demo.yaml").read_text()
    named = text.replace("checks:", f"golden: {{model: '{golden}'}}\nchecks:")
    (bench.path / "demo.yaml").write_text(named)

    result = gate()

    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*demo.yaml:5:*{golden} repeats the golden reward*"])


def test_a_bundle_of_an_ensemble_is_a_model_elsewhere(run, judges, capsys):
    """`rmcheck score` writes the combined scores, and says of whom they are."""
    spec = "ensemble:three.yaml?combine=worst"

    assert main(["score", "demo.yaml", "--model", spec, "--bundle", "b.parquet"]) == 0
    assert capsys.readouterr().out.count("900 scored") == 3

    run(model="scores:b.parquet")
    models = {m["role"]: m for m in report(judges)["suites"][0]["models"]}
    from_bundle = report(judges)["checks"]
    run(model=spec)

    assert models["candidate"]["description"]["scored by"] == spec
    assert [c["candidate"] for c in from_bundle] == [
        c["candidate"] for c in report(judges)["checks"]
    ]


def test_tests_score_texts_of_their_own_with_an_ensemble(run, judges):
    """The fixture combines like the gate; a reward that exists only on a pool is refused."""
    judges.makepyfile(
        """
        import pytest
        from rmcheck.errors import UsageError

        def test_margin(reward_model):
            assert reward_model.score(["q"], ["one 3"]).tolist() == [(5 + 10 - 1) / 3]
            assert reward_model.margin("q", "one two", "one") == pytest.approx((4 + 5) / 3)

        def test_prompt_scale(baseline_model):
            with pytest.raises(UsageError, match="scale=prompt compares the responses"):
                baseline_model.margin("q", "one two", "one")
        """
    )

    result = run(
        "test_tests_score_texts_of_their_own_with_an_ensemble.py",
        baseline="ensemble:three.yaml?scale=prompt",
    )

    result.assert_outcomes(passed=2)


def tiny_models():
    """The builder of tiny checkpoints, which lives beside the tests of models."""
    path = Path(__file__).parents[1] / "models" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models_of_ensembles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_checkpoints_as_one(bench):
    """Real ones: each loaded once by one worker, proved, kept, and reported with its own page."""
    tiny = tiny_models()
    for seed in (0, 1):
        folder = bench.path / f"rm-{seed}"
        tiny.save(tiny.decoder_config("llama"), folder, seed=seed)
    lines = (bench.path / "pool.jsonl").read_text().splitlines()[:10]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["responses"] = [f"{r[:40]} {i}" for i, r in enumerate(row["responses"])]
    (bench.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (bench.path / "demo.yaml").write_text(SUITE % "50")

    arguments = (
        "--rmcheck",
        "--rmcheck-model=ensemble:hf:rm-0,hf:rm-1",
        "--rmcheck-report=out",
    )
    bench.runpytest_subprocess(*arguments, "-n", "2")
    first = report(bench)
    bench.runpytest_inprocess(*arguments)
    second = report(bench)
    (ensemble, *members), (_, *again) = (r["suites"][0]["models"] for r in (first, second))

    assert [m["scoring"]["scored"] for m in members] == [100, 100]
    assert [m["scoring"]["scored"] for m in again] == [0, 0]
    assert first["checks"] == second["checks"]
    assert all(len(m["conformance"]) > 3 for m in (*members, *again))
    assert any(item["name"].endswith("rm-1: batch_invariance") for item in ensemble["conformance"])
