"""A check on a quantile of slices, through the whole gate."""

import json

SUITE = """\
rmcheck: 1
name: demo
resamples: 500
min_prompts: 10
pool: {path: pool.jsonl, slices: [category]}
checks:
  - {name: each, metric: accuracy, over: category, at_least: 0.5}
  - {name: quartile, metric: accuracy, over: category, quantile: 0.25, at_least: 0.5}
  - {name: drop-quartile, metric: accuracy, over: category, quantile: 0.25, max_drop: 0.6}
"""


def test_the_lower_quartile_of_slices_is_one_check_on_one_slice(bench, gate):
    """Of five slices the second worst is judged, whose name and place the report gives."""
    rows = [json.loads(line) for line in (bench.path / "pool.jsonl").read_text().splitlines()]
    rows = [row | {"category": "abcde"[i % 5]} for i, row in enumerate(rows)]
    (bench.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench.path.joinpath("demo.yaml").write_text(SUITE)

    gate("--rmcheck-report=out", model="fake:length_biased").assert_outcomes(passed=7)
    checks = json.loads((bench.path / "out" / "report.json").read_text())["checks"]
    each = sorted((c["value"], c["slice"]) for c in checks if c["name"] == "each")
    (quartile,) = (c for c in checks if c["name"] == "quartile")
    (drop,) = (c for c in checks if c["name"] == "drop-quartile")

    assert (quartile["value"], quartile["slice"]) == each[1]
    assert quartile["lower"] < next(c["lower"] for c in checks if c["slice"] == quartile["slice"])
    assert quartile["note"].startswith("quantile 0.25, from the worst, of 5: ")
    # The baseline is perfect, so the second largest drop is on the slice of second least accuracy.
    assert drop["slice"] == quartile["slice"]
