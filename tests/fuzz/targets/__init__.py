"""Everything that reads what others wrote, by room."""

from targets import checkpoints, laboratory, models, parts, pools, records, suites
from targets.target import Target

TARGETS: dict[str, Target] = {
    name: target
    for room in (suites, pools, models, checkpoints, parts, records, laboratory)
    for name, target in room.TARGETS.items()
}
