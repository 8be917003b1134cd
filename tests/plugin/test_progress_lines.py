"""A run that scores for minutes says so, whatever pytest captures."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

SCORING = "rmcheck: scoring fake:length_biased: 900 texts, *k tokens"


@pytest.mark.parametrize("captured", ["fd", "no"])
def test_the_run_says_what_it_scores_before_the_first_verdict(bench, captured):
    """On the same stream as pytest's own lines, whatever is captured."""
    result = bench.runpytest_subprocess(
        "--rmcheck",
        "--rmcheck-model=fake:length_biased",
        "--rmcheck-baseline=fake:constant",
        f"--capture={captured}",
    )

    first = "rmcheck: scoring fake:constant: 900 texts, *; then fake:length_biased"
    result.stdout.fnmatch_lines(["demo.yaml *", first, SCORING, "*reward-model checks*"])
    assert "Captured" not in result.stdout.str()


def test_a_bar_is_drawn_on_a_terminal_though_pytest_captures(bench):
    """With what comes next, and gone before the next line of pytest."""
    pty = pytest.importorskip("pty", reason="needs a terminal")
    bench.makeconftest("from rmcheck.scoring import progress; progress.DELAY_SECONDS = 0")
    models = ["--rmcheck-model=fake:length_biased", "--rmcheck-baseline=fake:constant"]
    command = [sys.executable, "-m", "pytest", "--rmcheck", *models, "-k", "accuracy"]
    ours, theirs = pty.openpty()
    pytest.importorskip("termios").tcsetwinsize(theirs, (24, 160))
    environment = {**os.environ, "CI": ""}
    run = subprocess.Popen(command, cwd=bench.path, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux ends a terminal that nobody writes to any more
        while some := os.read(ours, 65_536):
            shown += some
    os.close(ours)

    assert run.wait() == 0
    text = shown.decode()
    assert re.search(r"\rscoring fake:constant:.* tokens.*then fake:length_biased", text)
    assert "reward-model checks" in text[text.index("\rscoring fake:length_biased:") :]


def test_the_line_of_a_worker_is_seen(bench):
    """Under xdist the worker that scores says it, once."""
    result = bench.runpytest_subprocess(
        "--rmcheck",
        "--rmcheck-model=fake:length_biased",
        "--rmcheck-baseline=fake:constant",
        *("-n", "2", "-k", "accuracy"),
    )

    result.stderr.fnmatch_lines([SCORING])
    assert result.stderr.str().count("rmcheck: scoring fake:length_biased") == 1


def test_progress_goes_on_while_a_check_is_set_up(bench):
    """A line a minute; here each batch takes a minute."""
    bench.makeconftest(
        """
        import itertools
        from rmcheck.scoring import progress

        minutes = itertools.count(step=60.0)
        progress.ProgressLines.__init__.__defaults__ = (lambda: next(minutes),)
        """
    )

    result = bench.runpytest_subprocess(
        "--rmcheck",
        "--rmcheck-model=fake:random",
        "--rmcheck-baseline=fake:constant",
    )

    result.stdout.fnmatch_lines(
        [
            "rmcheck: scoring fake:random: 900 texts, *k tokens",
            "rmcheck: scoring fake:random: 100% of *k tokens, * tokens/s, about 0 s left",
        ]
    )


def test_a_second_run_from_the_store_says_nothing(bench):
    """Nothing is scored, so nothing takes long."""
    bench.makepyfile(
        rule="""
        def score(prompts, responses):
            return [float(len(response)) for response in responses]
        """
    )
    arguments = ("--rmcheck", "--rmcheck-model=python:rule:score?version=1", "-k", "accuracy")
    first = bench.runpytest_subprocess(*arguments, "--rmcheck-baseline=fake:constant")
    second = bench.runpytest_subprocess(*arguments, "--rmcheck-baseline=fake:constant")

    assert "rmcheck: scoring python:rule:score" in first.stdout.str()
    assert "rmcheck: scoring python:rule:score" not in second.stdout.str()


def test_a_command_says_it_on_standard_error(bench):
    """Standard output stays what the command was asked for."""
    code = "import sys; from rmcheck.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "score", "demo.yaml", "--model=fake:length_biased"]
    done = bench.run(*command)

    done.stderr.fnmatch_lines([SCORING])
    assert done.stdout.str().startswith("fake:length_biased: 900 scored")
