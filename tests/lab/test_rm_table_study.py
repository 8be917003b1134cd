"""`rmcheck study --table`: which number of a table of reward models ranks an outcome."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr

from rmcheck.cli import main
from rmcheck.errors import UsageError
from rmcheck.lab.study.correlations import KINDS, associations
from rmcheck.lab.study.rm_table import RmTable, read_rm_table

PUBLISHED = (
    Path(__file__).resolve().parents[3] / "shared/data/rm_downstream/rewardbench2_tables_9_10.csv"
)


def table_of(x, y, groups=None):
    """A table of one column and an outcome."""
    groups = None if groups is None else np.array(groups)
    return RmTable("t.csv", "y", np.asarray(y, float), {"x": np.asarray(x, float)}, "g", groups, {})


def written(folder, *rows, header="rm,accuracy,rl,kind"):
    """A CSV file of these rows."""
    path = folder / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


GOOD = [f"m{i},{0.5 + 0.03 * i},{i + (i % 3)},{'ab'[i % 2]}" for i in range(8)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=5, max_size=25).filter(
        lambda rows: all(len({row[i] for row in rows}) > 1 for i in (0, 1))
    )
)
def test_correlations_are_scipys(rows):
    """Spearman, Kendall's tau-b and Pearson with ties, and intervals around them in [−1, 1]."""
    x, y = np.array(rows, float).T
    others = {"spearman": spearmanr, "kendall": kendalltau, "pearson": pearsonr}

    for kind, found in associations(table_of(x, y))["x"].items():
        assert found.overall.value == pytest.approx(others[kind](x, y).statistic, abs=1e-12)
        if found.overall.lower is not None:
            assert -1 <= found.overall.lower <= found.overall.value + 1e-6
            assert found.overall.value - 1e-6 <= found.overall.upper <= 1


def test_a_relation_between_groups_is_told_from_one_inside_them():
    """Groups far apart in both, inside which the order is the opposite one."""
    inside = np.arange(4.0)
    x = np.concatenate([inside + 10 * g for g in range(4)])
    y = np.concatenate([-inside + 10 * g for g in range(4)])

    found = associations(table_of(x, y, np.repeat(list("abcd"), 4)))["x"]["spearman"]

    assert found.overall.value > 0.8
    assert found.within.value == pytest.approx(-1)
    assert found.between.value == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_true_correlation(kind):
    """On 200 tables of 20 normal reward models, the 95 % interval holds it in 90 % and more."""
    rng, held = np.random.default_rng(0), []
    truth = {"spearman": 6 / np.pi * np.arcsin(0.3), "kendall": 2 / np.pi * np.arcsin(0.6)}
    for _ in range(200):
        x = rng.normal(size=20)
        y = 0.6 * x + 0.8 * rng.normal(size=20)
        found = associations(table_of(x, y))["x"][kind].overall
        held.append(found.lower <= truth.get(kind, 0.6) <= found.upper)

    assert np.mean(held) >= 0.9


def test_the_published_table_is_reproduced(tmp_path, capsys):
    """Over 17 reward models best-of-16 has the Spearman of 0.13 with PPO, and the page says so."""
    if not PUBLISHED.is_file():
        pytest.skip(f"no table at {PUBLISHED}")

    code = main(
        [
            *("study", "--table", str(PUBLISHED), "--outcome", "ppo", "--group", "group"),
            *("--out", str(tmp_path / "out")),
        ]
    )

    assert code == 0
    data = json.loads((tmp_path / "out/study.json").read_text(encoding="utf-8"))
    spearman = data["correlations"]["bon16"]["spearman"]
    assert data["rows"] == 17
    assert round(spearman["value"], 2) == 0.13
    assert spearman["lower"] < 0 < spearman["upper"]
    assert spearman["within"]["value"] < 0.1
    assert max(c["spearman"]["value"] for c in data["correlations"].values()) < 0.3
    said = "bon16 does not measurably rank ppo over 17 reward models: Spearman 0.13"
    for name in ("study.md", "study.html"):
        assert said in (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert said in capsys.readouterr().out


def test_what_cannot_be_compared_is_named_and_left_out(tmp_path):
    """Constant columns, texts, missing and infinite values, and the numbers of the rows."""
    rows = [
        f"{i},{0.5 + 0.03 * i},{i % 5},1,{'x' if i == 3 else i},{'' if i == 4 else i},inf"
        for i in range(8)
    ]
    path = written(tmp_path, *rows, header="id,accuracy,rl,same,text,gap,big")

    found = read_rm_table(path, "rl")

    assert list(found.numbers) == ["accuracy"]
    assert found.left_out == {
        "id": "it numbers the rows",
        "same": "it is 1 in all rows",
        "text": "'x' in row 5 is no number",
        "gap": "no value in row 6",
        "big": "inf in row 2 is not finite",
    }


@pytest.mark.parametrize(
    ("rows", "outcome", "group", "message"),
    [
        (GOOD, "rll", None, "no column 'rll' for the outcome. Did you mean 'rl'?"),
        (GOOD, "rl", "lineage", "no column 'lineage' for the group"),
        (GOOD, "rm", None, "the outcome 'rm' cannot be used: 'm0' in row 2 is no number"),
        (GOOD, "rl", "rl", "cannot be both the outcome and the group"),
        ([*GOOD, "m9,0.9,,a"], "rl", None, "no value in row 10"),
        ([*GOOD, "m9,0.9,3,"], "rl", "kind", "'kind' is empty in row 10"),
        ([*GOOD, "m9,0.9,3"], "rl", None, "the header has 4 columns; row 10 has another number"),
        (GOOD[:3], "rl", None, "3 reward models below the header; 5 or more are needed"),
        ([f"m{i},1,{i},a" for i in range(6)], "rl", None, "no column of numbers beside 'rl'"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(tmp_path, rows, outcome, group, message):
    """The error names the file, the place and what is wrong."""
    with pytest.raises(UsageError) as error:
        read_rm_table(written(tmp_path, *rows), outcome, group)

    assert message in str(error.value)
    assert "table.csv" in str(error.value)


def test_a_reward_model_that_stands_twice_is_noted(tmp_path):
    """It counts twice, and the page says so."""
    found = read_rm_table(written(tmp_path, *GOOD, GOOD[0]), "rl")

    assert found.notes == (
        "2 rows are the same in every number, first row 2: one reward model counts 2 times",
    )


def test_the_command_has_no_traceback_for_a_wrong_table(tmp_path, capsys):
    """Exit code 2 and one sentence; markup in a name stays text on the page."""
    missing = ["study", "--table", str(tmp_path / "no.csv"), "--outcome", "rl"]
    assert main([*missing, "--out", str(tmp_path / "out")]) == 2
    assert "no.csv: cannot be read: No such file" in capsys.readouterr().err
    path = written(tmp_path, *GOOD, header="rm,<b>acc</b>,rl,kind")

    assert (
        main(["study", "--table", str(path), "--outcome", "rl", "--out", str(tmp_path / "out")])
        == 0
    )
    assert "<b>" not in (tmp_path / "out/study.html").read_text(encoding="utf-8")
    assert "<b>" not in (tmp_path / "out/study.md").read_text(encoding="utf-8")
