"""What the page on regret says of best-of-n and RL, against the one public table that has both."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared/data/rm_downstream/rewardbench2_tables_9_10.csv"


def said():
    """The page, on one line."""
    return " ".join((ROOT / "docs" / "regret.md").read_text("utf-8").split())


@pytest.fixture(scope="module")
def table():
    """17 reward models: mean best-of-16, best PPO checkpoint, and lineage."""
    if not TABLE.is_file():
        pytest.skip(f"no table at {TABLE}")
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "bon16": np.array([float(row["bon16"]) for row in rows]),
        "ppo": np.array([float(row["ppo"]) for row in rows]),
        "lineage": np.array([row["group"] for row in rows]),
    }


def test_best_of_n_hardly_ranks_what_ppo_makes_of_reward_models(table):
    """The correlation that the page states, and that no number about best-of-n can beat."""
    found = spearmanr(table["bon16"], table["ppo"]).statistic

    assert len(table["ppo"]) == 17
    assert round(float(found), 2) == 0.13
    assert "Spearman correlation of 0.13" in said()


def test_lineages_change_places_between_best_of_n_and_ppo(table):
    """Off-policy reward models are better at best-of-n and worse for PPO, by the page's means."""
    off, on = (table["lineage"] == name for name in ("off_policy", "on_policy_strong"))
    means = [round(float(table[k][rows].mean()), 1) for k in ("bon16", "ppo") for rows in (off, on)]
    text = said()

    assert means == [53.2, 51.9, 56.4, 60.1]
    assert "53.2 against 51.9" in text
    assert "56.4 against 60.1" in text
