"""`pytest --rmcheck`: what passes, and what fails."""

import pytest

CHECKS = 6


BLIND = """\
rmcheck: 1
directionless: true
inconclusive: warn
pool: {path: pool.jsonl}
checks:
"""


def test_a_perfect_model_passes_every_check(gate):
    """Exit code 0, one item a check and slice value, and the table last."""
    result = gate()

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
    """`directionless: true` takes the suite, `inconclusive: warn` the doubt; neither takes this.

    Nor does a bound at chance, which it meets.
    """
    text = "  - {name: calibration, metric: ece, at_most: 0.1}\n"
    text += "  - {name: accuracy, metric: accuracy, at_least: 0.5}\n"
    bench.path.joinpath("demo.yaml").write_text(f"{BLIND}{text}")
    result = gate(model="fake:constant", baseline=None)

    assert result.ret == 1
    assert result.parseoutcomes() == {"failed": 2}
    result.stdout.fnmatch_lines(["*the model gives all responses of a prompt one reward*"])


def test_a_model_that_gives_nan_is_an_error_of_every_check(gate_both_ways):
    """NaN is never scored as wrong: no verdict, no traceback, the row named."""
    result = gate_both_ways(model="fake:nan")

    result.assert_outcomes(errors=CHECKS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*prompt 'p*response * is nan*"])
    assert "During handling" not in result.stdout.str()
    assert "rmcheck/run/" not in result.stdout.str()


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
