"""Functions that several rooms need, of arrays."""

import numpy as np
from numpy.typing import NDArray


def logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + e^−x), without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1.0 + small))
