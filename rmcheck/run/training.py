"""Checks of the logs of RL runs: they need no pool and no model."""

from pathlib import Path
from typing import TYPE_CHECKING

import rmcheck
from rmcheck.checks.record import CheckRecord, EstimateRecord
from rmcheck.errors import SuiteError, UndefinedMetricError
from rmcheck.suite.loader import PartlyReadError, load_suite
from rmcheck.suite.suite import Suite, TrainingCheck
from rmcheck.wording import shown

if TYPE_CHECKING:  # read where a suite has checks of logs
    from rmcheck.rl_logs.training_analysis import TrainingAnalysis
    from rmcheck.rl_logs.training_log import TrainingLog
    from rmcheck.rl_logs.training_outcome import Outcome

METRIC = "transfer"
VERDICTS: "dict[Outcome, str]" = {
    "follows": "pass",
    "stopped": "fail",
    "falls": "fail",
    "undecided": "inconclusive",
}


def suite_of_logs(path: Path) -> Suite | None:
    """A suite whose checks are all of logs; None where it has a pool, or may have one.

    Raises:
        SuiteError: It is a suite of logs, and wrong.
    """
    try:
        suite = load_suite(path)
    except PartlyReadError as error:
        if error.suite.pool is None:
            raise
        return None
    except SuiteError:  # whoever reads it with its pool says what is wrong
        return None
    return suite if suite.pool is None else None


def read_log(check: TrainingCheck) -> "TrainingLog":
    """The log of a check.

    Raises:
        FileError: It is wrong.
    """
    from rmcheck.rl_logs.log_columns import ROLES
    from rmcheck.rl_logs.training_log import read_training_log

    return read_training_log(check.log, {r: check.columns[r] for r in ROLES if r in check.columns})


def training_record(suite: Suite, check: TrainingCheck, *, node: str, root: Path) -> CheckRecord:
    """A check of a log, decided.

    Raises:
        FileError: The log is wrong.
        UndefinedMetricError: The log does not say what was asked.
    """
    from rmcheck.rl_logs.training_analysis import analyse_training
    from rmcheck.rl_logs.transfer import CONFIDENCE

    log = read_log(check)
    try:
        found = analyse_training(
            log,
            axis=check.axis,
            unit=check.unit,
            at_least=check.at_least,
            seed=suite.seed or 0,
        )
    except UndefinedMetricError as error:
        raise UndefinedMetricError(f"{shown(check.log, root)}: {error}") from error
    verdict = VERDICTS[found.outcome]
    tolerated = found.tolerable and suite.inconclusive == "warn"
    transfer, path = found.transfer, shown(suite.path, root)
    settings = {"axis": check.axis, "unit": check.unit, "measure": transfer.measure}
    return CheckRecord(
        suite=suite.name,
        name=check.name,
        node=node,
        path=path,
        line=check.line,
        metric=METRIC,
        settings=settings,
        signature=f"{METRIC}|axis:{check.axis}|unit:{check.unit}|log:{shown(check.log, root)}"
        f"|seed:{suite.seed or 0}|v:{rmcheck.__version__}",
        slice="",
        value=transfer.value,
        lower=transfer.lower,
        upper=transfer.upper,
        confidence=CONFIDENCE,
        n=found.points,
        left_out=0,
        verdict=verdict,
        gate="passed" if verdict == "pass" or tolerated else "failed",
        required=f">= {check.at_least:g}",
        kind="at_least",
        bound=check.at_least,
        reason=found.sentence,
        p_value=min(found.p_falls, found.p_stops),
        p_holm=min(found.p_falls, found.p_stops),
        prompts_needed=None,
        candidate=EstimateRecord(transfer.value, transfer.lower, transfer.upper),
        facts=_facts(found),
        note=found.sentence,
    )


def _facts(found: "TrainingAnalysis") -> dict[str, float]:
    """What the report says besides the transfer."""
    facts = {"proxy_gain": found.proxy_gain.value, "golden_gain": found.golden_gain.value}
    if found.onset is not None:
        onset = found.onset
        facts |= {"onset": onset.step, "onset_lower": onset.lower, "onset_upper": onset.upper}
    return facts
