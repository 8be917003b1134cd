"""Responses that nobody has labelled stay in the pool: scored, ranked, and never measured."""

import json

import numpy as np
import pytest

SUITE = """\
rmcheck: 1
name: demo
resamples: 300
pool: {path: POOL, slices: [category]FAULTS}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.60}
  - {name: best-of-3, metric: bon_drop_ratio, n: 3, at_most: 0.9}
  - {name: by-category, metric: accuracy, over: category, at_least: 0.60}
  - {name: no-regression, metric: accuracy, max_drop: 0.2}
"""


def write(bench, *, keep=4, drawn=True):
    """`few.jsonl`, with labels of some responses, and `alone.jsonl`, with these responses alone."""
    rng = np.random.default_rng(3)
    few, alone = [], []
    for line in bench.path.joinpath("pool.jsonl").read_text().splitlines():
        row = json.loads(line)
        chosen = np.sort(rng.choice(10, keep, replace=False))
        golden = [g if j in chosen else None for j, g in enumerate(row["golden"])]
        marks = {"to_label": [int(j in chosen) for j in range(10)]} if drawn else {}
        few.append({**row, "golden": golden, **marks})
        alone.append(
            {
                **row,
                "responses": [row["responses"][j] for j in chosen],
                "golden": [row["golden"][j] for j in chosen],
            }
        )
    for name, rows in (("few", few), ("alone", alone)):
        bench.path.joinpath(f"{name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
        for faults, text in (("", ""), ("-keep", ", faults: {missing_label: keep}")):
            suite = SUITE.replace("POOL", f"{name}.jsonl").replace("FAULTS", text)
            bench.path.joinpath(f"{name}{faults}.yaml").write_text(suite)


def numbers(result, bench):
    """What the report says of each check."""
    report = json.loads((bench.path / "out" / "report.json").read_text())
    keys = ("name", "slice", "value", "lower", "upper", "n", "verdict", "mistakes")
    return [{key: check[key] for key in keys} for check in report["checks"]], report


@pytest.mark.parametrize("drawn", [True, False], ids=["to_label says so", "the suite says so"])
def test_metrics_are_those_of_the_labelled_responses(gate, bench, drawn):
    """Value, bounds, verdicts and mistakes are those of the pool without the others."""
    write(bench, drawn=drawn)
    options = {"model": "fake:length_biased", "baseline": "fake:random"}

    gate("alone.yaml", "--rmcheck-report=out", **options)
    expected, alone = numbers(None, bench)
    gate("few.yaml" if drawn else "few-keep.yaml", "--rmcheck-report=out", **options)
    found, few = numbers(None, bench)

    assert found == expected
    assert few["suites"][0]["pool"]["responses"] == 900
    assert alone["suites"][0]["pool"]["responses"] == 360


def test_without_a_word_missing_labels_fail(gate, bench):
    """Neither `to_label` nor the suite says that they are meant: an error, as ever."""
    write(bench, drawn=False)

    result = gate("few.yaml", model="fake:length_biased", baseline="fake:random")

    assert result.ret != 0
    assert "missing_label: 90 in 90 prompts" in result.stdout.str()
    assert "missing_label: keep" in result.stdout.str()


@pytest.mark.parametrize("model", ["fake:perfect", "ensemble:fake:length_biased,fake:random"])
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_every_kind_of_model_scores_them(gate, bench, model, workers):
    """Fakes that repeat golden and ensembles with columns of their own, under xdist too."""
    write(bench)

    result = gate("few.yaml", *workers, model=model, baseline="fake:random")

    result.assert_outcomes(passed=5)


def test_adaptive_looks_and_bundles_take_them_along(gate, bench):
    """A part of the pool has its unlabelled responses, and a bundle their scores."""
    write(bench)
    suite = (bench.path / "few.yaml").read_text().replace("resamples: 300", "adaptive: true")
    (bench.path / "few.yaml").write_text(suite)

    from rmcheck.cli import main

    code = main(["score", "few.yaml", "--model=fake:length_biased", "--bundle=scores.parquet"])
    result = gate(
        "few.yaml", "--rmcheck-report=out", model="scores:scores.parquet", baseline="fake:random"
    )

    assert code == 0
    spared = json.loads((bench.path / "out" / "report.json").read_text())["suites"][0]["adaptive"]
    assert spared["of_responses"] == 900
    assert spared["responses"] == 10 * spared["prompts"]
    assert result.parseoutcomes()["passed"] >= 3


def test_another_unlabelled_text_is_another_pool(bench):
    """It changes ranks, so it changes the fingerprint that histories go by."""
    from rmcheck.run.load import load

    write(bench)
    first = load(bench.path / "few.yaml").fingerprint
    text = (bench.path / "few.jsonl").read_text()
    (bench.path / "few.jsonl").write_text(text.replace("word0 ", "wordy ", 1))

    assert load(bench.path / "few.yaml").fingerprint != first
