"""Candidate and baseline as suites judge them: rewards, and what signs their checks.

Scores are read here, not made: whoever asks has filled them.
"""

from collections.abc import Mapping
from dataclasses import replace

from rmcheck.errors import RmcheckError
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.models.model import RewardModel
from rmcheck.run.judge import Subject
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.run.past import past_of
from rmcheck.run.scores import Scores


class Subjects:
    """The models of a run as they are judged on its suites.

    Args:
        models: Role to model; a baseline is optional.
        scores: Scores of all models of the run.
    """

    def __init__(self, models: Mapping[str, RewardModel], scores: Scores) -> None:
        self._models = models
        self._scores = scores
        self._rewards: dict[tuple[str, LoadedSuite], Rewards] = {}
        self._warnings: dict[tuple[str, LoadedSuite], str] = {}

    def known(self, loaded: LoadedSuite, role: str) -> Rewards | None:
        """Rewards that were asked for before, if they were."""
        return self._rewards.get((role, loaded))

    def warning(self, loaded: LoadedSuite, role: str) -> str:
        """What is to be told of these rewards; empty if nothing, or if nobody asked for them."""
        return self._warnings.get((role, loaded), "")

    def rewards(self, loaded: LoadedSuite, role: str) -> Rewards:
        """Rewards of the candidate or the baseline on the pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        key = (role, loaded)
        if key not in self._rewards:
            combined = self._scores.combined(self._models[role], loaded)
            found = loaded.rewards(combined.rewards, self._scores.golden(loaded))
            kept = loaded.is_labelled
            own = {name: values[kept] for name, values in combined.columns.items()}
            columns = {**found.columns, **own}
            serving = self._scores.serving.get(loaded.suite.path)
            if serving is not None and role == "candidate":
                columns[SERVING] = self._scores.combined(serving, loaded).rewards[kept]
            self._rewards[key] = replace(found, columns=columns)
            self._warnings[key] = combined.warning
        return self._rewards[key]

    def pair(
        self, loaded: LoadedSuite, part: LoadedSuite
    ) -> tuple[Subject, Subject | RmcheckError | None]:
        """Candidate and baseline, as they are judged on a part of a suite.

        The baseline is None where there is none or no check compares with it, and an error where
        its scores could not be had: that is for the checks that compare.

        Raises:
            ModelError, StoreError: The candidate's or golden's scores could not be had.
        """
        candidate = self.one(loaded, part, "candidate")
        if "baseline" not in self._models or not loaded.compares:
            return candidate, None
        try:
            return candidate, self.one(loaded, part, "baseline")
        except RmcheckError as error:
            return candidate, error

    def one(self, loaded: LoadedSuite, part: LoadedSuite, role: str) -> Subject:
        """The candidate or the baseline on a part of a suite, which may be the whole.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        spec = loaded.suite.golden.model
        past = past_of(
            loaded,
            golden=self._scores.goldens[spec].fingerprint if spec else golden_source(loaded),
            identity=self.identity(loaded),
            fingerprint=self._models[role].fingerprint,
        )
        return Subject(self.rewards(part, role), past)

    def identity(self, loaded: LoadedSuite) -> str:
        """What of models and data belongs into the signature of every check of a suite."""
        parts = [f"data:{loaded.fingerprint[:8]}"]
        parts += [f"{role}:{m.fingerprint[:8]}" for role, m in self.models_of(loaded).items()]
        return "|".join(parts)

    def served_by(self, planned: PlannedCheck) -> str:
        """What of the serving engine belongs into the signature of a check: nothing for most."""
        if SERVING not in planned.check.metric.columns:
            return ""
        return f"|serving:{self._scores.serving[planned.suite.path].fingerprint[:8]}"

    def models_of(self, loaded: LoadedSuite) -> dict[str, RewardModel]:
        """Role to model: candidate, baseline and golden RM, as far as the suite asks for them."""
        spec = loaded.suite.golden.model
        golden = {"golden": self._scores.goldens[spec]} if spec is not None else {}
        roles = ("candidate", "baseline") if loaded.compares else ("candidate",)
        return {r: m for r, m in self._models.items() if r in roles} | golden


def golden_source(loaded: LoadedSuite) -> str:
    """Where golden comes from, in words."""
    return loaded.suite.golden.model or f"column {loaded.suite.golden.column}"
