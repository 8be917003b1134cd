"""What a suite file means, as objects."""

from pathlib import Path

import pytest

from rmcheck.errors import SuiteError
from rmcheck.metrics.registry import make_metric
from rmcheck.suite.loader import load_suite, parse_suite
from rmcheck.suite.suite import Check, GoldenSource, PoolSource, ServingSource, Suite

VALID = Path(__file__).parent / "valid"
HEAD = "rmcheck: 1\npool: {path: pool.jsonl}\n"
CHECK = "checks:\n  - {name: accuracy, metric: accuracy, at_least: 0.7}\n"


def one_check(*settings: str) -> Check:
    """The only check of a suite, `name` given."""
    lines = "".join(f"    {line}\n" for line in settings)
    return parse_suite(f"{HEAD}checks:\n  - name: it\n{lines}", "suite.yaml").checks[0]


def test_every_key_is_read():
    """The suite that uses every key loads as exactly these objects."""
    path = VALID / "every_key.yaml"
    accuracy = make_metric("accuracy")

    suite = load_suite(path)

    assert suite == Suite(
        path=path,
        name="every key",
        description="A suite that uses everything there is.",
        pool=PoolSource(
            path=VALID / "../data/pool.jsonl.gz",
            format="native",
            slices=("category", "language"),
            cluster="conversation",
            faults={"duplicate_row": "drop", "empty_answer": "fail"},
        ),
        golden=GoldenSource(column=None, model="hf:ckpt/golden-rm?dtype=float32"),
        serving=ServingSource("http:http://localhost:8000?version=2"),
        inconclusive="warn",
        confidence=0.9,
        too_long="left",
        min_prompts=50,
        resamples=2000,
        seed=0,
        probes=VALID / "../data/probes.yaml",
        checks=(
            Check(
                "accuracy",
                make_metric("accuracy", ties="wrong", average="pairs"),
                at_least=0.7,
                line=22,
            ),
            Check("calibration", make_metric("ece", bins=15, target="soft"), at_most=0.1, line=23),
            Check(
                "best-of-16",
                make_metric("bon_drop_ratio", n=16, min_golden_gain=0.05),
                at_most=0.25,
                line=24,
            ),
            Check("regret", make_metric("predicted_regret", n=256), at_most=0.3, line=25),
            Check(
                "ranking",
                make_metric("ndcg", normalized=True),
                at_least=0.2,
                confidence=0.99,
                line=26,
            ),
            Check("no-regression", accuracy, max_drop=0.01, line=27),
            Check(
                "German code",
                accuracy,
                at_least=0.6,
                where={"category": "code", "language": "de"},
                line=28,
            ),
            Check("worst-domain", accuracy, at_least=0.6, over="category", worst=True, line=29),
            Check("each-language", accuracy, at_least=0.55, over="language", line=30),
            Check("low-domains", accuracy, at_least=0.65, over="category", quantile=0.25, line=31),
        ),
    )


def test_what_is_not_said_has_its_default():
    """The shortest suite is named after its file and takes every default of the dataclasses."""
    path = VALID / "shortest.yaml"

    suite = load_suite(path)

    accuracy = Check("accuracy", make_metric("accuracy"), at_least=0.7, line=4)
    pool = PoolSource(VALID / "pool.jsonl")
    assert suite == Suite(path, "shortest", pool, GoldenSource(), (accuracy,))


def test_anchors_and_merge_keys_are_resolved():
    """A merged check takes over every key that it does not write itself."""
    checks = load_suite(VALID / "merged.yaml").checks

    assert [(check.name, check.criterion.bound, dict(check.where)) for check in checks] == [
        ("ranking", 0.20, {"category": "code"}),
        ("ranking, stricter", 0.25, {"category": "code"}),
        ("accuracy", 0.0, {"category": "code"}),
    ]


def test_one_word_sets_all_faults_that_allow_it():
    """`faults: keep` keeps what can be kept; a row without its fields still fails."""
    faults = load_suite(VALID / "merged.yaml").pool.faults

    assert set(faults.values()) == {"keep"}
    assert "identical_answers" in faults
    assert "malformed_row" not in faults


def test_the_pool_is_relative_to_the_suite_file(tmp_path, monkeypatch):
    """A suite finds its pool from wherever pytest was started."""
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "a.yaml").write_text(HEAD + CHECK)
    monkeypatch.chdir(tmp_path)

    suite = load_suite("suites/a.yaml")

    assert suite.pool.path == folder / "pool.jsonl"
    assert suite.path == Path("suites/a.yaml")


def test_an_absolute_pool_stays_where_it_is():
    """An absolute path is taken as written."""
    assert load_suite(VALID / "merged.yaml").pool.path == Path("/data/pool.parquet")


def test_a_golden_model_is_kept_as_written(tmp_path):
    """Its location is relative to the current directory, like on the command line."""
    text = f"{HEAD}golden: {{model: scores:bundles/golden}}\n{CHECK}"

    suite = parse_suite(text, tmp_path / "a.yaml")

    assert suite.golden == GoldenSource(column=None, model="scores:bundles/golden")


def test_a_serving_engine_is_kept_as_written():
    """Its spec is not opened here; without `serving` there is none."""
    text = f"{HEAD}serving: {{model: 'http:http://host:8000?version=3'}}\n{CHECK}"

    suite = parse_suite(text, "a.yaml")

    assert suite.serving == ServingSource("http:http://host:8000?version=3")
    assert parse_suite(HEAD + CHECK, "a.yaml").serving is None


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ("http:http://host:8000", "Write serving: {model: http:http://host:8000}"),
        ("{}", "serving has no 'model'"),
        ("{modell: hf:a}", "unknown key 'modell' in serving. Did you mean 'model'?"),
        ("{model: runs/rm}", "has no scheme"),
    ],
)
def test_a_serving_engine_is_a_mapping_with_a_model(serving, said):
    """What it is instead is shown, with how to write it."""
    with pytest.raises(SuiteError) as caught:
        parse_suite(f"{HEAD}serving: {serving}\n{CHECK}", "a.yaml")

    assert said in str(caught.value)


def test_a_golden_column_excludes_the_default_model():
    """A column is all there is to say."""
    suite = parse_suite(f"{HEAD}golden: {{column: human}}\n{CHECK}", "a.yaml")

    assert suite.golden == GoldenSource(column="human", model=None)


@pytest.mark.parametrize("seed", [0, -3, 12345678901234567890])
def test_any_whole_number_is_a_seed(seed):
    """0 is a seed like any other."""
    assert parse_suite(f"{HEAD}seed: {seed}\n{CHECK}", "a.yaml").seed == seed


@pytest.mark.parametrize(
    ("written", "value"),
    [("0.7", 0.7), ("1", 1.0), ("7e-1", 0.7), (".5", 0.5), ("+0.5", 0.5), ("5.0e-1", 0.5)],
)
def test_a_bound_is_written_as_decimal_numbers_are(written, value):
    """Also without a point before the exponent, which YAML 1.1 takes for text."""
    assert one_check("metric: accuracy", f"at_least: {written}").at_least == value


@pytest.mark.parametrize("written", ["no", "010", "2024-01-31", "1e3", "'  '", "1_000"])
def test_a_slice_value_is_taken_as_written(written):
    """YAML's idea of `no` and `010` does not change which prompts count."""
    check = one_check("metric: accuracy", "at_least: 0.7", f"where: {{category: {written}}}")

    assert check.where == {"category": written.strip("'")}


def test_a_bound_at_the_end_of_the_range_is_allowed():
    """Accuracy 1 can be met, and a drop ratio of 0 too."""
    assert one_check("metric: accuracy", "at_least: 1").criterion.bound == 1
    assert one_check("metric: bon_drop_ratio", "n: 4", "at_most: 0").criterion.bound == 0


@pytest.mark.parametrize("worst", ["true", "True", "yes", "on"])
def test_truth_is_what_yaml_says(worst):
    """Every YAML 1.1 word for true is one."""
    assert one_check("metric: accuracy", "at_least: 0.7", "over: c", f"worst: {worst}").worst


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    """A file saved by Windows' Notepad loads, and its first line is line 1."""
    path = tmp_path / "bom.yaml"
    path.write_text("\ufeff" + HEAD + CHECK, encoding="utf-8")

    assert load_suite(path).checks[0].line == 4


def test_any_column_may_be_named_where_the_pool_lists_none():
    """Without `slices` the columns are known only when the pool is read."""
    assert one_check("metric: accuracy", "at_least: 0.7", "over: anything").over == "anything"


def test_a_setting_the_metric_cannot_have_in_yaml_is_unknown():
    """What `fitted` keeps on a metric is no setting of a check."""
    with pytest.raises(SuiteError, match=r"unknown key 'edges' in check 'it'"):
        one_check("metric: ece", "at_most: 0.1", "edges: [0.5]")


@pytest.mark.parametrize("path", sorted(VALID.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_valid_file_loads(path):
    """The examples of every way of writing hold checks that each require one thing."""
    suite = load_suite(path)

    assert [len({c.at_least, c.at_most, c.max_drop} - {None}) for c in suite.checks] == [
        1 for _ in suite.checks
    ]
