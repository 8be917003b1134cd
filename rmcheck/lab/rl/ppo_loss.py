"""The loss of PPO on the tokens of a language model: torchrl's clipped loss and advantages."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.lab.rl.language_model import response_logits

if TYPE_CHECKING:
    import torch


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
