"""Under xdist the checks of a suite stay on one worker, and other tests spread."""

import re
from collections import defaultdict

import pytest


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


@pytest.mark.parametrize("dist", ["load", "worksteal", "loadgroup", "loadscope", "loadfile"])
def test_a_suite_stays_on_one_worker_and_plain_tests_spread(crowd, dist):
    """However xdist was told to spread tests; by scope and by file a file stays together anyway."""
    result = crowd.runpytest_subprocess(
        "--rmcheck", "--rmcheck-model=fake:length_biased", "-n", "2", "--dist", dist, "-v"
    )
    where = workers(result)

    assert len(where["demo.yaml"]) == len(where["second.yaml"]) == 1
    assert len(where["test_plain.py"]) == (1 if dist in ("loadscope", "loadfile") else 2)


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
