"""Which files are suites; a wrong one is an error, and a run that judged nothing does not pass."""

import json

import pytest

CHECKS = 6


def test_a_wrong_suite_is_a_collection_error_that_names_the_line(gate_both_ways, bench):
    """All problems at once, no traceback, exit code not zero."""
    suite = bench.path / "demo.yaml"
    suite.write_text(
        suite.read_text().replace("at_least: 0.70", "at_leats: 0.70").replace("n: 8", "n: 0")
    )

    result = gate_both_ways()
    output = result.stdout.str()

    assert result.ret != 0
    assert "demo.yaml:6:" in output
    assert "Did you mean 'at_least'?" in output
    assert "demo.yaml:7:" in output
    assert "rmcheck/run/" not in output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n: 8", "n: 11", "has 10 at most"),
        ("over: category, at_least", "over: topic, at_least", "'topic'"),
        (", slices: [category]}", "}\ngolden: {column: gold}", "no label column 'gold'"),
        ("slices: [category]", "slices: [category, topic]", "no slice column 'topic'"),
        ("checks:", "golden: {model: 'hf:nowhere'}\nchecks:", "nowhere does not exist"),
        ("pool.jsonl", "pol.jsonl", "pool.jsonl"),
    ],
)
def test_what_the_pool_cannot_give_is_found_at_collection(gate, bench, old, new, said):
    """Too few responses, no such slice, no such file: named before anything is scored."""
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace(old, new))

    result = gate()

    assert result.ret != 0
    assert said in result.stdout.str()
    assert "rmcheck/run/" not in result.stdout.str()


def test_a_pool_that_nobody_has_labelled_is_not_told_to_take_rewards_for_golden(gate, bench):
    """`golden: null` in every row, beside a column of rewards, as samples of a training have it."""
    pool = bench.path / "pool.jsonl"
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    rows = [{**row, "golden": None, "reward": row["golden"]} for row in rows]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = gate()

    result.stdout.fnmatch_lines(
        [
            "*demo.yaml:4:7: the pool has no label column 'golden'.",
            "*Its label columns: reward. A field that is null in every row is no column.*",
        ]
    )


def test_a_pool_that_is_named_from_the_current_folder_is_told_its_path(gate, bench):
    """A path starts at the suite's folder, so that it holds wherever the run starts."""
    (bench.path / "suites").mkdir()
    (bench.path / "demo.yaml").rename(bench.path / "suites" / "demo.yaml")

    result = gate()

    result.stdout.fnmatch_lines(
        [
            "*suites/demo.yaml:4:14: suites/pool.jsonl: no such file*",
            "*A path starts at the suite's folder: ../pool.jsonl.",
        ]
    )


def test_a_run_that_judged_nothing_does_not_pass(gate_both_ways, bench):
    """With tests but without any check the gate_both_ways would stand open; it does not."""
    (bench.path / "demo.yaml").unlink()
    bench.makepyfile("def test_one(): pass")

    result = gate_both_ways()

    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*no check was run*(0 files taken as suites)"])


BAD_CHECK = "pool: {path: pool.jsonl}\nchecks:\n  - {name: a, metric: accuracy, at_least: 0.99}\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.yaml", f"rmchek: 1\n{BAD_CHECK}", "Did you mean 'rmcheck'?"),
        ("bad.yaml", f"rmcheck 1\n{BAD_CHECK}", "not valid YAML"),
        ("bad.yaml", BAD_CHECK, "no 'rmcheck: 1'"),
        ("bad.yaml", f"rmcheck: 1\n{BAD_CHECK}".encode("utf-16"), "save the file as UTF-8"),
        ("bad.YAML", f"rmcheck: 1\n{BAD_CHECK}", "is below 0.99"),
    ],
)
def test_a_misspelt_suite_beside_a_good_one_is_an_error(gate, bench, name, text, said):
    """What was meant as a suite is never left out without a word."""
    data = text.encode() if isinstance(text, str) else text
    (bench.path / name).write_bytes(data)

    result = gate(model="fake:length_biased")
    output = result.stdout.str()

    assert result.ret not in (0, 5)
    assert f"{name}:" in output
    assert said in output
    assert "2 files taken as suites: " in output


def test_a_yaml_file_that_is_named_is_a_suite_or_an_error(gate, bench):
    """Whoever names a file wants it checked."""
    (bench.path / "other.yaml").write_text("a: 1\n")

    result = gate("demo.yaml", "other.yaml")

    assert result.ret != 0
    result.stdout.fnmatch_lines(["other.yaml:1:1: no 'rmcheck: 1': what format is this?"])


def test_other_yaml_files_are_left_alone(gate, bench):
    """A YAML file that is not a suite is neither collected nor complained about."""
    (bench.path / "other.yaml").write_text("a: [1, 2\n")
    (bench.path / "compose.yaml").write_text("services:\n  rmcheck: {image: x}\n")
    (bench.path / ".gitlab-ci.yml").write_text("rmcheck:\n  script: [make gate]\n")
    (bench.path / "azure.yml").write_text("pool: {vmImage: ubuntu-latest}\nsteps: []\n")

    result = gate()

    result.assert_outcomes(passed=CHECKS)
    result.stdout.fnmatch_lines(["  1 file taken as a suite: demo.yaml"])


def test_the_home_folder_is_expanded_in_a_pool_path(gate, bench, monkeypatch):
    """`~/pool.jsonl` in a suite is what it is in a shell."""
    monkeypatch.setenv("HOME", str(bench.path))
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace("path: pool.jsonl", "path: ~/pool.jsonl"))

    gate("-k", "accuracy").assert_outcomes(passed=5)
