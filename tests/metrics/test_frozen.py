"""What was measured cannot be changed afterwards."""

import dataclasses
import importlib
import pkgutil

import rmcheck.metrics
import rmcheck.stats


def classes(room):
    """All dataclasses of a room."""
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                yield value


def test_what_checks_share_no_check_can_spoil():
    """Metrics with their settings, rewards, weights and bounds are all frozen."""
    found = {*classes(rmcheck.metrics), *classes(rmcheck.stats)}

    assert len(found) > 60
    assert [cls for cls in found if not cls.__dataclass_params__.frozen] == []
