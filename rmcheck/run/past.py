"""Past reward models of a suite's history, for predictions to be calibrated on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmcheck.history.calibration import Basis, calibration_table, comparable
from rmcheck.history.records import Target
from rmcheck.metrics.metric import Metric
from rmcheck.metrics.regret.calibration import CalibrationTable, Past, PastOf
from rmcheck.run.plan import PlannedSuite

if TYPE_CHECKING:  # read where a suite predicts
    from rmcheck.metrics.regret.predicted_regret import PredictedRegret

# Parts of a signature that do not change a prediction before calibration: which methods were
# allowed (the feature names the one that was used), at how many looks the checks were decided, and
# the version of rmcheck (the metric counts its own).
FREE = ("predictor", "looks", "v")


def past_of(suite: PlannedSuite, role: str) -> PastOf:
    """What predictions for a model on a suite may be calibrated on, by metric and slice.

    Args:
        suite: The whole suite.
        role: Of the model, which must not calibrate itself.
    """
    history, candidate = suite.loaded.history, suite.models[role].fingerprint

    def past(metric: "PredictedRegret", conditions: Mapping[str, str]) -> Past | None:
        if history is None:
            return None
        signature = comparable(f"{measured_as(metric, conditions)}|{suite.identity}", FREE)

        def table(method: str) -> CalibrationTable:
            return calibration_table(
                history.runs,
                history.regrets,
                basis=Basis(suite.loaded.fingerprint, suite.golden, metric.name, signature),
                target=_target(metric),
                features=(method,),
                candidate=candidate,
                ignored=FREE,
            )

        return table

    return past


def measured_as(metric: Metric, conditions: Mapping[str, str]) -> str:
    """The part of a signature that says what was measured, whatever the model and the data."""
    return metric.signature + "".join(f"|{k}:{v}" for k, v in conditions.items())


def _target(metric: "PredictedRegret") -> Target:
    return Target("n", metric.n) if metric.n is not None else Target("kl", metric.kl or 0.0)
