"""PPO on tokens: the wiring of torchrl, advantages, and KL, each against a slow reference."""

import itertools
import math
import types

import numpy as np
import pytest

MASK = [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


@pytest.fixture
def torch(laboratory):
    """torch, where the extra is installed."""
    import torch

    return torch


class Table:
    """A policy of three tokens whose logits stand in a table, by the token before."""

    def __init__(self, logits):
        self.logits = logits

    def __call__(self, input_ids, **_):
        """As transformers does."""
        return types.SimpleNamespace(logits=self.logits[input_ids])


def hand_made(torch):
    """Three responses of 3, 2 and 1 tokens with everything that the loss takes."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 3, (3, 5), generator=generator)
    mask = torch.tensor(MASK, dtype=torch.bool)
    return {
        "ids": ids,
        "attention": torch.ones_like(ids),
        "mask": mask,
        "action": ids[:, -3:],
        "log_prob": -1 + 0.3 * torch.randn(3, 3, generator=generator),
        "advantage": torch.randn(3, 3, 1, generator=generator),
        "value_target": torch.randn(3, 3, 1, generator=generator),
    }


def test_the_loss_and_its_gradient_are_those_of_the_formula(torch):
    """Mean over tokens of −min(ρ A, clip(ρ) A) and of (target − value)²; no padding counts."""
    from tensordict import TensorDict

    from rmcheck.lab.rl.ppo_loss import clipped_loss

    parts = hand_made(torch)
    table = torch.nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    height = torch.nn.Parameter(torch.tensor(0.3))

    class Value(torch.nn.Module):
        def forward(self, ids, attention, mask):
            return height * ids[:, -4:-1, None].float()

    loss = clipped_loss(Table(table), Value(), clip=0.2, temperature=1.0)
    found = loss(TensorDict(parts, batch_size=[3]))
    gradients = torch.autograd.grad(found["loss_objective"] + found["loss_critic"], [table, height])

    policy_terms, value_terms = [], []
    for row, column in zip(*np.nonzero(MASK), strict=True):
        before, token = parts["ids"][row, column + 1], parts["action"][row, column]
        log_p = table[before].log_softmax(0)[token]
        ratio = (log_p - parts["log_prob"][row, column]).exp()
        gain = parts["advantage"][row, column, 0]
        policy_terms.append(-torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain))
        value_terms.append((parts["value_target"][row, column, 0] - height * before) ** 2)
    objective, critic = torch.stack(policy_terms).mean(), torch.stack(value_terms).mean()
    expected = torch.autograd.grad(objective + critic, [table, height])

    torch.testing.assert_close(found["loss_objective"], objective)
    torch.testing.assert_close(found["loss_critic"], critic)
    torch.testing.assert_close(gradients, expected)


def test_what_padding_holds_changes_nothing(torch):
    """Rewards and values behind the end of a response reach no advantage inside it."""
    from rmcheck.lab.rl.ppo_loss import advantages

    mask = torch.tensor(MASK, dtype=torch.bool)
    generator = torch.Generator().manual_seed(2)
    rewards, values = torch.randn(2, 3, 3, generator=generator)
    noisy = [torch.where(mask, each, 100.0) for each in (rewards, values)]

    clean = advantages(rewards, values, mask, 0.9, 0.8)
    found = advantages(*noisy, mask, 0.9, 0.8)

    for a, b in zip(clean, found, strict=True):
        torch.testing.assert_close(a[mask], b[mask])


def test_advantages_are_those_of_the_recursion(torch):
    """δ_t + γ λ δ_{t+1} + …, with value 0 behind the last token, for each response alone."""
    from rmcheck.lab.rl.ppo_loss import advantages

    gamma, lam = 0.9, 0.8
    mask = torch.tensor(MASK, dtype=torch.bool)
    rewards, values = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(3))
    gains, targets = advantages(rewards, values, mask, gamma, lam)

    for row, length in enumerate([3, 2, 1]):
        following = 0.0
        for t in reversed(range(length)):
            next_value = float(values[row, t + 1]) if t + 1 < length else 0.0
            delta = float(rewards[row, t]) + gamma * next_value - float(values[row, t])
            following = delta + gamma * lam * following
            assert float(gains[row, t]) == pytest.approx(following, rel=1e-5)
            assert float(targets[row, t]) == pytest.approx(
                following + float(values[row, t]), rel=1e-5, abs=1e-6
            )


def test_the_reward_stands_at_the_last_token_and_kl_costs_at_each(torch):
    """−β log(π/π0) everywhere, the score at the end, nothing in the padding."""
    from rmcheck.lab.rl.ppo_loss import token_rewards

    mask = torch.tensor(MASK, dtype=torch.bool)
    found = token_rewards(torch.tensor([1.0, 2.0, 3.0]), torch.full((3, 3), 0.5), mask, 0.2)

    expected = torch.tensor([[-0.1, -0.1, 0.9], [-0.1, 1.9, 0.0], [2.9, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_whitening_sees_the_tokens_of_responses_alone(torch):
    """Mean 0 and deviation 1 over the mask, and 0 outside."""
    from rmcheck.lab.rl.ppo_loss import whitened

    mask = torch.tensor(MASK, dtype=torch.bool)
    found = whitened(torch.randn(3, 3, generator=torch.Generator().manual_seed(4)), mask)

    assert float(found[mask].mean()) == pytest.approx(0, abs=1e-6)
    assert float(found[mask].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert not found[~mask].any()


def test_kl_is_that_of_whole_responses(torch):
    """On a tiny vocabulary, its mean over all responses is Σ π(y) log π(y)/π0(y), by enumeration.

    Token 0 ends a response, and so do three tokens.
    """
    from rmcheck.lab.rl.language_model import response_logits, sequence_kl

    generator = torch.Generator().manual_seed(5)
    tables = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    log_p, log_q = (table.log_softmax(-1) for table in tables)

    def whole(log, tokens):
        """Log probability of a response to the prompt token 1."""
        return sum(float(log[a, b]) for a, b in itertools.pairwise((1, *tokens)))

    responses = [
        tokens
        for size in (1, 2, 3)
        for tokens in itertools.product(range(3), repeat=size)
        if 0 not in tokens[:-1] and (tokens[-1] == 0 or size == 3)
    ]
    chances = np.array([math.exp(whole(log_p, tokens)) for tokens in responses])
    exact = sum(
        chance * (whole(log_p, tokens) - whole(log_q, tokens))
        for chance, tokens in zip(chances, responses, strict=True)
    )
    ids = torch.tensor([[1, *tokens, *[2] * (3 - len(tokens))] for tokens in responses])
    mask = torch.tensor([[i < len(tokens) for i in range(3)] for tokens in responses])
    logits = [
        response_logits(Table(table), ids, torch.ones_like(ids), 3, 1.0).double()
        for table in tables
    ]
    found = sequence_kl(*logits, mask).numpy()

    assert chances.sum() == pytest.approx(1)
    assert (found > 0).all()
    assert chances @ found == pytest.approx(exact, rel=1e-5)
