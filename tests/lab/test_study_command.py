"""`rmcheck study FILE`: from YAML to pages, and what is wrong with data that cannot be studied."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from rmcheck.cli import main
from rmcheck.errors import SuiteError, UsageError
from rmcheck.lab.study.rewrites import offline, rewritten_prompts, unchanged
from rmcheck.lab.study.rl_table import rl_outcomes
from rmcheck.lab.study.scored_family import left
from rmcheck.lab.study.study import scored_study
from rmcheck.lab.study.study_file import load_study
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.traits import TRAITS

ROOT = Path(__file__).resolve().parents[2]
MODELS = """
  exact: {column: golden}
  one: {model: "fake:perfect?noise=0.5&seed=1", group: noisy}
  two: {model: "fake:perfect?noise=1&seed=2", group: noisy}
  four: {model: "fake:perfect?noise=2&seed=3", group: noisy}
  long: {model: "fake:length_biased", group: other}
"""


def written(folder, *, models=MODELS, pool="pool: {path: pool.jsonl, category: topic}", more=""):
    """A study of a pool of 30 prompts with 8 responses each."""
    rng = np.random.default_rng(0)
    with (folder / "pool.jsonl").open("w", encoding="utf-8") as file:
        for i in range(30):
            row = {
                "prompt_id": f"p{i}",
                "prompt": f"please name a <b>colour</b> {i}",
                "responses": [f"answer {i} {j} " + "x " * int(rng.integers(40)) for j in range(8)],
                "golden": rng.normal(size=8).round(4).tolist(),
                "topic": "ab"[i % 2],
            }
            file.write(json.dumps(row) + "\n")
    path = folder / "study.yaml"
    text = f"study: 1\nname: colours <i>\n{pool}\nmodels:{models}test_sets: 20\n{more}"
    path.write_text(text, encoding="utf-8")
    return path


def studied(folder, **parts):
    """The exit code of the command, its store in the folder."""
    path, store = written(folder, **parts), str(folder / "store")
    return main(["study", str(path), "--out", str(folder / "out"), "--store", store])


def test_a_study_writes_every_table_and_figure_that_its_data_allow(tmp_path, capsys):
    """CSV, Markdown, JSON and one page without scripts, in the order of the paper."""
    more = (
        "rewrites: {policy: offline, shares: [0, 1]}\n"
        "other_pools: {elsewhere: {path: pool.jsonl}}\nn: 2\nkl_penalties: [1]\n"
    )

    assert studied(tmp_path, more=more) == 0

    names = ["1", "2", "3", "4", "7"]
    out = tmp_path / "out"
    assert all((out / f"table-{name}.csv").is_file() for name in names)
    page = (out / "study.html").read_text(encoding="utf-8")
    found = re.findall(r'<section id="([^"]+)"', page)
    assert found[:5] == [f"table-{name}" for name in names]
    assert {"figure-3", "figure-4", "figure-5", "figure-6", "figure-8", "figure-9"} <= set(found)
    assert {"figures-10-11", "figure-12", "figure-15", "picked-texts"} <= set(found)
    assert "did not rank what PPO made of them" in page
    data = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert set(data["findings"]) == set(found)
    with (out / "table-4.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["metric"] for row in rows} >= {"accuracy", "xi", "accuracy-pair"}
    assert all(-1 <= float(row["Spearman"]) <= 1 for row in rows if row["Spearman"])
    assert "written" in capsys.readouterr().out


def test_the_page_runs_no_code_loads_nothing_and_shows_names_as_text(tmp_path):
    """A strict policy, no script and no other file."""
    studied(tmp_path)
    page = (tmp_path / "out/study.html").read_text(encoding="utf-8")

    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "<script" not in page
    assert "<i>" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_same_study_gives_the_same_files(tmp_path):
    """To the byte; the second run finds its scores in the store or makes the same."""
    studied(tmp_path)
    first = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    studied(tmp_path)

    assert first == {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}


def test_a_study_runs_no_code_unless_it_is_trusted(tmp_path, monkeypatch, capsys):
    """A file that somebody sends names `python:`; nothing of it is imported."""
    (tmp_path / "evil_rules.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert studied(tmp_path, models=MODELS + '  rule: "python:evil_rules:score?version=1"\n') == 2
    assert "--trust-suites" in capsys.readouterr().err


def test_a_study_that_was_killed_finds_its_scores_in_the_store(tmp_path, monkeypatch, capsys):
    """What was scored before is not scored again: here by a model that fails the second time."""
    counted = "return [float(r.count('1') + 3 * r.count('2')) for r in responses]"
    rules = f"def letters(prompts, responses):\n    {counted}\n"
    (tmp_path / "study_rules.py").write_text(rules, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    models = MODELS + '  rule: "python:study_rules:letters?version=1"\n'
    path = written(tmp_path, models=models)
    arguments = ["study", str(path), "--store", str(tmp_path / "store"), "--trust-suites"]

    def unsaid(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("rmcheck.lab.study.study.Study.findings", unsaid)
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 130
    first = capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0

    assert "study_rules:letters" in first
    assert "study_rules:letters" not in capsys.readouterr().err


def test_one_golden_judges_all(tmp_path):
    """Four pairs instead of twenty, and a figure of models against it."""
    study = scored_study(load_study(written(tmp_path, more="golden: exact\n")), tmp_path / "store")

    assert len(study.experiment.tested.pairs) == 4
    assert "golden: exact; 4 pairs" in study.facts[0]


def test_everything_wrong_with_the_file_is_said_at_once(tmp_path):
    """Each with its line, a caret and what is valid."""
    path = written(
        tmp_path,
        models="\n  exact: {colum: golden}\n  one: perfect\n",
        more="golden: nobody\nresamples: 4\nmetrics: [acuracy]\nleave_out: [twins]\nn: 1\n",
    )

    with pytest.raises(SuiteError) as error:
        load_study(path)

    said = str(error.value)
    for part in (
        "unknown key 'colum' of model 'exact'. Did you mean 'column'?",
        "model 'exact' is either a model or a column of the pool",
        "golden 'nobody' is no model of this study",
        "unknown key 'resamples'",
        "unknown metric 'acuracy'. Did you mean 'accuracy'?",
        "twins",
        "'n' must be at least 2, not 1",
        "^^^",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file holds nothing"),
        ("- 1\n", "a study is a mapping, not a list"),
        ("pool: {path: x}\n", "no 'study: 1': what format is this?"),
        ("study: 2\n", "unknown format 'study: 2'"),
        ("study: 1\n", "the study has no 'pool'"),
    ],
)
def test_a_file_that_is_no_study_says_how_one_begins(tmp_path, text, said):
    """One message, and the two keys that every study has."""
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match=re.escape(said)):
        load_study(path)


def family_left(tmp_path, scores, more=""):
    """What is left of these (R, P, N) scores of the five models."""
    file = load_study(written(tmp_path, pool="pool: {path: pool.jsonl}", more=more))
    prompts = [Prompt(f"p{i}", (Message("user", "q"),), ("a",) * 6, {}) for i in range(20)]
    return left(file, file.pool, prompts, scores, [])


@pytest.mark.parametrize(
    ("fault", "spoil", "said"),
    [
        ("identical", lambda s: s.__setitem__(2, 3 * s[1] + 1), "two orders all responses"),
        ("constant", lambda s: s.__setitem__(4, 1.0), "long gives all responses"),
        ("missing", lambda s: s.__setitem__((3, 0, 0), np.nan), "four has no reward for some"),
    ],
)
def test_faults_are_named_and_left_out_only_by_choice(tmp_path, fault, spoil, said):
    """Refused with the key to write; with it, left out and noted."""
    scores = np.random.default_rng(0).normal(size=(5, 20, 6))
    spoil(scores)

    with pytest.raises(UsageError) as error:
        family_left(tmp_path, scores.copy())
    found = family_left(tmp_path, scores, f"leave_out: [{fault}]\n")

    assert said in str(error.value)
    assert f"`leave_out: [{fault}]`" in str(error.value)
    assert len(found.notes) == 1
    assert said in found.notes[0]
    assert np.isfinite(found.family.scores).all()
    assert found.family.scores.shape[:2] == ((5, 19) if fault == "missing" else (4, 20))


def test_a_proxy_that_is_the_golden_is_left_out_and_the_golden_stays(tmp_path):
    """Whichever of the two stands first in the file."""
    scores = np.random.default_rng(0).normal(size=(5, 20, 6))
    scores[1] = scores[3]

    found = family_left(tmp_path, scores, "leave_out: [identical]\ngolden: four\n")

    assert found.family.names == ("exact", "two", "four", "long")
    assert found.family.fixed_golden == "four"


def test_prompts_of_different_sizes_ask_how_many_responses_are_used(tmp_path, capsys):
    """Nothing is cut without `per_prompt`."""
    path = written(tmp_path)
    rows = (tmp_path / "pool.jsonl").read_text().splitlines()
    short = json.loads(rows[0])
    short["responses"], short["golden"] = short["responses"][:4], short["golden"][:4]
    (tmp_path / "pool.jsonl").write_text("\n".join([json.dumps(short), *rows[1:]]) + "\n")

    assert main(["study", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "prompts have 4 to 8 responses" in capsys.readouterr().err
    study = scored_study(load_study(written_again(path, "per_prompt: 8\n")), tmp_path / "store")
    assert study.experiment.tested.prompts == 29
    assert "1 of 30 prompts have fewer than 8 responses and are left out" in study.facts


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("n: 5\n", "n is 5; policies choose among 4 responses"),
        ("per_prompt: 5\n", "metrics see 2 responses a prompt, of the half that policies do not"),
        ("responses: 2\n", "xi needs 3"),
    ],
)
def test_too_few_responses_are_told_before_anything_is_scored(tmp_path, capsys, more, said):
    """For best-of-n, and for what metrics need of their half."""
    assert studied(tmp_path, more=more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_what_is_left_out_of_another_pool_is_told(tmp_path):
    """With the name of that pool."""
    path = written(tmp_path, more="per_prompt: 8\nother_pools: {there: {path: there.jsonl}}\n")
    rows = (tmp_path / "pool.jsonl").read_text().splitlines()
    short = json.loads(rows[0])
    short["responses"], short["golden"] = short["responses"][:4], short["golden"][:4]
    (tmp_path / "there.jsonl").write_text("\n".join([json.dumps(short), *rows[1:]]) + "\n")

    study = scored_study(load_study(path), tmp_path / "store")

    assert "there: 1 of 30 prompts have fewer than 8 responses and are left out" in study.facts


def written_again(path, more):
    """The same file with more keys."""
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    return path


def test_one_model_under_two_names_is_refused_before_anything_is_scored(tmp_path, capsys):
    """By the fingerprint."""
    twice = MODELS + '  again: {model: "fake:length_biased"}\n'

    assert studied(tmp_path, models=twice) == 2
    assert "'long' and 'again' are one model" in capsys.readouterr().err


RL = "rm,golden,optimizer,seed,kl,proxy,golden_reward,ndr,regret"


def rl_table(folder, *rows):
    """A table of RL runs."""
    path = folder / "rl.csv"
    path.write_text("\n".join([RL, *rows]) + "\n", encoding="utf-8")
    return path


def rows_of(seeds=(0, 1), drop=(), ndr=None):
    """Runs of four models against golden exact."""
    return [
        f"{rm},exact,ppo,{seed},3,1,1,{(ndr or {}).get((rm, seed), 0.9 - 0.1 * i + 0.01 * seed)},0"
        for i, rm in enumerate(("one", "two", "four", "long"))
        for seed in seeds
        if (rm, seed) not in drop
    ]


def five(tmp_path):
    """The family of the five models."""
    scores = np.random.default_rng(0).normal(size=(5, 20, 6))
    return family_left(tmp_path, scores).family


def test_rl_runs_are_an_outcome_with_a_ceiling_of_two_seeds(tmp_path):
    """Pairs that were not run are none; one seed has no ceiling."""
    family = five(tmp_path)

    (two,), _ = rl_outcomes(rl_table(tmp_path, *rows_of()), family, ())
    (one,), _ = rl_outcomes(rl_table(tmp_path, *rows_of(seeds=(0,))), family, ())

    assert np.isfinite(two.kept).sum() == 4
    assert two.kept[np.isfinite(two.kept)] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert two.again[np.isfinite(two.again)] == pytest.approx([0.91, 0.81, 0.71, 0.61])
    assert one.again is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of(drop=[("two", 1)]), "two against exact has no run with seed 1"),
        (rows_of(ndr={("two", 1): "nan"}), "seed 1: has the ndr 'nan', that run failed"),
        (rows_of(ndr={("two", 1): ""}), "row 5, ppo, two against exact, seed 1: has no ndr"),
        ([*rows_of(), rows_of()[0]], "row 10 repeats the run of an earlier row"),
        ([*rows_of(drop=[("two", 1)]), "two,exact,ppo,,3,1,1,0.8,0"], "row 9 has no seed"),
    ],
)
def test_failed_runs_and_missing_seeds_are_left_out_only_by_choice(tmp_path, rows, said):
    """Named with the row; a pair that lacks a half of its seeds then has no outcome."""
    family, path = five(tmp_path), rl_table(tmp_path, *rows)

    with pytest.raises(UsageError, match=re.escape(said)):
        rl_outcomes(path, family, ())
    (outcome,), notes = rl_outcomes(path, family, ("failed_runs",))

    assert any(said in note for note in notes)
    assert np.isfinite(outcome.kept).sum() == (4 if "repeats" in said else 3)


def test_the_reason_why_a_run_failed_is_told_where_the_table_has_it(tmp_path):
    """In its column `note`, as the laboratory writes it."""
    path = tmp_path / "rl.csv"
    path.write_text(
        "rm,golden,optimizer,seed,ndr,note\none,exact,ppo,0,,stopped itself at step 40\n",
        encoding="utf-8",
    )

    with pytest.raises(UsageError, match=re.escape("failed (stopped itself at step 40)")):
        rl_outcomes(path, five(tmp_path), ())


def test_a_table_of_other_models_or_columns_is_no_table_of_this_study(tmp_path):
    """With what it has."""
    family = five(tmp_path)

    with pytest.raises(UsageError, match="'nobody' are no models of this study"):
        rl_outcomes(rl_table(tmp_path, "nobody,exact,ppo,0,1,1,1,1,0"), family, ())
    (tmp_path / "rl.csv").write_text("rm,golden\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no column 'optimizer', 'seed', 'ndr'"):
        rl_outcomes(tmp_path / "rl.csv", family, ())


def asked(*texts):
    """Prompts of these texts."""
    return [
        Prompt(f"p{i}", (Message("user", text),), ("a", "b"), {}) for i, text in enumerate(texts)
    ]


def test_the_offline_rewriter_changes_every_text_and_always_in_the_same_way():
    """Known words are exchanged, others are opened politely; a rewriting asks for more."""
    for text in ("Please list three birds", "2 + 2"):
        for way in ("paraphrased", "rewritten"):
            assert offline(text, way) != text
            assert offline(text, way) == offline(text, way)
    assert offline("Please list three birds", "paraphrased") == "kindly name three birds"


def test_a_policy_that_gives_the_same_text_back_is_noticed():
    """White space aside; responses stay as they are."""
    prompts = asked("say  yes", "no")

    said = rewritten_prompts(prompts, "fake:say yes", "paraphrased", 0)

    assert unchanged(prompts, said) == ["p0"]
    assert [prompt.responses for prompt in said] == [("a", "b")] * 2


def test_the_small_study_in_the_repository_is_a_study():
    """Its file is read, and its models are there."""
    file = load_study(ROOT / "suites" / "study-small.yaml")

    assert len(file.models) == 10
    assert file.pool.path.is_file()
    folders = [m.model.removeprefix("hf:") for m in file.models if (m.model or "").startswith("hf")]
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_the_study_shows_that_a_model_of_length_picks_long_texts(tmp_path):
    """Beyond what golden picks, and no such thing of the noisy copies of golden."""
    studied(tmp_path, more="golden: exact\n")
    data = json.loads((tmp_path / "out/study.json").read_text(encoding="utf-8"))
    rows = data["findings"]["picked-texts"]["rows"]

    assert {row["proxy"] for row in rows} == {"one", "two", "four", "long"}
    assert {row["trait"] for row in rows} == {*TRAITS, "rare words"}
    longer = {row["proxy"]: row for row in rows if row["trait"] == "words"}
    assert longer["long"]["change by proxy lower"] > 0
    assert longer["long"]["beyond golden lower"] > 0
    assert longer["one"]["beyond golden lower"] < 0 < longer["one"]["beyond golden upper"]


def test_runs_at_equal_kl_are_an_outcome_of_their_own(tmp_path):
    """A pair without such a number has none there, and its end all the same."""
    rows = [row + (",0.5" if "two" not in row else ",") for row in rows_of()]
    path = tmp_path / "rl.csv"
    path.write_text("\n".join([f"{RL},ndr_matched", *rows]) + "\n", encoding="utf-8")

    end, equal = rl_outcomes(path, five(tmp_path), ())[0]

    assert (end.name, equal.name) == ("ppo", "ppo at matched KL")
    assert np.isfinite(end.kept).sum() == 4
    assert equal.kept[np.isfinite(equal.kept)] == pytest.approx([0.5] * 3)
