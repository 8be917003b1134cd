"""Batches of samples of like length, sized by the tokens that the model will compute."""

from collections.abc import Iterator, Sequence

import numpy as np

# Padded tokens a batch, by device. The CPU's is measured (`benchmarks/scoring.py`): on answers of
# 370 tokens 512 is within 7 % of one by one and 1024 up to 16 % slower; on answers of 40 tokens 512
# is 1.9 times as fast as one by one and larger ones gain nothing. The others are not measured.
_DEFAULT_BUDGETS = {"cpu": 512, "cuda": 16_384, "mps": 4096}
# Models that run on no device of ours: a function, a file of scores, a server.
_NO_DEVICE = 16_384
_NOTHING_KEPT = 1_000_000


def default_budget(device: str | None, *, durable: bool = True) -> int:
    """Padded tokens a batch for a device such as `cpu` or `cuda:0`; None for no device.

    On a CPU padding costs as much as text and big batches leave the cache, so batches are small.
    Without a device the only reason for batches is that each is kept before the next begins; where
    nothing outlives the session they are large.
    """
    if not device:
        return _NO_DEVICE if durable else _NOTHING_KEPT
    return _DEFAULT_BUDGETS.get(device.partition(":")[0], _DEFAULT_BUDGETS["cuda"])


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Positions by falling length, so that what does not fit in memory is met at once.

    Equal lengths keep their order, which keeps the responses of a prompt together.
    """
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def batch_end(lengths: Sequence[int], start: int, budget: int) -> int:
    """End of the batch that begins at `start` of lengths in falling order.

    The batch is as long as its padded size (samples × longest) stays within `budget`; a sample
    that is larger than the budget is a batch of its own.
    """
    return min(len(lengths), start + max(1, budget // max(1, lengths[start])))


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions in batches: longest first, each within `budget` padded tokens.

    All padding together is at most `budget` × ln(longest / shortest) tokens: in each batch it is
    at most budget × (1 − shortest / longest).
    """
    order = longest_first(lengths)
    falling = [lengths[i] for i in order]
    start = 0
    while start < len(order):
        end = batch_end(falling, start, budget)
        yield order[start:end]
        start = end


def spread(lengths: Sequence[int], count: int) -> list[int]:
    """Positions of at most `count` samples of different lengths, shortest to longest."""
    values, positions = np.unique(np.asarray(lengths, dtype=np.int64), return_index=True)
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [int(positions[i]) for i in chosen]
