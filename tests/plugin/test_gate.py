"""`pytest --rmcheck`: what passes, what fails, and what people and programs see."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

CHECKS = 6
BLIND = """\
rmcheck: 1
directionless: true
inconclusive: warn
pool: {path: pool.jsonl}
checks:
"""


def test_a_perfect_model_passes_every_check(gate_both_ways):
    """Exit code 0, one item a check and slice value, and the table last."""
    result = gate_both_ways()

    result.assert_outcomes(passed=CHECKS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*reward-model checks*",
            "check * n * measured * 95% bounds * required * verdict",
            "demo::accuracy * 90 * 1.000 * >= 0.7 * pass",
            "6 checks: 6 pass.",
        ]
    )


@pytest.mark.parametrize("fault", ["constant", "random", "length_biased", "reversed"])
def test_every_faulty_model_fails_the_build(gate, fault):
    """A known fault never leaves the gate open, and the exit code is pytest's for failures."""
    result = gate(model=f"fake:{fault}")

    assert result.ret == 1
    assert result.parseoutcomes()["failed"] >= 1


def test_a_constant_model_does_not_pass_a_suite_of_calibration_alone(gate, bench):
    """`directionless: true` takes the suite, `inconclusive: warn` the doubt; neither takes this."""
    text = "  - {name: calibration, metric: ece, at_most: 0.1}\n"
    bench.path.joinpath("demo.yaml").write_text(f"{BLIND}{text}")
    result = gate(model="fake:constant", baseline=None)

    assert result.ret == 1
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*the model gives all responses of a prompt one reward*"])


def test_a_model_that_gives_nan_is_an_error_of_every_check(gate_both_ways):
    """NaN is never scored as wrong: no verdict, no traceback, the row named."""
    result = gate_both_ways(model="fake:nan")

    result.assert_outcomes(errors=CHECKS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*prompt 'p*response * is nan*"])
    assert "During handling" not in result.stdout.str()
    assert "rmcheck/run/" not in result.stdout.str()


def test_a_failure_says_numbers_first_then_why_then_how_to_repeat_it(gate):
    """Headline, both models, the worst pick, the place in the suite, a command: ten lines."""
    result = gate("-k", "no-regression", model="fake:length_biased")

    lines = result.stdout.lines
    text = lines[lines.index(next(line for line in lines if "demo: no-regression" in line)) + 1 :]
    text = text[: next(i for i, line in enumerate(text) if line.startswith("==="))]
    assert len(text) == 10
    result.stdout.fnmatch_lines(
        [
            "drop 0.* [[]0.*, 0.*[]] is above 0.01",
            "  accuracy (*), 90 independent prompts, demo.yaml:8",
            "    candidate  fake:length_biased *",
            "    baseline   fake:perfect *",
            "    required *0.010  by the upper 95% bound",
            "  worst pick: p*, golden lost *, reward margin *: What is *?",
            "    picked:   *",
            "    better:   *",
            "  pytest demo.yaml::no-regression --rmcheck --rmcheck-model=fake:length_biased *",
        ]
    )
    result.stdout.fnmatch_lines(["FAILED demo.yaml::no-regression - drop 0.*is above 0.01"])
    result.stdout.no_fnmatch_line("*data:*|candidate:*")


def test_verbose_failures_say_all_that_is_known(gate):
    """Three picks, every further number, and what signs the result."""
    result = gate("-v", "-k", "best-of-8", model="fake:length_biased")

    result.stdout.fnmatch_lines(
        [
            "    golden gained, the candidate choosing: *",
            "    golden gained, golden choosing: *",
            "    if the longest answer won: *",
            *["  worst pick: *", "    picked: *", "    better: *"] * 3,
            "  bon_drop_ratio|*|data:*|candidate:*",
        ]
    )


def test_the_same_worst_pick_is_shown_once(gate):
    """Further checks name the one that has shown it."""
    result = gate("-k", "best or regression", model="fake:length_biased")

    assert result.stdout.str().count("worst pick: p") == 1
    result.stdout.fnmatch_lines(["  worst picks: as for demo.yaml::best-of-8"])


def test_texts_are_cut_at_the_width_of_the_terminal(gate, monkeypatch):
    """And begin shortly before they differ."""
    for columns in (80, 130):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = gate("-k", "regression", model="fake:length_biased").stdout.lines
        picked, better = (
            next(line for line in lines if line.startswith(f"    {word}:"))
            for word in ("picked", "better")
        )

        assert max(map(len, lines[lines.index(picked) - 1 :][:3])) <= columns
        assert picked.partition(":")[2] != better.partition(":")[2]


def test_golden_that_may_be_upside_down_is_said(gate):
    """Hardly any model is wrong nearly always."""
    result = gate("demo.yaml::accuracy", model="fake:reversed")

    result.stdout.fnmatch_lines(["  So low that golden may be upside down: higher must be better*"])


def test_a_model_no_better_than_length_is_told(gate):
    """Below the table, whether the check passes or not."""
    result = gate("demo.yaml::accuracy", model="fake:length_biased")

    result.stdout.fnmatch_lines(["*accuracy: no better than if the longest answer won (0.763)"])


def test_a_drop_below_zero_is_explained(gate):
    """It is an improvement."""
    result = gate("-k", "regression", model="fake:perfect", baseline="fake:length_biased")

    result.stdout.fnmatch_lines(["  a drop below 0 is an improvement on the baseline"])


def test_rows_and_independent_prompts_are_told_apart(gate, bench):
    """The n of the table counts independent prompts, the pool's line both."""
    pool = bench.path / "pool.jsonl"
    pool.write_text(pool.read_text() + pool.read_text().replace(': "p', ': "q'))
    result = gate("demo.yaml::accuracy")

    result.stdout.fnmatch_lines(["demo::accuracy * 90 *", "*180 prompts (90 independent), 1800 *"])


def test_an_inconclusive_check_fails_and_says_how_many_prompts_would_decide(gate, bench):
    """A straddling interval keeps the gate closed."""
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace("at_least: 0.70", "at_least: 0.763"))

    result = gate("demo.yaml::accuracy", model="fake:length_biased")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*straddles 0.763", "  90 prompts cannot tell * about * could.", "*inconclusive*"]
    )


def test_inconclusive_warn_lets_the_build_pass_and_says_so(gate, bench):
    """`inconclusive: warn` passes the item; the table still says inconclusive."""
    suite = bench.path / "demo.yaml"
    text = suite.read_text().replace("at_least: 0.70", "at_least: 0.763")
    suite.write_text(text + "inconclusive: warn\n")

    result = gate("demo.yaml::accuracy", model="fake:length_biased")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["demo::accuracy*inconclusive (warn)", "1 check: 1 inconclusive."])


def test_inconclusive_warn_is_not_for_data_that_decide_nothing(gate, bench):
    """Too few prompts fail the build whatever the suite says: it warns where bounds straddle."""
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text() + "inconclusive: warn\nmin_prompts: 100\n")

    result = gate("demo.yaml::accuracy", "demo.yaml::best-of-8", model="fake:reversed")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*90 independent prompts, fewer than 100*"])


def test_report_json_holds_every_check_and_what_it_was_judged_with(gate_both_ways, bench):
    """The same file plain and under xdist: checks, models, conformance, pool counts."""
    gate_both_ways("--rmcheck-report=out", model="fake:length_biased")

    report = json.loads((bench.path / "out" / "report.json").read_text())
    required = "suite name metric settings slice value lower upper confidence n verdict required"
    names = [(c["name"], c["slice"]) for c in report["checks"]]

    assert report["passed"] is False
    assert all(set(required.split()) | {"baseline"} <= set(c) for c in report["checks"])
    assert names == [
        ("accuracy", ""),
        ("best-of-8", ""),
        ("no-regression", ""),
        ("by-category", "category=chat"),
        ("by-category", "category=code"),
        ("worst-category", report["checks"][-1]["slice"]),
    ]
    suite = report["suites"][0]
    assert suite["pool"]["prompts"] == 90
    assert suite["pool"]["responses"] == 900
    assert {m["role"] for m in suite["models"]} == {"candidate", "baseline"}
    assert all(len(m["fingerprint"]) == 64 for m in suite["models"])


def test_plain_and_xdist_runs_report_the_same_numbers(bench):
    """Workers change nothing: seeds come from the suite, not from the process."""
    reports = []
    for arguments in ((), ("-n", "2")):
        bench.runpytest_subprocess(
            "--rmcheck",
            "--rmcheck-model=fake:random",
            "--rmcheck-baseline=fake:length_biased",
            "--rmcheck-report=out",
            *arguments,
        )
        reports.append(json.loads((bench.path / "out" / "report.json").read_text()))

    assert reports[0]["checks"] == reports[1]["checks"]


def test_junit_carries_the_numbers_of_each_check(gate_both_ways, bench):
    """Properties on each test case, and a headline as the failure's message."""
    gate_both_ways("--junitxml=junit.xml", model="fake:length_biased")

    cases = list(ET.parse(bench.path / "junit.xml").iter("testcase"))
    found = {
        c.get("name"): {p.get("name"): p.get("value") for p in c.iter("property")} for c in cases
    }
    message = next(
        f.get("message") for c in cases if c.get("name") == "best-of-8" for f in c.iter("failure")
    )

    assert len(cases) == CHECKS
    assert found["best-of-8"]["rmcheck.metric"] == "bon_drop_ratio"
    assert found["best-of-8"]["rmcheck.verdict"] == "fail"
    assert float(found["best-of-8"]["rmcheck.value"]) > 0.15
    assert message.startswith("0.")
    assert "is above 0.15" in message


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (("-m", "accuracy"), 5),
        (("-m", "bon_drop_ratio"), 1),
        (("-k", "by-category"), 2),
        (("demo.yaml::best-of-8",), 1),
        (("demo.yaml::by-category[category=code]",), 1),
    ],
)
def test_checks_are_chosen_like_any_test(gate, arguments, passed):
    """By marker of the metric, by keyword and by node id."""
    gate(*arguments).assert_outcomes(passed=passed)


def test_a_verdict_does_not_depend_on_which_checks_are_chosen(bench):
    """Holm is over the suite, so `-k` cannot turn an inconclusive check into a failed one."""

    def p_holm(*arguments):
        bench.runpytest_subprocess(
            "--rmcheck",
            "--rmcheck-model=fake:length_biased",
            "--rmcheck-baseline=fake:perfect",
            "--rmcheck-report=out",
            *arguments,
        )
        report = json.loads((bench.path / "out" / "report.json").read_text())
        return {c["name"]: c["p_holm"] for c in report["checks"]}["best-of-8"]

    assert p_holm("-k", "best") == p_holm()


@pytest.mark.parametrize("how", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_last_failed_runs_only_what_failed_slices_included(bench, how):
    """`--lf` runs all failed checks again, those on a slice too, and nothing else."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased", *how)
    make_slices_fail(bench)
    first = bench.runpytest_subprocess(*arguments)

    again = bench.runpytest_subprocess(*arguments, "--lf")

    first.assert_outcomes(failed=3, passed=1)
    again.assert_outcomes(failed=3)


def test_a_repaired_check_leaves_the_failed_slices_to_the_next_last_failed_run(bench):
    """`--lf` stays red until what failed has passed."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased")
    make_slices_fail(bench)
    bench.runpytest_subprocess(*arguments)
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace("best, metric: accuracy, at_least: 0.99", GOOD))

    again = bench.runpytest_subprocess(*arguments, "--lf")

    again.assert_outcomes(failed=2, passed=1)
    assert again.ret == 1


def test_failed_first_begins_with_the_failed_slices(bench):
    """`--ff` runs what failed before all else, checks on a slice too."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased", "-v")
    make_slices_fail(bench)
    bench.runpytest_subprocess(*arguments)

    lines = bench.runpytest_subprocess(*arguments, "--ff").stdout.lines
    order = [line.split()[1] for line in lines if re.match("demo.yaml::.*%]", line)]

    assert order == ["FAILED", "FAILED", "FAILED", "PASSED"]


GOOD = "best, metric: accuracy, at_least: 0.5"


def make_slices_fail(bench):
    """A suite of a passing check, a failing one, and two failing slices."""
    (bench.path / "demo.yaml").write_text(
        "rmcheck: 1\nresamples: 1000\npool: {path: pool.jsonl}\nchecks:\n"
        "  - {name: good, metric: accuracy, at_least: 0.5}\n"
        "  - {name: best, metric: accuracy, at_least: 0.99}\n"
        "  - {name: by-category, metric: accuracy, over: category, at_least: 0.99}\n"
    )


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


def test_a_wrong_suite_is_a_collection_error_that_names_the_line(gate_both_ways, bench):
    """All problems at once, no traceback, exit code not zero."""
    suite = bench.path / "demo.yaml"
    suite.write_text(
        suite.read_text().replace("at_least: 0.70", "at_leats: 0.70").replace("n: 8", "n: 0")
    )

    result = gate_both_ways()
    output = result.stdout.str()

    assert result.ret != 0
    assert "demo.yaml:6:" in output
    assert "Did you mean 'at_least'?" in output
    assert "demo.yaml:7:" in output
    assert "rmcheck/run/" not in output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n: 8", "n: 11", "has 10 at most"),
        ("over: category, at_least", "over: topic, at_least", "'topic'"),
        (", slices: [category]}", "}\ngolden: {column: gold}", "no label column 'gold'"),
        ("slices: [category]", "slices: [category, topic]", "no slice column 'topic'"),
        ("checks:", "golden: {model: 'hf:nowhere'}\nchecks:", "nowhere does not exist"),
        ("pool.jsonl", "pol.jsonl", "pool.jsonl"),
    ],
)
def test_what_the_pool_cannot_give_is_found_at_collection(gate, bench, old, new, said):
    """Too few responses, no such slice, no such file: named before anything is scored."""
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace(old, new))

    result = gate()

    assert result.ret != 0
    assert said in result.stdout.str()
    assert "rmcheck/run/" not in result.stdout.str()


def test_a_run_that_judged_nothing_does_not_pass(gate_both_ways, bench):
    """With tests but without any check the gate_both_ways would stand open; it does not."""
    (bench.path / "demo.yaml").unlink()
    bench.makepyfile("def test_one(): pass")

    result = gate_both_ways()

    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*no check was run*(0 files taken as suites)"])


BAD_CHECK = "pool: {path: pool.jsonl}\nchecks:\n  - {name: a, metric: accuracy, at_least: 0.99}\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.yaml", f"rmchek: 1\n{BAD_CHECK}", "Did you mean 'rmcheck'?"),
        ("bad.yaml", f"rmcheck 1\n{BAD_CHECK}", "not valid YAML"),
        ("bad.yaml", BAD_CHECK, "no 'rmcheck: 1'"),
        ("bad.yaml", f"rmcheck: 1\n{BAD_CHECK}".encode("utf-16"), "save the file as UTF-8"),
        ("bad.YAML", f"rmcheck: 1\n{BAD_CHECK}", "is below 0.99"),
    ],
)
def test_a_misspelt_suite_beside_a_good_one_is_an_error(gate_both_ways, bench, name, text, said):
    """What was meant as a suite is never left out without a word."""
    data = text.encode() if isinstance(text, str) else text
    (bench.path / name).write_bytes(data)

    result = gate_both_ways(model="fake:length_biased")
    output = result.stdout.str()

    assert result.ret not in (0, 5)
    assert f"{name}:" in output
    assert said in output
    assert "2 files taken as suites: " in output


def test_a_yaml_file_that_is_named_is_a_suite_or_an_error(gate, bench):
    """Whoever names a file wants it checked."""
    (bench.path / "other.yaml").write_text("a: 1\n")

    result = gate("demo.yaml", "other.yaml")

    assert result.ret != 0
    result.stdout.fnmatch_lines(["other.yaml:1:1: no 'rmcheck: 1': what format is this?"])


def test_other_yaml_files_are_left_alone(gate, bench):
    """A YAML file that is not a suite is neither collected nor complained about."""
    (bench.path / "other.yaml").write_text("a: [1, 2\n")
    (bench.path / "compose.yaml").write_text("services:\n  rmcheck: {image: x}\n")
    (bench.path / ".gitlab-ci.yml").write_text("rmcheck:\n  script: [make gate]\n")
    (bench.path / "azure.yml").write_text("pool: {vmImage: ubuntu-latest}\nsteps: []\n")

    result = gate()

    result.assert_outcomes(passed=CHECKS)
    result.stdout.fnmatch_lines(["  1 file taken as a suite: demo.yaml"])


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


def test_two_suites_of_one_name_are_told_apart(gate, bench):
    """In the table, the lines under it and the report each has its file."""
    for folder in ("a", "b"):
        (bench.path / folder).mkdir()
        text = (bench.path / "demo.yaml").read_text().replace("pool.jsonl", "../pool.jsonl")
        (bench.path / folder / "s.yaml").write_text(text.replace("name: demo", "name: s"))

    result = gate("--rmcheck-report=out")
    report = json.loads((bench.path / "out" / "report.json").read_text())

    result.stdout.fnmatch_lines(
        [
            "a/s.yaml::accuracy *",
            "b/s.yaml::accuracy *",
            "demo::accuracy *",
            "  a/s.yaml: pool *",
            "  b/s.yaml: pool *",
            "  demo: pool *",
        ]
    )
    assert len({(c["path"], c["name"], c["slice"]) for c in report["checks"]}) == 3 * CHECKS


def test_a_check_that_is_run_again_counts_once(gate, bench):
    """As a plugin does that reruns what failed: one row, one record, one count."""
    bench.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for last in (False, True):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    if report.when == "call" and not last:
                        report.outcome = "rerun"
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )

    result = gate("--rmcheck-report=out", model="fake:length_biased")
    report = json.loads((bench.path / "out" / "report.json").read_text())

    assert len(report["checks"]) == CHECKS
    result.stdout.fnmatch_lines(["6 checks: *"])


def test_the_home_folder_is_expanded_in_a_pool_path(gate, bench, monkeypatch):
    """`~/pool.jsonl` in a suite is what it is in a shell."""
    monkeypatch.setenv("HOME", str(bench.path))
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace("path: pool.jsonl", "path: ~/pool.jsonl"))

    gate("-k", "accuracy").assert_outcomes(passed=5)
