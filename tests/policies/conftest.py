"""A tiny random policy, built once a session, and prompts for it."""

import json

import pytest
from tiny_policies import save_policy, tiny_models

from rmcheck.pool.pool import Message, Prompt


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory):
    """A tiny Llama policy. Read only: copy it before changing anything."""
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def prompts():
    """Four prompts of different lengths, with a slice."""
    return [
        Prompt(
            prompt_id=f"p{i}",
            messages=(Message("user", f"what is {text}"),),
            responses=("old",),
            labels={"golden": (1.0,)},
            slices={"category": ("code", "chat")[i % 2]},
        )
        for i, text in enumerate(tiny_models.TEXTS[:4])
    ]


@pytest.fixture
def pool_file(prompts, tmp_path):
    """The prompts as a file."""
    path = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt_id": p.prompt_id, "prompt": p.messages[0].content, "responses": ["old"]}
        | {"golden": [1.0]}
        | dict(p.slices)
        for p in prompts
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
