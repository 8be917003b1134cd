"""How much data a decision needs."""

import math


def units_to_decide(
    *, n: int, value: float, lower: float, upper: float, bound: float
) -> int | None:
    """Units with which bounds as wide as these would no longer straddle the bound.

    The distance from the value to the bound end that decides shrinks with 1/√n, so
    n' = n · (that distance / distance to the bound)². Rounded up to two digits.

    Returns:
        The number of units, or None where the value lies on the bound and no number is enough.
    """
    gap = value - bound
    if gap == 0:
        return None
    reach = value - lower if gap > 0 else upper - value
    needed = n * max(1.0, (reach / abs(gap)) ** 2)
    if not math.isfinite(needed) or needed > 1e12:
        return None
    digits = int(10 ** max(0, math.floor(math.log10(needed)) - 1))
    return math.ceil(needed / digits) * digits
