"""A whole study: from its file to the findings of every design that its data allow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rmcheck.errors import UsageError
from rmcheck.lab.study.designs import budgets, metrics_compared, overoptimisation, pairs, prompts
from rmcheck.lab.study.designs.foretelling import foretelling
from rmcheck.lab.study.designs.other_pools import other_policies, prompt_shift, response_sources
from rmcheck.lab.study.designs.picked import traits_along_the_path
from rmcheck.lab.study.designs.rank_bins import rank_bins
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import DesignResult
from rmcheck.lab.study.outcomes import best_of_n, kl_penalty
from rmcheck.lab.study.rewrites import Way, rewritten_prompts, unchanged
from rmcheck.lab.study.rl_table import rl_outcomes
from rmcheck.lab.study.scored_family import (
    ScoredFamily,
    open_models,
    scored_again,
    scored_family,
)
from rmcheck.lab.study.study_file import StudyFile
from rmcheck.models.model import RewardModel
from rmcheck.scoring.members import StoreOf, choose_store
from rmcheck.store.lock import Waiting
from rmcheck.store.scores import ScoreStore
from rmcheck.wording import listed

WAYS: tuple[Way, ...] = ("paraphrased", "rewritten")


@dataclass(frozen=True, eq=False)
class Study:
    """A study that has been scored.

    Attributes:
        file: As it was asked for.
        experiment: The arrays.
        whole: The family on all responses of the pool, with their texts.
        others: Name to the family on another policy's responses.
        rewritten: Way to the tested half with every prompt said anew.
        facts: What was studied and what was left out, in sentences.
    """

    file: StudyFile
    experiment: Experiment
    whole: ScoredFamily
    others: dict[str, RmFamily]
    rewritten: dict[str, RmFamily]
    facts: tuple[str, ...]

    def findings(self, telling: Callable[[str], object] = lambda line: None) -> list[DesignResult]:
        """Every table and figure that the data allow, in the paper's order.

        Args:
            telling: Told the name of each as it is done.
        """
        found = []
        for finding in self._each():
            if finding is not None:
                telling(finding.title)
                found.append(finding)
        return found

    def _each(self) -> Iterator[DesignResult | None]:
        """Each design; None where the data do not allow it."""
        experiment = self.experiment
        metrics = self.file.metrics or metrics_compared.default_metrics()
        shares = self.file.rewrites.shares if self.file.rewrites else ()
        yield pairs.accuracy_and_regret(experiment)
        yield response_sources(experiment, self.others)
        yield prompts.categories(experiment)
        yield metrics_compared.metrics_compared(experiment, metrics)
        yield overoptimisation.penalties(experiment)
        yield pairs.trend(experiment)
        yield rank_bins(experiment)
        yield prompt_shift(experiment, self.rewritten, shares)
        yield from budgets.equal_samples(experiment)
        yield from budgets.equal_labour(experiment)
        yield overoptimisation.accuracy_and_overoptimisation(experiment)
        yield overoptimisation.golden_along_kl(experiment)
        yield pairs.matrices(experiment)
        yield pairs.groups(experiment)
        yield pairs.against_a_judge(experiment)
        yield other_policies(experiment, self.others)
        yield foretelling(experiment, metrics)
        whole = self.whole
        yield traits_along_the_path(whole.family, whole.prompts, experiment.n)


def scored_study(file: StudyFile, store: Path, waiting: Waiting | None = None) -> Study:
    """Score what the store does not know, and put the arrays together.

    A study that was killed finds its scores in the store.

    Raises:
        UsageError: Models, prompts or runs have a fault that the study does not leave out.
        PoolError, ModelError, StoreError: See `scored_family`.
    """
    store_of = choose_store(ScoreStore(store, waiting=waiting))
    models = open_models(file)
    found = scored_family(file, file.pool, models, store_of)
    halves = found.family.halves(file.seed)
    n = file.n or max(2, halves[1].responses // 4)
    runs, failed = (
        ([], []) if file.rl is None else rl_outcomes(file.rl, found.family, file.leave_out)
    )
    experiment = Experiment(
        *halves,
        [best_of_n(halves, n), *(kl_penalty(halves, p) for p in file.kl_penalties), *runs],
        n,
        responses=min(file.responses, halves[0].responses),
        sets=file.test_sets,
        seed=file.seed,
    )
    elsewhere = {
        name: scored_family(file, source, models, store_of)
        for name, source in file.other_pools.items()
    }
    for name, other in elsewhere.items():
        if other.family.names != found.family.names:
            raise UsageError(
                f"{file.path}: pool {file.other_pools[name].path} leaves other models than the "
                f"study's own: {', '.join(other.family.names)}"
            )
    others = {name: other.family for name, other in elsewhere.items()}
    rewritten, notes = _rewritten(file, found, models, store_of)
    left_out = [f"{name}: {note}" for name, other in elsewhere.items() for note in other.notes]
    facts = (*_facts(file, found, experiment), *found.notes, *left_out, *failed, *notes)
    return Study(file, experiment, found, others, rewritten, facts)


def _rewritten(
    file: StudyFile, found: ScoredFamily, models: dict[str, RewardModel], store_of: StoreOf
) -> tuple[dict[str, RmFamily], list[str]]:
    if file.rewrites is None:
        return {}, []
    out: dict[str, RmFamily] = {}
    notes = []
    for way in WAYS:
        said = rewritten_prompts(found.prompts, file.rewrites.policy, way, file.seed)
        if same := unchanged(found.prompts, said):
            told = f"{len(same)} prompts came back as they were, not {way}: {listed(same, 5)}"
            if "unchanged" not in file.leave_out:
                raise UsageError(
                    f"{file.path}: {told}. To study them all the same, as prompts that nothing was "
                    "done to, write `leave_out: [unchanged]`."
                )
            notes.append(told)
        family = scored_again(file, found, said, models, store_of)
        out[way] = family.halves(file.seed)[0]
    return out, notes


def _facts(file: StudyFile, found: ScoredFamily, experiment: Experiment) -> tuple[str, ...]:
    family = found.family
    judge = family.fixed_golden or "each model in turn"
    half = experiment.every_response
    runs = [o for o in experiment.outcomes if not o.name.startswith(("best of", "KL penalty"))]
    about_rl = (
        [f"RL runs of {file.rl.name}: {', '.join(o.name for o in runs)}"]
        if file.rl
        else [
            "regret is that of best-of-n and KL-regularised policies on the pool: neither is a "
            "run of RL, and over 17 published reward models best-of-16 did not rank what PPO made "
            "of them (Spearman 0.13)"
        ]
    )
    unseeded = [o.name for o in runs if o.again is None]
    about_rl += [f"one seed, so no noise ceiling: {', '.join(unseeded)}"] if unseeded else []
    return (
        f"{len(family.names)} models on {family.prompts} prompts of {file.pool.path.name}; golden: "
        f"{judge}; {len(family.pairs)} pairs",
        f"metrics see {half} responses a prompt, policies choose among {half} others; "
        f"{experiment.sets} test sets, seed {experiment.seed}",
        *about_rl,
    )
