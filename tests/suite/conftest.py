"""Fixtures of the suite tests."""

import pytest

from rmcheck.metrics import registry


@pytest.fixture(autouse=True)
def only_the_metrics_that_ship(monkeypatch):
    """Metrics that other tests or installed packages register are in no message and no schema."""
    shipped = {name: registry.metric_class(name) for name in registry.HOMES}
    monkeypatch.setattr(registry, "METRICS", shipped)
