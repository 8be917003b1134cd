"""What an optimised policy is made with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

RlKind = Literal["ppo", "grpo", "rloo"]
PoolKind = Literal["best_of_n", "tilting"]
Combine = Literal["mean", "worst", "uwo"]
GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The policy that is optimised, and the prompts.

    Attributes:
        model: Folder of a causal language model with a chat template.
        prompts: What it is trained on: prompts, or a pool in any format.
        test_prompts: What every policy is judged on.
        max_tokens: Most tokens of a response.
        temperature: Of sampling, in training and in judging.
        responses: Responses a test prompt of the initial policy, for best-of-n and tilting.
        evaluations: Responses a test prompt by which a policy in training is judged.
        device: Where policies and reward models run; `auto` is CUDA where there is one.
    """

    model: Path
    prompts: Path
    test_prompts: Path
    max_tokens: int = 512
    temperature: float = 1.0
    responses: int = 64
    evaluations: int = 4
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class FromPool:
    """A policy that chooses among responses of the initial one: exact, and without training.

    Attributes:
        name: Its name in the tables.
        kind: `best_of_n` or `tilting`.
        at: Each n, or each KL in nats.
    """

    name: str
    kind: PoolKind
    at: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rl:
    """A way to train a policy; the same for every reward, golden among them.

    Attributes:
        name: Its name in the tables.
        kind: Algorithm.
        seeds: One run for each.
        steps: Updates of the policy.
        every: Steps between two looks: a checkpoint, responses, and their KL.
        learning_rate: Of the policy.
        critic_learning_rate: Of PPO's value model.
        kl_penalty: β: what a nat of KL costs, with rewards in units of their standard deviation.
        batch: Responses a step.
        minibatch: Responses in memory, for PPO's updates; 0 means a batch.
        group: Responses a prompt in a step, for GRPO and RLOO.
        epochs: How often PPO goes over the responses of a step.
        clip: ε of the clipped ratio.
        gamma: Discount of PPO.
        gae_lambda: λ of PPO's advantages.
        max_grad_norm: Where gradients are cut.
        max_kl: KL in nats above which a run has diverged.
    """

    name: str
    kind: RlKind
    seeds: tuple[int, ...]
    steps: int
    every: int = 10
    learning_rate: float = 1e-6
    critic_learning_rate: float = 1e-5
    kl_penalty: float = 0.0
    batch: int = 64
    minibatch: int = 0
    group: int = 8
    epochs: int = 2
    clip: float = 0.2
    gamma: float = 1.0
    gae_lambda: float = 0.95
    max_grad_norm: float = 1.0
    max_kl: float = 200.0

    def facts(self) -> dict[str, Any]:
        """Everything that decides a run, for JSON; not the name and the seeds."""
        found = asdict(self)
        return {key: value for key, value in found.items() if key not in ("name", "seeds")}


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several reward models of the family as one proxy.

    Attributes:
        name: Its name in the tables.
        members: Names of reward models.
        combine: Mean, worst, or mean less `penalty` times the variance.
        penalty: Of `uwo`.
    """

    name: str
    members: tuple[str, ...]
    combine: Combine = "mean"
    penalty: float = 0.5


@dataclass(frozen=True)
class Optimization:
    """All policies of a laboratory.

    Attributes:
        policy: What is optimised.
        golden: Spec of the golden reward model.
        from_pool: Policies that choose from a pool.
        rl: Policies that are trained.
        ensembles: Further proxies.
        diverged: What a diverged run does to the command: `fail`, or `leave_out` of the tables.
        lines: Name of an optimiser to its line in the file.
    """

    policy: PolicySource
    golden: str
    from_pool: tuple[FromPool, ...]
    rl: tuple[Rl, ...]
    ensembles: tuple[Ensemble, ...]
    diverged: Literal["fail", "leave_out"]
    lines: Mapping[str, int]
