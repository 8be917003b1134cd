"""Blocks of texts that cost about the same: what one actor of a cluster scores at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.sample import Sample

# Characters a block at most, about 250,000 tokens: 16 batches of a GPU. Larger blocks gain nothing,
# and a run that has stalled is noticed later.
LARGEST_BLOCK = 1_000_000
# Blocks an actor at least, so that no actor waits long for the last one.
BLOCKS_AN_ACTOR = 8


def cut_blocks(
    samples: Sequence[Sample], actors: int, largest: int = LARGEST_BLOCK
) -> list[NDArray[np.int64]]:
    """Positions of the samples in blocks of about equal numbers of characters.

    Responses of one prompt that stand together stay together, so that models that compute a prompt
    once for all of its responses can do so; only a prompt larger than a block is cut. Prompts with
    the longest texts come first: a block holds texts of like length, which pads little, and what
    does not fit in memory is met at once.

    Characters stand for tokens, four to one: tokens are known only where the model is loaded.

    Args:
        samples: Texts; here only their lengths are read.
        actors: How many score at a time.
        largest: Characters a block at most, unless one text is longer.
    """
    if not samples:
        return []
    sizes, starts = _sizes(samples)
    most = np.maximum.reduceat(sizes, starts)
    ends = np.append(starts[1:], len(samples))
    order = np.concatenate(
        [np.arange(starts[i], ends[i]) for i in np.argsort(-most, kind="stable").tolist()]
    )
    wanted = max(1, min(largest, int(sizes.sum()) // (actors * BLOCKS_AN_ACTOR)))
    return _cut(order, sizes[order], np.isin(order, starts), wanted)


def _sizes(samples: Sequence[Sample]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(M,) characters of each text, and where a prompt begins."""
    sizes, starts = np.empty(len(samples), dtype=np.int64), []
    messages, prompt = None, 0
    for i, sample in enumerate(samples):
        if messages is None or sample.messages != messages:
            messages = sample.messages
            prompt = sum(len(message.content) for message in messages)
            starts.append(i)
        sizes[i] = prompt + len(sample.response)
    return sizes, np.array(starts, dtype=np.int64)


def _cut(
    order: NDArray[np.int64], sizes: NDArray[np.int64], begins: NDArray[np.bool_], wanted: int
) -> list[NDArray[np.int64]]:
    """Cut before the prompt that would make a block too large, or inside a prompt that is."""
    blocks, start, prompt, size = [], 0, 0, 0
    for at in range(len(order)):
        if begins[at]:
            prompt = at
        while size and size + sizes[at] > wanted:
            end = prompt if prompt > start else at
            blocks.append(order[start:end])
            start, size = end, int(sizes[end:at].sum())
        size += int(sizes[at])
    blocks.append(order[start:])
    return blocks
