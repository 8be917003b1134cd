"""A pool whose answers are worth the facts in them, and how an effect is measured on it."""

import random
from dataclasses import replace

import numpy as np
import pytest

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.pool import Message, Prompt
from rmcheck.probes.texts import ProbeTexts


def answer(number, facts):
    """A text of as many sentences as it has facts, and one more."""
    told = [f"It does not do that with fact{number}{k} and fact{number}{k}." for k in range(facts)]
    return " ".join(["The answer to the question is about that.", *told, "That is about facts."])


@pytest.fixture(scope="session")
def prompts():
    """40 prompts with 4 answers of different worth."""
    rng = random.Random(0)
    found = []
    for number in range(40):
        facts = rng.sample(range(1, 7), 4)
        question = Message("user", f"Please explain subject{number} carefully, with examples?")
        texts = tuple(answer(number, k) for k in facts)
        golden = {"golden": tuple(float(k) for k in facts)}
        found.append(Prompt(f"p{number}", (question,), texts, golden))
    return tuple(found)


@pytest.fixture(scope="session")
def probed(prompts):
    """Measures an effect on the rewards that a function gives."""
    ends = np.cumsum([0, *(len(p.responses) for p in prompts)])
    golden = [p.labels["golden"] for p in prompts]

    def measured(effect, reward):
        texts = ProbeTexts.of([effect], prompts, ends)
        scores = np.array([reward(s.messages[-1].content, s.response) for s in texts.samples])
        rewards = texts.answers(scores).get(effect.probe.name)
        if rewards is None:
            proxy = [[reward(p.messages[-1].content, r) for r in p.responses] for p in prompts]
            rewards = replace(Rewards.from_arrays(proxy, golden), columns=texts.columns(scores))
        return measure(effect, rewards, sampling=Sampling(resamples=200))

    return measured
