"""Reward models whose reward is known from the text and that write down what they score.

Run as a script it is a process that scores slowly:

    python counting_models.py STORE LOG TEXTS SECONDS_A_BATCH
"""

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmcheck.models.model import Proven, ReadyModel, Session
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.pool.pool import Message
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import ScoreStore

BUDGET = 40


def sample(text: str, prompt: str = "p", index: int = 0, golden: float | None = None) -> Sample:
    """A response to a fixed question."""
    return Sample(prompt, index, (Message("user", "Why?"),), text, golden)


def numbered_samples(count: int) -> list[Sample]:
    """Texts of 3 to 15 tokens, each its own prompt."""
    return [sample(f"answer {i} " + "x" * (4 * (i % 13)), f"p{i}") for i in range(count)]


def reward_of(text: str) -> float:
    """The true reward of a text: any fixed function that no bug gives by accident."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**31 - 1


class CountingModel(ReadyModel):
    """Rewards `reward_of` the text that is read; at most `max_tokens` of four characters.

    Attributes:
        batches: Texts of each batch that came back, in order.
        loads: How often it was loaded.
        proofs: Lengths of the samples of each proof.
        events: `load`, `encode`, `prove`, `score`, `close` in order.
        proven: What its proof finds.
    """

    scheme = "counting"
    proven = Proven()

    def __init__(self, *, fingerprint: str = "ab" * 32, max_tokens: int = 10**9) -> None:
        self.spec = "counting:model"
        self.fingerprint = fingerprint
        self.max_tokens = max_tokens
        self.batches: list[list[str]] = []
        self.proofs: list[list[int]] = []
        self.events: list[str] = []

    @property
    def loads(self) -> int:
        """How often it was loaded."""
        return self.events.count("load")

    def load(self) -> Session:
        """Note it."""
        self.events.append("load")
        return self

    def close(self) -> None:
        """Note it."""
        self.events.append("close")

    def read(self, text: str, too_long: TooLong) -> str:
        """The part of the text that is read; case is lost, as a tokenizer might."""
        text, most = text.lower(), 4 * self.max_tokens
        if len(text) <= most or too_long == "error":
            return text
        return text[-most:] if too_long == "left" else text[:most]

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Equal lower-case texts are one input."""
        self.events.append("encode")
        encoded = []
        for s in samples:
            text = self.read(s.response, too_long)
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            ids = tuple(text.encode())
            cut = (len(s.response) - len(text)) // 4
            encoded.append(Encoded(key, max(1, len(text) // 4), ids, (), cut, s))
        return encoded

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """Note it."""
        self.events.append("prove")
        self.proofs.append([e.length for e in encoded])
        return self.proven

    def score(self, batch: Sequence[Encoded]) -> np.ndarray:
        """`reward_of` what is read."""
        self.events.append("score")
        texts = [bytes(e.ids).decode() for e in batch]
        rewards = np.array([reward_of(text) for text in texts])
        self.batches.append(texts)
        return rewards


class SlowModel(CountingModel):
    """Writes each batch to a log before it comes back."""

    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__()
        self.log = log
        self.seconds = seconds

    def score(self, batch: Sequence[Encoded]) -> np.ndarray:
        """One line a batch: the texts that are being scored."""
        with self.log.open("a") as file:
            file.write("\t".join(bytes(e.ids).decode() for e in batch) + "\n")
        time.sleep(self.seconds)
        return super().score(batch)


def main(store: str, log: str, texts: str, seconds: str) -> None:
    """Score numbered samples into a store."""
    model = SlowModel(Path(log), float(seconds))
    request = Request(model, numbered_samples(int(texts)))
    fill_requests([request], ScoreStore(Path(store)), budget=BUDGET)


if __name__ == "__main__":
    main(*sys.argv[1:])
