"""What every run of pytest in this checkout shares, `make gate` on a fresh clone too.

It may import nothing that rmcheck itself does not need.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on busy cores are slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a model hub

pytest_plugins = ["pytester"]
# Their data are those of whoever copies them; named on the command line they run.
collect_ignore = ["suites/to_copy"]
