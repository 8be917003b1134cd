"""Taking looks at adaptive suites: fill, find and decide until nothing is open."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rmcheck.errors import RmcheckError
from rmcheck.run.decide import SuiteVerdicts, plan_looks
from rmcheck.run.fill import Filled, ModelRewards, fill
from rmcheck.run.find import find
from rmcheck.run.plan import PlannedSuite
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.scorer import fill_requests


def take_looks(
    adaptive: Sequence[PlannedSuite],
    whole: Sequence[PlannedSuite],
    filled: Filled,
    folder: Path,
) -> tuple[Filled, list[SuiteVerdicts]]:
    """Each look is taken at all suites that are open, so that models stay loaded between looks.

    Returns:
        What was scored, and the verdicts on each adaptive suite.
    """
    before, reports = filled.reports, dict[str, ScoringReport]()
    done, still = [], [(s, SuiteVerdicts(s.loaded, plan_looks(s.loaded))) for s in adaptive]
    with one_process(folder), OneProcess() as engine:
        score = partial(fill_requests, engine=engine)
        while still:
            needed = [*whole, *(suite.on(verdicts.next.new) for suite, verdicts in still)]
            filled = fill(needed, replace(filled, reports={}), score)
            reports = _added(reports, filled.reports)
            whole = ()
            looked = [(suite, look(suite, verdicts, filled)) for suite, verdicts in still]
            still = [(suite, verdicts) for suite, verdicts in looked if verdicts.is_open]
            done += [verdicts for _, verdicts in looked if not verdicts.is_open]
    return replace(filled, reports=before).then(reports, {}), done


def look(suite: PlannedSuite, verdicts: SuiteVerdicts, filled: Filled) -> SuiteVerdicts:
    """Take the next look at a suite; every check ends where the candidate has no scores."""
    now, reads = verdicts.next, dict[str, ModelRewards | RmcheckError]()
    for role in ("candidate", "baseline"):
        if role in suite.models:
            try:
                reads[role] = filled.reading(suite.on(now.part), role)
            except RmcheckError as error:
                if role == "candidate":
                    return verdicts.failed(error)
                reads[role] = error
    return verdicts.after(find(suite, reads, now.repeated))


def _added(
    first: Mapping[str, ScoringReport], second: Mapping[str, ScoringReport]
) -> dict[str, ScoringReport]:
    """What was done for each model in all."""
    both = {key: first[key].plus(report) for key, report in second.items() if key in first}
    return {**first, **second, **both}


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Keep the other processes of a run out: they would load the models a second time."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "looks.lock"):
        yield
