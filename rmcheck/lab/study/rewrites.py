"""Prompts said anew, by a policy or by a few rules that need none.

Reference:
    Wen et al. 2024, arXiv 2410.05584, figure 5: prompts paraphrased, and prompts rewritten.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from rmcheck.errors import UsageError
from rmcheck.pool.pool import Message, Prompt
from rmcheck.wording import listed

Way = Literal["paraphrased", "rewritten"]
OFFLINE = "offline"
MAX_TOKENS = 512

# What a policy is asked; the paper asked for the same two things.
INSTRUCTIONS: Mapping[Way, str] = {
    "paraphrased": (
        "Say the following request in other words. Keep its meaning and everything it asks for. "
        "Answer with the new wording alone.\n\n"
    ),
    "rewritten": (
        "Write a new request on the same topic as the following one, of the same kind and as hard, "
        "but asking for something else. Answer with the new request alone.\n\n"
    ),
}
# Words that the offline rewriter exchanges, longest first.
_WORDS = {
    "could you": "would you be able to",
    "can you": "are you able to",
    "how do i": "what is a good way to",
    "how to": "in what way to",
    "tell me": "let me know",
    "what is": "explain what is meant by",
    "please": "kindly",
    "write": "compose",
    "explain": "describe",
    "give": "provide",
    "list": "name",
    "find": "look for",
    "make": "create",
    "best": "most suitable",
    "when": "at what time",
}
_FOUND = re.compile(rf"\b({'|'.join(map(re.escape, _WORDS))})\b", re.IGNORECASE)


def offline(text: str, way: Way) -> str:
    """A prompt in other words, by rules: the same text gives the same words.

    Args:
        text: The prompt.
        way: `paraphrased` exchanges words and adds a polite opening where there are none to
            exchange; `rewritten` also asks for something more.
    """
    said = _FOUND.sub(lambda match: _WORDS[match.group().lower()], text)
    if said == text:
        said = f"Here is what I would like to know: {text}"
    return said if way == "paraphrased" else f"{said} Answer for somebody who is new to this."


def rewritten_prompts(prompts: Sequence[Prompt], policy: str, way: Way, seed: int) -> list[Prompt]:
    """The prompts with their last turn said anew and the same responses.

    Args:
        prompts: Of the pool.
        policy: Spec of the policy that rewrites, or `offline`.
        way: What it is asked to do.
        seed: Of its sampling.

    Raises:
        UsageError: See `rmcheck.policies.registry.open_policy`; or the policy gave nothing back.
    """
    asked = [prompt.messages[-1].content for prompt in prompts]
    if policy == OFFLINE:
        said = [offline(text, way) for text in asked]
    else:
        said = _by_policy(prompts, policy, way, seed)
    empty = [p.prompt_id for p, text in zip(prompts, said, strict=True) if not text.strip()]
    if empty:
        raise UsageError(f"{policy} gave nothing back for {listed(map(repr, empty), 5)}")
    return [_with_last(prompt, text) for prompt, text in zip(prompts, said, strict=True)]


def unchanged(before: Sequence[Prompt], after: Sequence[Prompt]) -> list[str]:
    """Ids of the prompts that came back as they were."""
    return [
        old.prompt_id
        for old, new in zip(before, after, strict=True)
        if old.messages[-1].content.split() == new.messages[-1].content.split()
    ]


def _with_last(prompt: Prompt, text: str) -> Prompt:
    last = prompt.messages[-1]
    return replace(prompt, messages=(*prompt.messages[:-1], replace(last, content=text.strip())))


def _by_policy(prompts: Sequence[Prompt], spec: str, way: Way, seed: int) -> list[str]:
    from contextlib import closing

    from rmcheck.policies.registry import open_policy
    from rmcheck.policies.text_policy import TextPolicy

    turns = [Message("user", INSTRUCTIONS[way] + p.messages[-1].content) for p in prompts]
    asked = [
        Prompt(prompt.prompt_id, (turn,), (), {})
        for prompt, turn in zip(prompts, turns, strict=True)
    ]
    with closing(TextPolicy(open_policy(spec))) as policy:
        found = policy.sample(asked, seed=seed, max_tokens=MAX_TOKENS)
    return [text for (text,) in found]
