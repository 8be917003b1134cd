"""How Hypothesis searches, in all tests."""

import os

from hypothesis import HealthCheck, settings

# No deadlines and no complaint about slowness: a busy machine is no bug. On CI the examples are the
# same each time, so that a change is judged on its own; everywhere else each run tries new ones.
_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("random", **_patient)
settings.register_profile("ci", derandomize=True, **_patient)
settings.load_profile("ci" if os.environ.get("CI") else "random")
