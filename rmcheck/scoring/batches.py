"""Batches sized by the tokens that the model will compute.

Models that pad get samples of like length; models that compute common beginnings once get samples
that begin alike. Either way the longest come first, so that what does not fit in memory is met at
once.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from rmcheck.models.engines.torch.packing import prefix_groups
from rmcheck.models.model import EngineFacts

# Padded tokens a batch, by device. The CPU's is measured (`benchmarks/scoring.py`): on texts of
# 275 tokens 512 is 1.2 times as fast as one by one, 256 and 2048 hardly faster; on answers of 40
# tokens 512 was 1.9 times as fast as one by one and larger ones gained nothing. On an H100, with 8B
# parameters, 4096 is a fifth slower than 16,384 and 65,536 no faster. The others are not measured.
# A server's batch is many requests side by side: enough for 8 of 32 texts of 1,000 tokens.
_DEFAULT_BUDGETS = {"cpu": 512, "cuda": 16_384, "mps": 4096, "server": 262_144}
# Without padding, larger batches cost nothing and repeat fewer prompts. On 8 answers to each of a
# few questions 2048 to 16,384 are alike; behind prompts of 1,600 tokens 8192 is 1.1 times as fast
# as 4096, 2.1 times as fast as 2048, and 16,384 no faster.
_PACKED_BUDGETS = {"cpu": 8192}
# Models that run on no device of ours: a function, a file of scores.
_NO_DEVICE = 16_384
_NOTHING_KEPT = 1_000_000


def default_budget(facts: EngineFacts, *, durable: bool = True, packed: bool = False) -> int:
    """Computed tokens a batch, no more than fit in the device's free memory.

    On a CPU padding costs as much as text and big batches leave the cache, so batches are small.
    Without a device the only reason for batches is that each is kept before the next begins; where
    nothing outlives the session they are large.
    """
    device = facts.device
    if not device:
        return _NO_DEVICE if durable else _NOTHING_KEPT
    chosen = _DEFAULT_BUDGETS.get(device, _DEFAULT_BUDGETS["cuda"])
    if packed:
        chosen = _PACKED_BUDGETS.get(device, chosen)
    return chosen if facts.fits is None else max(1, min(chosen, facts.fits))


class BatchOrder(Protocol):
    """Samples in the order in which they are scored, to be cut into batches."""

    order: list[int]

    def end(self, start: int, budget: int, spare: int = 0) -> int:
        """End in `order` of the batch that begins at `start`, at least one sample further.

        Args:
            start: Where it begins in `order`.
            budget: Computed tokens that it stays within.
            spare: Tokens more, where they complete a group whose beginning would be repeated.
        """
        ...

    def computed(self, start: int, end: int) -> int:
        """Tokens that the model computes for a batch."""
        ...

    def left(self, start: int) -> int:
        """Tokens from there to the last sample, without padding and common beginnings once."""
        ...


class PaddedOrder:
    """By falling length, for models that pad a batch to its longest sample."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.order = longest_first(lengths)
        self._falling = [lengths[i] for i in self.order]
        self._left = _sums_to_the_end(self._falling)

    def end(self, start: int, budget: int, spare: int = 0) -> int:
        """See `batch_end`; there are no groups to complete."""
        return batch_end(self._falling, start, budget)

    def computed(self, start: int, end: int) -> int:
        """Samples × longest."""
        return self._falling[start] * (end - start)

    def left(self, start: int) -> int:
        """See `BatchOrder.left`."""
        return self._left[start]


class PackedOrder:
    """Groups of a common beginning, for models that compute it once a batch.

    Groups with the longest samples come first, and in a group the longest samples. A group larger
    than the budget is cut, and each piece computes the beginning again.

    Args:
        rows: Token ids of each sample.
        block: A common beginning is shared in whole multiples of so many tokens.
    """

    def __init__(self, rows: Sequence[Sequence[int]], block: int = 1) -> None:
        groups = prefix_groups(rows)
        longest = [max(len(rows[i]) for i in group.members) for group in groups]
        self.order: list[int] = []
        self._lengths: list[int] = []
        self._prefixes: list[int] = []
        self._first: list[int] = []
        for at in longest_first(longest):
            first = len(self.order)
            members = sorted(groups[at].members, key=lambda i: (-len(rows[i]), i))
            self.order += members
            self._lengths += [len(rows[i]) for i in members]
            self._prefixes += [groups[at].prefix // block * block] * len(members)
            self._first += [first] * len(members)
        self._left = _sums_to_the_end([self._added(0, at) for at in range(len(self.order))])

    def end(self, start: int, budget: int, spare: int = 0) -> int:
        """As many samples as stay within the budget; a larger one is a batch of its own."""
        end = self._filled(start, budget)
        rest = range(end, len(self.order))
        completed = next((at for at in rest if self._first[at] == at), len(self.order))
        return completed if self._filled(start, budget + spare) >= completed else end

    def computed(self, start: int, end: int) -> int:
        """Tokens with every common beginning once."""
        return sum(self._added(start, at) for at in range(start, end))

    def left(self, start: int) -> int:
        """See `BatchOrder.left`."""
        return self._left[start]

    def _filled(self, start: int, budget: int) -> int:
        """End of the batch that begins at `start` and stays within the budget."""
        end, computed = start + 1, self._lengths[start]
        while end < len(self.order):
            computed += self._added(start, end)
            if computed > budget:
                break
            end += 1
        return end

    def _added(self, start: int, at: int) -> int:
        """Tokens that a sample adds to a batch that began at `start`."""
        follows = max(self._first[at], start) < at
        return self._lengths[at] - (self._prefixes[at] if follows else 0)


def _sums_to_the_end(tokens: Sequence[int]) -> list[int]:
    """Of each place the tokens from there on."""
    return list(accumulate(reversed(tokens)))[::-1]


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
    return cut(PaddedOrder(lengths), budget)


def cut(samples: BatchOrder, budget: int) -> Iterator[list[int]]:
    """Positions in batches, each within `budget` computed tokens where one sample is.

    To complete a group the budget is passed by up to `spare_tokens`.
    """
    start = 0
    while start < len(samples.order):
        end = samples.end(start, budget, spare_tokens(budget))
        yield samples.order[start:end]
        start = end


def spare_tokens(budget: int) -> int:
    """Tokens by which a batch may pass its budget to complete a group: a quarter."""
    return budget // 4


def fair_share(left: int, workers: int, budget: int) -> int:
    """Tokens of the next batch, so that several workers end at about the same time.

    Half of what each has still to do, between an eighth of the budget and all of it.
    """
    return max(budget // 8, min(budget, left // (2 * workers))) if workers > 1 else budget
