"""PPO on the tokens of a language model: torchrl's clipped loss and advantages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmcheck.lab.rl.language_model import (
    Rollout,
    load_policy,
    response_logits,
    sampled,
    token_log_probs,
)
from rmcheck.lab.rl.looks import Looker, refuse_not_finite
from rmcheck.lab.rl.reward import Reward
from rmcheck.lab.rl.settings import PolicySource, Rl
from rmcheck.pool.pool import Prompt

if TYPE_CHECKING:
    import torch

STATE = "state.pt"


def make_value_model(folder: Path, where: "torch.device") -> Any:
    """A value for each token, from a copy of the policy's layers with a new head of zeros."""
    import torch
    from transformers import AutoModel

    class ValueModel(torch.nn.Module):
        """(B, T) values of the states in which the tokens of a response are drawn."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype="float32"
            )
            self.head = torch.nn.Linear(self.layers.config.get_text_config().hidden_size, 1)
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)

        def forward(
            self, ids: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor
        ) -> torch.Tensor:
            positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
            hidden = self.layers(
                input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False
            ).last_hidden_state
            found: torch.Tensor = self.head(hidden[:, -mask.shape[1] - 1 : -1])
            return found

    return ValueModel().to(where).eval()


def clipped_loss(policy: Any, value: Any, clip: float, temperature: float) -> Any:
    """Torchrl's `ClipPPOLoss` over the tokens of responses; both losses are means over the mask.

    It takes a TensorDict of B responses with `ids`, `attention` (B, L), `action`, `log_prob`,
    `mask` (B, T), `advantage`, `value_target` (B, T, 1).
    """
    import torch
    from tensordict.nn import (
        ProbabilisticTensorDictModule,
        ProbabilisticTensorDictSequential,
        TensorDictModule,
    )
    from torchrl.objectives import ClipPPOLoss

    class Actor(torch.nn.Module):
        """(B, T, V) logits of the response."""

        def __init__(self) -> None:
            super().__init__()
            self.policy = policy

        def forward(
            self, ids: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor
        ) -> torch.Tensor:
            return response_logits(self.policy, ids, attention, mask.shape[1], temperature)

    keys = ["ids", "attention", "mask"]
    actor = ProbabilisticTensorDictSequential(
        TensorDictModule(Actor(), in_keys=keys, out_keys=["logits"]),
        ProbabilisticTensorDictModule(
            in_keys=["logits"],
            out_keys=["action"],
            distribution_class=torch.distributions.Categorical,
        ),
    )
    loss = ClipPPOLoss(
        actor,
        TensorDictModule(value, in_keys=keys, out_keys=["state_value"]),
        clip_epsilon=clip,
        entropy_bonus=False,
        critic_coeff=1.0,
        loss_critic_type="l2",
        functional=False,
    )
    loss.set_keys(sample_log_prob="log_prob")
    loss.loss_mask_key = "mask"
    return loss


def advantages(
    rewards: "torch.Tensor", values: "torch.Tensor", mask: "torch.Tensor", gamma: float, lam: float
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(B, T) advantages and value targets by torchrl's `GAE`; an episode is one response.

    Args:
        rewards: (B, T) reward of each token.
        values: (B, T) value before each token.
        mask: (B, T) tokens of the response; the last of them ends the episode.
        gamma: Discount.
        lam: λ of generalised advantage estimation.
    """
    import torch
    from tensordict import TensorDict
    from torchrl.objectives.value import GAE

    after = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    done = (mask & ~after)[..., None] | ~mask[..., None]
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    batch = TensorDict(
        {
            "state_value": values[..., None],
            "next": {
                "state_value": following[..., None],
                "reward": rewards[..., None],
                "done": done,
                "terminated": done,
            },
        },
        batch_size=list(mask.shape),
    )
    found = GAE(gamma=gamma, lmbda=lam, value_network=None, device=rewards.device)(batch)
    return found["advantage"][..., 0], found["value_target"][..., 0]


def token_rewards(
    scores: "torch.Tensor", log_ratio: "torch.Tensor", mask: "torch.Tensor", kl_penalty: float
) -> "torch.Tensor":
    """(B, T) −β log(π/π0) at each token, and the response's reward at its last one.

    Args:
        scores: (B,) reward of each response.
        log_ratio: (B, T) log π − log π0 of the tokens that were drawn.
        mask: (B, T) tokens of the response.
        kl_penalty: β.
    """
    import torch

    rewards = (-kl_penalty * log_ratio).masked_fill(~mask, 0.0)
    last = mask.sum(dim=1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def whitened(values: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """(B, T) with mean 0 and standard deviation 1 over the mask, and 0 elsewhere."""
    inside = values[mask]
    found = (values - inside.mean()) / (inside.std(correction=0) + 1e-8)
    return found.masked_fill(~mask, 0.0)


@dataclass
class PpoRun:
    """One run of PPO.

    Attributes:
        folder: Of the run; its state is kept there.
        settings: How.
        source: What is optimised.
        prompts: What it is trained on.
        reward: What it is trained for.
        looker: Looks at it.
        seed: Of prompts and draws.
    """

    folder: Path
    settings: Rl
    source: PolicySource
    prompts: Sequence[Prompt]
    reward: Reward
    looker: Looker
    seed: int

    def __post_init__(self) -> None:
        import torch

        set_up = self.settings
        torch.manual_seed(self.seed)
        self.policy = load_policy(self.source.model)
        self.value = make_value_model(self.source.model, self.policy.device)
        self.loss = clipped_loss(self.policy, self.value, set_up.clip, self.source.temperature)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self.policy.parameters(), "lr": set_up.learning_rate},
                {"params": self.value.parameters(), "lr": set_up.critic_learning_rate},
            ],
            weight_decay=0.0,
        )

    def train(self) -> Iterator[int]:
        """Train to the end, from the last look where it was killed; gives each step when done.

        Raises:
            Diverged: Numbers are not finite, or KL is too large.
        """
        begun = self._resumed()
        if begun == 0:
            self.looker.look(self.policy, 0, {})
        told: list[dict[str, float]] = []
        for step in range(begun + 1, self.settings.steps + 1):
            told.append(self._step(step))
            if step % self.settings.every == 0 or step == self.settings.steps:
                means = {key: float(np.mean([each[key] for each in told])) for key in told[0]}
                self.looker.look(self.policy, step, {**means, "step": step})
                self._keep(step)
                told = []
            yield step

    def _step(self, step: int) -> dict[str, float]:
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.prompts), self.settings.batch)
        asked = [self.prompts[i] for i in chosen]
        found = sampled(
            self.policy,
            self.looker.tokenizer,
            asked,
            max_tokens=self.source.max_tokens,
            temperature=self.source.temperature,
            seed=int(rng.integers(2**31)),
        )
        batch, facts = self._judged(found, asked)
        size = self.settings.minibatch or self.settings.batch
        for _ in range(self.settings.epochs):
            order = rng.permutation(self.settings.batch)
            for at in range(0, len(order), size):
                facts |= self._update(batch[order[at : at + size].tolist()], step)
        return facts

    def _judged(self, found: Rollout, asked: Sequence[Prompt]) -> tuple[Any, dict[str, float]]:
        """The rollout with log-probabilities, advantages and value targets."""
        import torch
        from tensordict import TensorDict

        width, at = found.action.shape[1], self.source.temperature
        with torch.no_grad():
            own, initial = (
                token_log_probs(
                    response_logits(model, found.ids, found.attention, width, at), found.action
                )
                for model in (self.policy, self.looker.reference)
            )
            values = self.value(found.ids, found.attention, found.mask)[..., 0]
            scores = torch.tensor(
                self.reward(asked, found.texts), dtype=values.dtype, device=values.device
            )
            rewards = token_rewards(scores, own - initial, found.mask, self.settings.kl_penalty)
            gains, targets = advantages(
                rewards, values, found.mask, self.settings.gamma, self.settings.gae_lambda
            )
        batch = TensorDict(
            {
                "ids": found.ids,
                "attention": found.attention,
                "mask": found.mask,
                "action": found.action,
                "log_prob": own,
                "advantage": whitened(gains, found.mask)[..., None],
                "value_target": targets[..., None],
            },
            batch_size=[len(scores)],
        )
        return batch, {"training_reward": float(scores.mean())}

    def _update(self, batch: Any, step: int) -> dict[str, float]:
        import torch

        losses = self.loss(batch)
        self.optimizer.zero_grad()
        (losses["loss_objective"] + losses["loss_critic"]).backward()
        norms = [
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.max_grad_norm)
            for model in (self.policy, self.value)
        ]
        facts = {
            "policy_loss": losses["loss_objective"].item(),
            "value_loss": losses["loss_critic"].item(),
            "gradient": norms[0].item(),
        }
        refuse_not_finite({"step": step, **facts})
        self.optimizer.step()
        return facts

    def _keep(self, step: int) -> None:
        import torch

        fresh = self.folder / f"{STATE}.unfinished"
        state = {
            "step": step,
            "policy": self.policy.state_dict(),
            "value": self.value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, fresh)
        fresh.replace(self.folder / STATE)

    def _resumed(self) -> int:
        import torch

        path = self.folder / STATE
        if not path.is_file():
            return 0
        state = torch.load(path, weights_only=True, map_location=self.policy.device)
        self.policy.load_state_dict(state["policy"])
        self.value.load_state_dict(state["value"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


__all__ = [
    "PpoRun",
    "advantages",
    "clipped_loss",
    "make_value_model",
    "token_rewards",
    "whitened",
]
