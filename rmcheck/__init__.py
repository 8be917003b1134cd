"""rmcheck stops a reward-model checkpoint in CI when optimising against it would be a mistake.

Public names are imported when they are first used: the package is loaded by every pytest run on
the machine, and most of them never ask for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmcheck.checks.bound_metric import BoundMetric
    from rmcheck.checks.measurement import Measurement, Sampling, measure, measure_drop
    from rmcheck.checks.shard_totals import shard_totals
    from rmcheck.checks.shards import measure_shards, measure_totals
    from rmcheck.errors import RmcheckError
    from rmcheck.metrics.metric import Metric
    from rmcheck.metrics.ratio import PromptMeanMetric
    from rmcheck.metrics.registration import register
    from rmcheck.metrics.registry import make_metric, metric_names
    from rmcheck.metrics.rewards import Rewards
    from rmcheck.models.model import ReadyModel, RewardModel, Session
    from rmcheck.models.registry import open_model
    from rmcheck.models.sample import Sample
    from rmcheck.pool.pool import Message, Pool, Prompt
    from rmcheck.pool.reading import read_pool
    from rmcheck.scoring.scored_shards import scored_shards
    from rmcheck.stats.estimate import Estimate
    from rmcheck.suite.loader import load_suite
    from rmcheck.suite.suite import Suite

__version__ = "0.1.0"

_HOMES = {
    "BoundMetric": "rmcheck.checks.bound_metric",
    "Estimate": "rmcheck.stats.estimate",
    "Measurement": "rmcheck.checks.measurement",
    "Message": "rmcheck.pool.pool",
    "Metric": "rmcheck.metrics.metric",
    "Pool": "rmcheck.pool.pool",
    "Prompt": "rmcheck.pool.pool",
    "PromptMeanMetric": "rmcheck.metrics.ratio",
    "ReadyModel": "rmcheck.models.model",
    "RewardModel": "rmcheck.models.model",
    "Rewards": "rmcheck.metrics.rewards",
    "RmcheckError": "rmcheck.errors",
    "Sample": "rmcheck.models.sample",
    "Sampling": "rmcheck.checks.measurement",
    "Session": "rmcheck.models.model",
    "Suite": "rmcheck.suite.suite",
    "load_suite": "rmcheck.suite.loader",
    "make_metric": "rmcheck.metrics.registry",
    "measure": "rmcheck.checks.measurement",
    "measure_drop": "rmcheck.checks.measurement",
    "measure_shards": "rmcheck.checks.shards",
    "measure_totals": "rmcheck.checks.shards",
    "metric_names": "rmcheck.metrics.registry",
    "open_model": "rmcheck.models.registry",
    "read_pool": "rmcheck.pool.reading",
    "register": "rmcheck.metrics.registration",
    "scored_shards": "rmcheck.scoring.scored_shards",
    "shard_totals": "rmcheck.checks.shard_totals",
}

__all__ = [
    "BoundMetric",
    "Estimate",
    "Measurement",
    "Message",
    "Metric",
    "Pool",
    "Prompt",
    "PromptMeanMetric",
    "ReadyModel",
    "RewardModel",
    "Rewards",
    "RmcheckError",
    "Sample",
    "Sampling",
    "Session",
    "Suite",
    "__version__",
    "load_suite",
    "make_metric",
    "measure",
    "measure_drop",
    "measure_shards",
    "measure_totals",
    "metric_names",
    "open_model",
    "read_pool",
    "register",
    "scored_shards",
    "shard_totals",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rmcheck' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
