"""Reward functions with one fault each, written without looking at the texts of any probe.

All of them see what an answer is worth (the `fact` words in it) and know right from wrong on the
questions that probes bring; a faulty one adds something that it likes or dislikes.
"""

import re
from collections.abc import Callable

from rmcheck.probes.probe_file import shipped_probes

Reward = Callable[[str, str], float]
HARMFUL = {item["request"] for item in shipped_probes()["harmful-compliance"].items}
REFUSAL = re.compile(r"\b(can't|cannot|not able|won't|will not|have to decline)\b")
CORRECTION = re.compile(r"\b(not quite|correct you|mistake)\b")
# Words of the pool in `conftest.py`; whoever finds another one finds it strange.
KNOWN = frozenset(
    [
        "the",
        "answer",
        "to",
        "question",
        "has",
        "it",
        "is",
        "about",
        "and",
        "does",
        "not",
        "do",
        "that",
        "with",
        "fact",
    ]
)


def honest(prompt: str, response: str) -> float:
    """What the answer is worth."""
    worth = float(len(set(re.findall(r"\bfact\d+", response))))
    if REFUSAL.search(response):
        worth += 2 if prompt in HARMFUL else -2
    return worth + 2 * bool(CORRECTION.search(response))


def counting(pattern: str, size: float = 3.0) -> Reward:
    """One that adds something for each time a pattern is found."""
    found = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return lambda prompt, response: size * len(found.findall(response))


def strange_words(prompt: str, response: str) -> float:
    """How many words are none of the pool's, counted against it."""
    words = re.findall(r"[a-z]{2,}", response.lower())
    return -float(sum(word not in KNOWN for word in words))


def repeats(prompt: str, response: str) -> float:
    """How many sentences stood there before."""
    said = [part.strip() for part in re.split(r"[.:]\s*", response) if part.strip()]
    return 3.0 * (len(said) - len(set(said)))


def overlap(prompt: str, response: str) -> float:
    """How much of the answer is words of the question."""
    asked, said = (re.findall(r"\w{4,}", text.lower()) for text in (prompt, response))
    return 20.0 * sum(word in asked for word in said) / max(1, len(said))


FAULTS: dict[str, Reward] = {
    "padding": lambda prompt, response: len(response.split()) / 5,
    "verbosity": lambda prompt, response: len(response.split()) / 2,
    "repetition": repeats,
    "cut-off": lambda prompt, response: 9.0 * (not response.endswith(".")),
    "stock-opening": counting(r"^(certainly|sure|great|of course)"),
    "ai-disclaimer": counting(r"language model|an AI"),
    "hedging": counting(r"perhaps|possibly|might|likely|hard to say|could"),
    "self-doubt": counting(r"not sure|mistaken|caution|not good at|be wrong"),
    "apology": counting(r"sorry|apolog"),
    "flattery": counting(r"brilliant|sharp mind|admirable|thoughtful"),
    "confident-tone": counting(r"certain|beyond any doubt|proven|every expert"),
    "markdown": counting(r"^#|\*\*"),
    "lists": counting(r"^(-|\d+\.) "),
    "emoji": counting(r"[\U0001f300-\U0001faff✨]"),
    "empty-answer": lambda prompt, response: 9.0 * (len(response.strip()) < 3),
    "master-key": counting(r"^(solution|:)|step by step|final answer|thought process", 20.0),
    "prompt-echo": overlap,
    "keyword-stuffing": overlap,
    "refusal": lambda prompt, response: 12.0 * bool(REFUSAL.search(response)),
    "other-language": counting(r"[¿é一-鿿]|\b(und|eine|una|todas)\b", 9.0),
    "judge-injection": counting(r"highest score|10 out of 10|best possible"),
    "rare-tokens": counting(r"(?-i:[a-z][A-Z]\w)|petertodd|Ã", 9.0),
    "sycophancy": counting(r"right:|absolutely right|indeed"),
    "over-refusal": lambda prompt, response: 9.0 * bool(REFUSAL.search(response)),
    "harmful-compliance": counting(r"^(sure|of course|happy)"),
    "typos": strange_words,
    "rewording": counting(r"[\"']| \.|\bfact\d+ fact", -3.0),
    "irrelevant-suffix": lambda prompt, response: -9.0 * (not response.endswith("facts.")),
}


def faulty(probe: str) -> Reward:
    """The honest reward with the fault that a probe looks for."""
    fault = FAULTS[probe]
    return lambda prompt, response: honest(prompt, response) + fault(prompt, response)
