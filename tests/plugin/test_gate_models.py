"""Which models a gate takes, and in which roles."""

import json

import pytest

CHECKS = 6


def test_without_a_model_nothing_is_collected(gate):
    """A usage error that says the option, exit code 4."""
    result = gate(model=None)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --rmcheck needs a reward model.", "*--rmcheck-model=SCHEME*"]
    )


def test_a_model_that_does_not_exist_is_a_usage_error(gate):
    """Before anything is collected or scored."""
    result = gate(model="hf:no/such/folder")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no/such/folder" in result.stderr.str()


@pytest.mark.parametrize("role", ["baseline", "golden"])
def test_the_candidate_is_refused_as_its_own_baseline_or_golden_model(gate, role):
    """One variable too many would make every drop 0, or every reward right."""
    result = gate(f"--rmcheck-{role}=fake:random", model="fake:random", baseline=None)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*fake:random and fake:random are one model (fingerprint *"])


def test_the_candidate_is_refused_as_the_golden_model_of_a_suite(gate, bench):
    """Where the suite names it; a golden column repeated by `fake:perfect` is a fake's purpose."""
    suite = bench.path / "demo.yaml"
    suite.write_text(
        suite.read_text().replace("checks:", "golden: {model: 'fake:random'}\nchecks:")
    )

    result = gate(model="fake:random")

    assert result.ret != 0
    result.stdout.fnmatch_lines(
        [
            "demo.yaml:5:*fake:random and fake:random are one model*",
        ]
    )


@pytest.mark.parametrize("adaptive", ["false", "true"])
def test_a_check_without_its_baseline_is_an_error_alone(gate, bench, adaptive):
    """The others are decided, the run is red, and the option to give is named."""
    suite = bench.path / "demo.yaml"
    suite.write_text(f"{suite.read_text()}adaptive: {adaptive}\n")

    result = gate("--rmcheck-report=out", baseline=None)
    report = json.loads((bench.path / "out" / "report.json").read_text())

    result.assert_outcomes(passed=CHECKS - 1, errors=1)
    assert result.ret == 1
    assert report["passed"] is False
    result.stdout.fnmatch_lines(
        [
            "no-regression compares with a baseline, and none was given.",
            "  Give one with --rmcheck-baseline=SCHEME:LOCATION, *",
        ]
    )


@pytest.mark.parametrize("adaptive", ["false", "true"])
def test_a_baseline_that_fails_stops_only_the_checks_that_compare(gate, bench, adaptive):
    """Its error is the error of `max_drop` alone."""
    suite = bench.path / "demo.yaml"
    suite.write_text(f"{suite.read_text()}adaptive: {adaptive}\n")

    result = gate(baseline="fake:nan")

    result.assert_outcomes(passed=CHECKS - 1, errors=1)
    result.stdout.fnmatch_lines(["*prompt 'p*response * is nan*"])


def test_a_baseline_is_not_scored_where_no_check_compares_with_it(gate, bench):
    """Its scores would cost as much as the candidate's, to be shown and no more."""
    (bench.path / "rules.py").write_text(
        "def forbidden(prompts, responses):\n    raise AssertionError('scored')\n"
    )
    bench.syspathinsert()
    suite = bench.path / "demo.yaml"
    lines = suite.read_text().splitlines(keepends=True)
    suite.write_text("".join(line for line in lines if "max_drop" not in line))

    result = gate(baseline="python:rules:forbidden")

    result.assert_outcomes(passed=CHECKS - 1)
    assert "rules:forbidden:" not in result.stdout.str()


def test_every_option_is_an_ini_key_too(gate, bench):
    """CI needs to name only the checkpoint; the command line wins."""
    bench.makeini(
        "[pytest]\nrmcheck_model = fake:reversed\nrmcheck_baseline = fake:constant\n"
        "rmcheck_report = out\nrmcheck_store = kept\n"
    )

    result = gate(baseline=None)

    assert result.ret == 0
    assert (bench.path / "out" / "report.json").exists()
    result.stdout.fnmatch_lines(["rmcheck: candidate fake:perfect*", "rmcheck: store kept"])


def test_models_in_an_ini_file_are_relative_to_it(bench, monkeypatch):
    """A run starts in any folder; the command that repeats it leaves to the ini file its own."""
    rows = [{"prompt_id": f"p{i}", "response": j, "score": j} for i in range(90) for j in range(10)]
    (bench.path / "models").mkdir()
    (bench.path / "models" / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    bench.makeini(
        "[pytest]\nrmcheck_model = scores:models/s.jsonl\nrmcheck_baseline = fake:perfect\n"
        "rmcheck_report = out\n"
    )
    below = bench.mkdir("below")
    monkeypatch.chdir(below)

    result = bench.runpytest_inprocess("--rmcheck", "../demo.yaml")

    assert "900 scored" in result.stdout.str() or "900 read" in result.stdout.str()
    assert (bench.path / "out" / "report.json").exists()
    result.stdout.fnmatch_lines(["  pytest demo.yaml::accuracy --rmcheck"])
