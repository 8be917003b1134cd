"""What tests of models in vLLM share."""

import random
from importlib.util import find_spec

import pytest
import tiny_models

from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

HAS_VLLM = find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not HAS_VLLM, reason="vLLM is not installed; .ci/vllm runs these tests where it is"
)
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}


def loaded(spec):
    """A model, opened and loaded."""
    return open_model(spec).load()


def rewards_of(spec, samples):
    """Rewards of the samples, and what the model read; the model is closed."""
    opened = loaded(spec)
    encoded = opened.encode(samples)
    rewards = opened.score(encoded)
    opened.close()
    return rewards, encoded


def proved(model, samples):
    """The items of the page by name."""
    proven = model.prove(model.encode(samples))
    return {item.name: item for item in proven.items}


def refusal(kind, act, *arguments):
    """The message of an error."""
    with pytest.raises(kind) as caught:
        act(*arguments)
    return str(caught.value)


def long_samples(prompts=3, responses=4):
    """Prompts of several cache blocks, each with several responses."""
    words = [w for text in tiny_models.TEXTS for w in text.split()]
    rng = random.Random(0)
    return [
        Sample(
            f"p{i}",
            j,
            (Message("user", " ".join(rng.choices(words, k=100)) if j == 0 else ""),),
            " ".join(rng.choices(words, k=5 + 3 * j)),
        )
        for i in range(prompts)
        for j in range(responses)
    ]


def with_common_prompts(samples, responses=4):
    """The samples, each with the prompt of the first response of its prompt."""
    first = samples[0::responses]
    return [
        Sample(s.prompt_id, s.index, first[i // responses].messages, s.response)
        for i, s in enumerate(samples)
    ]


LONG = with_common_prompts(long_samples())
