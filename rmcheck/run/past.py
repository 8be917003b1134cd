"""Past reward models of a suite's history, for predictions to be calibrated on."""

from collections.abc import Mapping

from rmcheck.history.calibration import Basis, calibration_table, comparable
from rmcheck.history.records import Target
from rmcheck.metrics.regret.calibration import CalibrationTable, Past
from rmcheck.metrics.regret.predicted_regret import PastOf, PredictedRegret
from rmcheck.run.judge import measured_as
from rmcheck.run.loaded import LoadedSuite

# Parts of a signature that do not change a prediction before calibration: which methods were
# allowed (the feature names the one that was used), at how many looks the checks were decided, and
# the version of rmcheck (the metric counts its own).
FREE = ("predictor", "looks", "v")


def past_of(loaded: LoadedSuite, *, golden: str, identity: str, fingerprint: str) -> PastOf:
    """What predictions for a model on a suite may be calibrated on, by metric and slice.

    Args:
        loaded: The suite.
        golden: What golden was: the fingerprint of a golden RM, or where the column came from.
        identity: What of models and data belongs into the signature of the suite's checks.
        fingerprint: Of the model, which must not calibrate itself.
    """

    def past(metric: PredictedRegret, conditions: Mapping[str, str]) -> Past | None:
        history = loaded.history
        if history is None:
            return None
        signature = comparable(f"{measured_as(metric, conditions)}|{identity}", FREE)

        def table(method: str) -> CalibrationTable:
            return calibration_table(
                history.runs,
                history.regrets,
                basis=Basis(loaded.fingerprint, golden, metric.name, signature),
                target=_target(metric),
                features=(method,),
                candidate=fingerprint,
                ignored=FREE,
            )

        return table

    return past


def _target(metric: PredictedRegret) -> Target:
    return Target("n", metric.n) if metric.n is not None else Target("kl", metric.kl or 0.0)
