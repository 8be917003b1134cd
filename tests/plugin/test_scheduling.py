"""Under xdist the checks of a suite stay on one worker, and other tests spread."""

import re
from collections import defaultdict

import pytest
from xdist.scheduler import (
    EachScheduling,
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    WorkStealingScheduling,
)

from rmcheck.pytest_plugin.scheduling import SuiteScheduling, by_suite


def workers(result):
    """File to the workers that ran something of it."""
    found = defaultdict(set)
    for line in result.stdout.lines:
        if ran := re.match(r"\[(gw\d)\].*(?:PASSED|FAILED) ([^:]+)::", line):
            found[ran[2]].add(ran[1])
    return found


@pytest.fixture
def crowd(bench):
    """Two suites, and plain tests that take long enough for two workers to share them."""
    text = (bench.path / "demo.yaml").read_text()
    (bench.path / "second.yaml").write_text(text.replace("name: demo", "name: second"))
    bench.makepyfile(
        test_plain="""
        import time
        import pytest

        @pytest.mark.parametrize("number", range(12))
        def test_one(number):
            time.sleep(0.2)
        """
    )
    return bench


@pytest.mark.parametrize("dist", ["load", "loadfile"])
def test_a_suite_stays_on_one_worker_and_plain_tests_spread(crowd, dist):
    """As xdist spreads tests by default, and where it keeps files together."""
    result = crowd.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=fake:length_biased", "-n", "2", "--dist", dist, "-v"
    )
    where = workers(result)

    assert len(where["demo.yaml"]) == len(where["second.yaml"]) == 1
    assert len(where["test_plain.py"]) == (1 if dist == "loadfile" else 2)


@pytest.mark.parametrize(
    ("dist", "ours"),
    [
        (LoadScheduling, True),
        (WorkStealingScheduling, True),
        (LoadGroupScheduling, True),
        (LoadScopeScheduling, False),
        (LoadFileScheduling, False),
        (EachScheduling, False),
    ],
)
def test_only_what_would_spread_a_suite_is_replaced(pytester, dist, ours):
    """By scope and by file a suite stays together anyway, and each worker may run everything."""
    config = pytester.parseconfig("--tx", "2*popen")
    chosen = dist(config)

    found = by_suite(chosen, config, None)

    assert isinstance(found, SuiteScheduling) if ours else found is chosen


def test_a_scheduler_of_the_users_own_stays(crowd):
    """A project that schedules by itself is left alone."""
    crowd.makeconftest(
        """
        from xdist.scheduler import LoadScheduling

        class Mine(LoadScheduling):
            def schedule(self):
                print("scheduled by the project")
                super().schedule()

        def pytest_xdist_make_scheduler(config, log):
            return Mine(config, log)
        """
    )

    result = crowd.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=fake:length_biased", "-n", "2", "-s"
    )

    assert "scheduled by the project" in result.stdout.str()


@pytest.fixture
def counted(bench, monkeypatch):
    """A suite with a check for each value of a slice, every reading of its pool noted."""
    bench.makeconftest(
        """
        import os
        from pathlib import Path
        from rmcheck.pool import reading
        from rmcheck.store import pools

        pools.SMALL = 0
        read = reading.read_pool

        def noted(*given, **named):
            with Path("readings").open("a") as file:
                file.write(f"{os.getpid()}\\n")
            return read(*given, **named)

        reading.read_pool = noted
        """
    )
    return bench


def readings(bench):
    """Processes that have read a pool's rows, and forget them."""
    file = bench.path / "readings"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def test_one_worker_reads_the_pool_for_all(counted):
    """Every worker collects every check, and the rows of the pool are read once in the run."""
    plain = counted.runpytest_subprocess("--rmcheck", "--rmcheck-model=fake:length_biased", "-v")
    assert len(readings(counted)) == 1

    spread = counted.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=fake:length_biased", "-n", "3", "-v"
    )

    assert len(readings(counted)) == 1
    assert spread.parseoutcomes() == plain.parseoutcomes()


def test_a_wrong_pool_is_told_by_every_worker(counted):
    """What one process finds wrong ends the run as it does without workers."""
    (counted.path / "pool.jsonl").write_text("{}\n")

    result = counted.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=fake:length_biased", "-n", "2"
    )

    assert result.ret != 0
    result.stdout.fnmatch_lines(["*pool.jsonl*"])


def test_a_model_is_loaded_once_for_the_suites_of_all_workers(crowd):
    """The worker that must load it scores what other workers will ask for, too."""
    (crowd.path / "test_plain.py").unlink()
    (crowd.path / "other.jsonl").write_text(
        (crowd.path / "pool.jsonl").read_text().replace("W", "w")
    )
    second = (crowd.path / "second.yaml").read_text().replace("pool.jsonl", "other.jsonl")
    (crowd.path / "second.yaml").write_text(second)
    (crowd.path / "judge.py").write_text(
        "import os\n"
        "with open('loads', 'a') as file:\n"
        "    file.write(f'{os.getpid()}\\n')\n"
        "def score(prompts, responses):\n"
        "    return [float(len(response)) for response in responses]\n"
    )

    crowd.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=python:judge:score?version=1", "--rmcheck-trust-suites", "-n2"
    )

    assert len((crowd.path / "loads").read_text().split()) == 1
