"""Without `--rmcheck` the plugin does nothing at all."""

import subprocess
import sys

HEAVY = ("numpy", "scipy", "yaml", "pyarrow", "torch", "transformers", "rmcheck.runner")


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
