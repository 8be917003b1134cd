"""What all tests share: pytest's test bench, one thread for torch, how Hypothesis searches."""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on busy cores are slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a model hub

pytest_plugins = ["pytester"]

# No deadlines and no complaint about slowness: a busy machine is no bug. On CI the examples are the
# same each time, so that a change is judged on its own; everywhere else each run tries new ones.
_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("random", **_patient)
settings.register_profile("ci", derandomize=True, **_patient)
settings.load_profile("ci" if os.environ.get("CI") else "random")
