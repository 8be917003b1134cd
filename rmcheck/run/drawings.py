"""What a page draws of a suite, as plain numbers, and why something of it could not be drawn."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rmcheck.checks.measurement import Sampling
from rmcheck.errors import RmcheckError
from rmcheck.metrics.rewards import Rewards
from rmcheck.run.drawn.curves import bins, curve
from rmcheck.run.drawn.spread import by_slice, points
from rmcheck.run.drawn.texts import ROLES, moved, picks
from rmcheck.run.fill import Filled
from rmcheck.run.picks import picks as traits
from rmcheck.run.plan import PlannedSuite

# Name of a drawing in the report to what makes it of the rewards of a model.
OF_A_MODEL: Mapping[str, Callable[[Rewards, Sampling], dict[str, Any]]] = {
    "curves": curve,
    "points": points,
    "slices": by_slice,
    "calibration": bins,
}


def drawings(suite: PlannedSuite, filled: Filled) -> dict[str, Any]:
    """Plain data of the drawings of a suite; what the rewards do not allow is named with why."""
    found = {role: known.rewards for role in ROLES if (known := filled.known(suite, role))}
    data: dict[str, Any] = {name: {} for name in OF_A_MODEL}
    data["left_out"] = []
    for name, draw in OF_A_MODEL.items():
        for role, rewards in found.items():
            try:
                data[name][role] = draw(rewards, suite.loaded.sampling)
            except RmcheckError as error:
                data["left_out"].append({"drawing": name, "role": role, "why": str(error)})
    if "candidate" in found:
        data["picks"] = picks(suite.loaded, found["candidate"])
        try:
            data["traits"] = [asdict(one) for one in traits(suite.loaded, found["candidate"])]
        except RmcheckError as error:
            why = {"drawing": "traits", "role": "candidate", "why": str(error)}
            data["left_out"].append(why)
    if len(found) == len(ROLES):
        data["moved"] = moved(suite.loaded, found)
    return {name: value for name, value in data.items() if value}
