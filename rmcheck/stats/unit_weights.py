"""Bootstrap weights that a unit has by its name, wherever it is met.

For pools in shards: no shard knows how many units the others have, so counts of draws with
replacement cannot be given out. Instead each unit is drawn a Poisson(1) number of times in each
resample, independently of all others, and that number follows from the unit's name and the seed
alone. However a pool is cut, the same unit then has the same weights. Resampled ratios spread as
under draws with replacement, whose counts are such numbers given their sum.

Reference:
    Chamandy, Muralidharan, Najmi and Naidu 2012, Estimating uncertainty for massive data streams.
"""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Probabilities in steps of 2^-16: mean and variance are 1 to 3e-5 and 2e-4.
_STEPS = 2**16


def _poisson_table() -> NDArray[np.uint8]:
    """(65536,) the quantile function of Poisson(1) at (i + ½) / 65536."""
    below = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])
    return np.searchsorted(below, (np.arange(_STEPS) + 0.5) / _STEPS).astype(np.uint8)


_POISSON = _poisson_table()


def unit_keys(names: Iterable[str]) -> NDArray[np.uint64]:
    """(n,) 64 bits for each name; two of ten million names coincide with probability 3e-6."""
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def unit_weights(keys: NDArray[np.uint64], resamples: int, seed: int) -> NDArray[np.uint8]:
    """(B, n) how often each unit is drawn in each resample.

    Args:
        keys: (n,) of the units (`unit_keys`).
        resamples: B. Fewer resamples are the first of more.
        seed: Another seed gives other weights, independent of these.
    """
    out = np.empty((keys.size, resamples), dtype=np.uint8)
    words = -(-resamples // 4)
    for row, key in enumerate(keys.tolist()):
        # Raw output of a bit generator never changes between versions of numpy.
        raw = np.random.Philox(key=(seed << 64) + key).random_raw(words)
        out[row] = _POISSON[raw.astype("<u8").view("<u2")[:resamples]]
    return out.T
