"""One run of PPO on the tokens of a language model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmcheck.lab.rl.language_model import (
    Rollout,
    load_policy,
    response_logits,
    sampled,
    token_log_probs,
)
from rmcheck.lab.rl.looks import RlTraining, refuse_not_finite
from rmcheck.lab.rl.ppo_loss import (
    advantages,
    clipped_loss,
    make_value_model,
    token_rewards,
    whitened,
)
from rmcheck.pool.pool import Prompt

STATE = "state.pt"


@dataclass
class PpoRun(RlTraining):
    """One run of PPO; its state is kept in its folder."""

    def __post_init__(self) -> None:
        import torch

        set_up = self.settings
        torch.manual_seed(self.seed)
        self.policy = load_policy(self.source.model, self.source.device)
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
            self.look(self.policy, 0, {})
        told: list[dict[str, float]] = []
        for step in range(begun + 1, self.settings.steps + 1):
            told.append(self._step(step))
            if step % self.settings.every == 0 or step == self.settings.steps:
                means = {key: float(np.mean([each[key] for each in told])) for key in told[0]}
                self.look(self.policy, step, {**means, "step": step})
                self._keep(step)
                told = []
            yield step

    def _step(self, step: int) -> dict[str, float]:
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.prompts), self.settings.batch)
        asked = [self.prompts[i] for i in chosen]
        found = sampled(
            self.policy,
            self.initial.tokenizer,
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

            def log_probs(model: Any) -> torch.Tensor:
                logits = response_logits(model, found.ids, found.attention, width, at)
                return token_log_probs(logits, found.action)

            own, penalty = log_probs(self.policy), self.settings.kl_penalty
            # Without a penalty nothing asks for the initial policy.
            moved = own - log_probs(self.initial.model) if penalty else torch.zeros_like(own)
            values = self.value(found.ids, found.attention, found.mask)[..., 0]
            scores = torch.tensor(
                self.reward(asked, found.texts), dtype=values.dtype, device=values.device
            )
            rewards = token_rewards(scores, moved, found.mask, penalty)
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
