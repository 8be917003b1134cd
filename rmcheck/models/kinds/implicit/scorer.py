"""A policy and its reference in memory: token ids in, implicit rewards out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.model import EngineFacts, Loaded
from rmcheck.models.workers import Workers

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class ImplicitScorer(Loaded):
    """Two loaded language models, and how their log-probabilities become rewards.

    Attributes:
        policy: The model that was trained.
        reference: The model that it was trained from.
        beta: That of the training; rewards are in units of beta nats.
        length_normalised: Whether a reward is divided by the number of tokens that count.
    """

    policy: CausalScorer | VllmGenerator
    reference: CausalScorer | VllmGenerator
    beta: float
    length_normalised: bool

    @property
    def models(self) -> tuple[CausalScorer | VllmGenerator, CausalScorer | VllmGenerator]:
        """Policy and reference."""
        return self.policy, self.reference

    def rewards(self, rows: Rows, marks: Rows, way: Way = "padded", **how: int) -> Floats:
        """(len(rows),) rewards; see `TokenProbabilities.log_probabilities`."""
        policy, reference = (one.log_probabilities(rows, marks, way, **how) for one in self.models)
        rewards = self.beta * (policy - reference)
        return rewards / [sum(row) for row in marks] if self.length_normalised else rewards

    @property
    def alive(self) -> bool:
        """Whether both are."""
        return all(one.alive for one in self.models)

    @property
    def described(self) -> Mapping[str, str]:
        """Where the policy runs; the reference is beside it."""
        return self.policy.described

    @property
    def facts(self) -> EngineFacts:
        """Those of the policy; the reference is on the same device."""
        return self.policy.facts

    def workers(self) -> Workers:
        """On a CPU a thread for each core, while memory allows."""
        return self.policy.workers() if self.reference.for_threads else Workers()

    def close(self) -> None:
        """Give the memory back."""
        for one in self.models:
            one.close()
