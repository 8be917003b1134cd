"""Fixtures for plain test files.

@pytest.mark.rmcheck(suite="suites/helpfulness.yaml")
def test_code_answers_hold_up(accuracy, bon_drop_ratio):
    assert accuracy.where(category="code").lower >= 0.70
    assert bon_drop_ratio.at(n=16).upper <= 0.20
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rmcheck.checks.bound_metric import BoundMetric
from rmcheck.errors import RmcheckError, UsageError
from rmcheck.metrics.registry import metric_names
from rmcheck.metrics.rewards import Rewards
from rmcheck.probes.bound_probe import BoundProbe
from rmcheck.probes.effect import Measure, ProbeEffect
from rmcheck.probes.probe_file import probe_named
from rmcheck.pytest_plugin.items import CheckItem, runner_key
from rmcheck.pytest_plugin.representation import plain_failure
from rmcheck.pytest_plugin.scorer import Scorer
from rmcheck.pytest_plugin.settings import ini_folder, setting
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.runner import Runner

if TYPE_CHECKING:
    from rmcheck.policies.text_policy import TextPolicy


def add_marked_suites(items: Sequence[pytest.Item], runner: Runner) -> None:
    """Add the suites that tests name, so that each model is loaded once for all of them."""
    for item in items:
        if item.get_closest_marker("rmcheck") and not isinstance(item, CheckItem):
            try:
                if path := _suite_path(item):
                    runner.expect(path)
            except RmcheckError:
                continue  # the test itself will say so, when it asks for the suite


_MARKER = '@pytest.mark.rmcheck(suite="suites/….yaml")'


def _suite_path(item: pytest.Item) -> Path | None:
    """The suite that a test's marker names, relative to the test file, else to the rootdir."""
    marker = item.get_closest_marker("rmcheck")
    if marker is None or not (marker.args or marker.kwargs):
        return None
    named: list[str | Path] = [*marker.args, *marker.kwargs.values()]
    if not set(marker.kwargs) <= {"suite"} or len(named) != 1:
        given = [*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())]
        raise UsageError(
            f"the rmcheck marker takes the path of one suite, {_MARKER}; it has {', '.join(given)}"
        )
    near = item.path.parent / named[0]
    return near if near.exists() else item.config.rootpath / named[0]


def _runner(request: pytest.FixtureRequest) -> Runner:
    return request.config.stash[runner_key]


def _loaded(request: pytest.FixtureRequest) -> LoadedSuite:
    with _plain_errors():
        path = _suite_path(request.node)
        if path is None:
            raise UsageError(f"a test of a metric needs to name its suite: {_MARKER}")
        return _runner(request).add(path)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """An error of rmcheck as its message, without the traceback of a fixture."""
    try:
        yield
    except RmcheckError as error:
        raise plain_failure(str(error)) from None


def _scorer(request: pytest.FixtureRequest, role: str) -> Iterator[Scorer]:
    runner = _runner(request)
    with _plain_errors():
        scorer = Scorer(runner.plan.model(role), runner.filled.store_of)
    with closing(scorer):
        yield scorer


@pytest.fixture(scope="session")
def reward_model(request: pytest.FixtureRequest) -> Iterator[Scorer]:
    """The reward model under test; loaded once, and only when something new must be scored."""
    yield from _scorer(request, "candidate")


@pytest.fixture(scope="session")
def baseline_model(request: pytest.FixtureRequest) -> Iterator[Scorer]:
    """The reward model of `--rmcheck-baseline`."""
    yield from _scorer(request, "baseline")


@pytest.fixture(scope="session")
def golden_model(request: pytest.FixtureRequest) -> Iterator[Scorer]:
    """The golden reward model of `--rmcheck-golden`."""
    yield from _scorer(request, "golden")


@pytest.fixture(scope="session")
def policy(request: pytest.FixtureRequest) -> "Iterator[TextPolicy]":
    """The policy of `--rmcheck-policy`; `policy.sample("How …?", n=4)` gives four texts."""
    from rmcheck.policies.registry import open_policy
    from rmcheck.policies.text_policy import TextPolicy

    with _plain_errors():
        spec = setting(request.config, "policy")
        if spec is None:
            raise UsageError(
                "the policy fixture needs a policy: --rmcheck-policy=SCHEME:LOCATION, or "
                "rmcheck_policy in the ini file"
            )
        opened = TextPolicy(open_policy(spec, base=ini_folder(request.config, "policy")))
    with closing(opened):
        yield opened


@pytest.fixture
def rewards(request: pytest.FixtureRequest) -> Rewards:
    """Proxy and golden rewards of the suite that the test's `rmcheck` marker names."""
    with _plain_errors():
        return _runner(request).rewards(_loaded(request), "candidate")


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Callable[..., BoundProbe]:
    """What an edit does to the reward: `probe("flattery").upper`, `probe("typos", "flips")`."""
    runner, loaded = _runner(request), _loaded(request)

    def probed(name: str, measure: Measure | None = None, *, responses: int = 2) -> BoundProbe:
        with _plain_errors():
            effect = ProbeEffect(probe_named(name, loaded.suite.probes), measure, responses)
            rewards = partial(runner.probed, loaded, effect)
            return BoundProbe(
                effect.name,
                rewards("candidate"),
                loaded.sampling,
                partial(rewards, "baseline") if "baseline" in runner.plan.models else None,
                settings={"probe": name, "measure": effect.measure},
                effect=effect,
            )

    return probed


def _metric_fixture(name: str) -> Callable[..., BoundMetric]:
    @pytest.fixture(name=name)
    def bound_metric(request: pytest.FixtureRequest, rewards: Rewards) -> BoundMetric:
        runner, loaded = _runner(request), _loaded(request)
        return BoundMetric(
            name,
            rewards,
            loaded.sampling,
            (lambda: runner.rewards(loaded, "baseline"))
            if "baseline" in runner.plan.models
            else None,
            past=runner.past(loaded),
        )

    bound_metric.__doc__ = f"The metric `{name}` on the suite that the `rmcheck` marker names."
    return bound_metric


for _name in metric_names():
    globals()[_name] = _metric_fixture(_name)
