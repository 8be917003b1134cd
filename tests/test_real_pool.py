"""The lesson on a real pool: a rule that counts characters has decent accuracy and a large loss."""

from pathlib import Path

import pytest

from rmcheck import Rewards, make_metric, measure, read_pool

POOL = Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_eval" / "pool.jsonl.gz"


@pytest.fixture(scope="module")
def by_length():
    """603 prompts × 54 to 56 systems, golden from a judge, the longer answer always preferred."""
    if not POOL.exists():
        pytest.skip("the AlpacaEval pool is not beside this checkout")
    prompts = read_pool(POOL).prompts
    return Rewards.from_arrays(
        [[len(response) for response in prompt.responses] for prompt in prompts],
        [prompt.labels["golden"] for prompt in prompts],
    )


@pytest.mark.parametrize(
    ("name", "settings", "value"),
    [
        ("accuracy", {}, 0.713),
        ("bon_drop_ratio", {"n": 14}, 0.416),
        ("bon_drop_ratio", {"n": 55}, 0.564),
        ("predicted_regret", {"n": 256, "predictor": "gaussian"}, 0.347),
        ("predicted_regret", {"n": 256}, 0.609),
    ],
)
def test_length_is_accurate_and_loses_more_the_harder_it_is_optimised(
    by_length, name, settings, value
):
    """Seen on 2026-11-22; the pool does not change."""
    found = measure(make_metric(name, **settings), by_length).estimate

    assert found.value == pytest.approx(value, abs=0.0006)
    assert found.lower < found.value < found.upper
