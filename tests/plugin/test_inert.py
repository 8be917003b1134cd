"""Without `--rmcheck` the plugin does nothing at all."""

import subprocess
import sys

import pytest


@pytest.fixture
def python():
    """Each run is a fresh interpreter, in which nothing was imported before."""
    return subprocess.Popen


HEAVY = ("numpy", "scipy", "yaml", "pyarrow", "torch", "transformers", "rmcheck.run")


def test_no_line_is_printed_no_file_made_and_no_suite_collected(bench):
    """The output is that of a pytest which has never heard of suites."""
    bench.makepyfile("def test_one(): pass")
    made_by_pytester = {"stdout", "stderr", "runpytest-0", "runpytest-current"}
    before = {p.name for p in bench.path.iterdir()} | made_by_pytester

    result = bench.runpytest_subprocess("-p", "no:cacheprovider", "-v")

    result.assert_outcomes(passed=1)
    assert "rmcheck:" not in result.stdout.str()
    assert "demo.yaml" not in result.stdout.str()
    assert {p.name for p in bench.path.iterdir()} - before <= {"__pycache__"}


def test_nothing_heavy_is_imported(bench):
    """A whole run leaves numpy, yaml, pyarrow, torch and the runner out of `sys.modules`."""
    bench.makepyfile(
        f"""
        import sys

        def test_modules():
            assert [m for m in {HEAVY!r} if m in sys.modules] == []
        """
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest"]

    done = subprocess.run(command, cwd=bench.path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_gate_waits_for_what_only_some_checks_need():
    """Each run and each worker pays for its imports."""
    later = ("scipy", "pyarrow", "torch", "jinja2")
    code = f"import sys, rmcheck.pytest_plugin.gate; print(set({later}) & set(sys.modules))"

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert found.strip() == "set()"


def test_marked_tests_are_skipped_with_the_option_that_runs_them(bench):
    """A test that judges a model waits for `--rmcheck` and says so."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_accuracy(accuracy):
            assert accuracy.lower >= 2
        """
    )

    result = bench.runpytest_subprocess("-rs", "--strict-markers")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*judges a reward model; run with --rmcheck*"])


def test_an_option_without_the_gate_is_a_usage_error(bench):
    """Whoever names a model wants it judged: exit code 4, the option named, nothing run."""
    bench.makepyfile("def test_one(): pass")

    result = bench.runpytest_subprocess("--rmcheck-model=fake:reversed", "--rmcheck-store", "kept")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --rmcheck-model, --rmcheck-store without --rmcheck: no suite would run."]
    )
    result.stdout.no_fnmatch_line("*passed*")


def test_an_option_in_the_environment_without_the_gate_is_a_usage_error(bench, monkeypatch):
    """`PYTEST_ADDOPTS` is typed for one run, as the command line is."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--rmcheck-model=fake:reversed")

    assert bench.runpytest_subprocess().ret == pytest.ExitCode.USAGE_ERROR


def test_settings_in_an_ini_file_wait_for_the_gate(bench):
    """Keys and `addopts` of the project leave a run without `--rmcheck` as it is."""
    bench.makepyfile("def test_one(): pass")
    bench.makeini(
        "[pytest]\naddopts = --rmcheck-store=kept\nrmcheck_model = fake:reversed\n"
        "rmcheck_baseline = fake:perfect\n"
    )

    bench.runpytest_subprocess().assert_outcomes(passed=1)
