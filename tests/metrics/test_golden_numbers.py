"""Numbers from other programs, kept with the command that gave them."""

import json
from pathlib import Path

import pytest

from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards

NUMBERS = json.loads(
    (Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n['metric']}-{n['settings']}")
def test_metric_gives_the_number_of_another_program(number):
    """Each kept number comes out within its stated tolerance."""
    pool = Rewards.from_arrays([number["proxy"]], [number["golden"]])
    metric = make_metric(number["metric"], **number["settings"]).fitted(pool)

    found = float(metric.value(per_prompt_sums(metric, pool)[0].sum(axis=0)))

    assert found == pytest.approx(number["value"], abs=number["tolerance"])


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n['metric']}-{n['settings']}")
def test_every_number_has_its_birth_certificate(number):
    """A kept number says which program gave it, by which command, and why its tolerance holds."""
    assert all(number[key] for key in ("source", "command", "why", "tolerance"))
