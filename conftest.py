"""What all tests share: pytest's own test bench, and one thread for torch."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on busy cores are slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a model hub

pytest_plugins = ["pytester"]
