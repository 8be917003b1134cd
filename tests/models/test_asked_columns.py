"""Columns of a pool that a reward asks for: by a function's parameters, by a judge's template."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from stored_scores import fill, scores_of

from rmcheck.errors import PoolError, ScoringError, UsageError
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.kinds.judge.template import JudgeTemplate
from rmcheck.models.kinds.judge.yes_no import YesNoJudge
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.asked import AskedColumns, Given
from rmcheck.pool.pool import Message
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.request import PoolSamples, Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore

SOURCE = """
import functools

def verify(prompts, responses, ground_truth):
    return [float(str(t) in r) for r, t in zip(responses, ground_truth)]

def typed(prompts, responses, ground_truth):
    return [float(type(t) is int) for t in ground_truth]

def weighed(prompts, responses, style, *, weight=None):
    assert weight is None or len(weight) == len(responses)
    return [0.0 if weight is None else float(w or 0) for w in (weight or responses)]

def everything(prompts, responses, **columns):
    return [float(len([n for n, v in columns.items() if v[i] is not None]))
            for i in range(len(responses))]

def plain(prompts, responses):
    return [float(len(r)) for r in responses]

def unit(function):
    @functools.wraps(function)
    def inner(*arguments, **columns):
        return function(*arguments, **columns)
    return inner

@unit
def decorated(prompts, responses, ground_truth):
    return verify(prompts, responses, ground_truth)

raise_at_import = False
"""

ROWS = [
    {"prompt": "2 + 2?", "responses": ["4", "5"], "golden": [1, 0], "ground_truth": 4},
    {"prompt": "2 + 3?", "responses": ["4", "5"], "golden": [0, 1], "ground_truth": 5},
]


@pytest.fixture
def folder(tmp_path):
    """A folder with the module `column_rewards`, forgotten afterwards."""
    (tmp_path / "column_rewards.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("column_rewards", None)


def pool_of(folder, rows):
    """A pool of these rows."""
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_pool(path)


def scored(folder, function, rows):
    """Rewards of a function on a pool of these rows."""
    store = MemoryStore()
    model = open_model(f"python:column_rewards:{function}", base=folder)
    request = Request(model, PoolSamples(pool_of(folder, rows)))
    fill_requests([request], store)
    return read_scores(request, store).scores.tolist()


@pytest.mark.parametrize("function", ["verify", "decorated"])
def test_a_parameter_is_a_column(folder, function):
    """The function gets the values of its rows under the parameter's name."""
    assert scored(folder, function, ROWS) == [1, 0, 0, 1]


def test_a_list_has_one_value_a_response(folder):
    """Each response gets its own."""
    rows = [{"prompt": "Sum?", "responses": ["4", "5"], "ground_truth": ["9", "5"]}]

    assert scored(folder, "verify", rows) == [0, 1]


def test_a_number_stays_what_it_was_written_as(folder):
    """A ground truth of 4 is no 4.0 and no text, in either of our own formats."""
    rows = [
        {"prompt": r["prompt"], "response": r["responses"][0], "golden": 1, "ground_truth": 4}
        for r in ROWS
    ]

    assert scored(folder, "typed", ROWS) == [1, 1, 1, 1]
    assert scored(folder, "typed", rows) == [1, 1]


def test_responses_of_one_row_each_have_their_own_value(folder):
    """Rows of one conversation become one prompt, and a text that differs stays with its row."""
    rows = [
        {"prompt": "Sum?", "response": "4", "golden": 1, "ground_truth": "9"},
        {"prompt": "Sum?", "response": "5", "golden": 0, "ground_truth": "5"},
    ]

    assert scored(folder, "verify", rows) == [0, 1]


def test_a_parameter_with_a_default_may_be_missing(folder):
    """In the pool, then it is not given; or in a row, then it is None there."""
    rows = [{**row, "style": "short"} for row in ROWS]
    some = [{**rows[0], "weight": [3.0, 2.0]}, rows[1]]

    assert scored(folder, "weighed", rows) == [0, 0, 0, 0]
    assert scored(folder, "weighed", some) == [3, 2, 0, 0]


def test_all_columns_are_all_but_golden(folder):
    """`**columns` takes what the pool has, and never what rewards are judged by."""
    rows = [{**row, "style": "short", "facts": {"a": 1}, "odd": ["x"]} for row in ROWS]

    assert scored(folder, "everything", rows) == [3, 3, 3, 3]


def test_equal_texts_with_another_ground_truth_are_two_scores(folder):
    """The columns are part of the score's key; what does not ask for them keeps the key it had."""
    pool = pool_of(folder, [ROWS[0], {**ROWS[0], "ground_truth": 5}])
    model = open_model("python:column_rewards:verify?version=1", base=folder)
    plain = open_model("python:column_rewards:plain?version=1", base=folder)
    store = MemoryStore()
    asking, other = Request(model, PoolSamples(pool)), Request(plain, PoolSamples(pool))
    fill_requests([asking], store)

    assert read_scores(asking, store).scores.tolist() == [1, 0, 0, 1]
    assert len(np.unique(asking.keys, axis=0)) == 4
    assert other.keys.tolist() == pool.keys.tolist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{**ROWS[0], "ground_truht": 4, "ground_truth": None}],
            "no column 'ground_truth'. Did you mean 'ground_truht'? Its columns: ground_truht.",
        ),
        ([ROWS[0], {**ROWS[1], "ground_truth": None}], "1 of 2 prompts have no column"),
        ([{**ROWS[0], "ground_truth": ["4", None]}, ROWS[1]], "line 1"),
        ([{**ROWS[0], "ground_truth": ["4", "5", "6"]}], "has 3 values for 2 responses"),
    ],
)
def test_a_column_that_the_pool_cannot_give(folder, rows, said):
    """The column is named with those there are, the rows, or its length."""
    with pytest.raises(PoolError, match=r"ground_truth") as caught:
        scored(folder, "verify", rows)

    assert said in str(caught.value)


def test_no_reward_reads_what_it_is_judged_by(folder):
    """Not golden, whatever the suite calls it."""
    given = Given(
        AskedColumns(("human",)), pool_of(folder, [{**ROWS[0], "human": 1}]), frozenset({"human"})
    )

    assert given.problem().startswith("column 'human' is what rewards are judged by")


def test_texts_without_columns_are_refused(folder):
    """Where a test or a policy scores texts of its own, the missing column is named."""
    model = open_model("python:column_rewards:verify", base=folder)
    sample = Sample("a", 0, (), "4")

    with pytest.raises(ScoringError, match="asks for the column 'ground_truth'"):
        fill(model, [sample], MemoryStore())


def test_texts_with_columns_of_their_own_are_scored(folder):
    """A sample can be made with them."""
    model, store = open_model("python:column_rewards:verify", base=folder), MemoryStore()
    samples = [Sample("a", 0, (), "4", columns={"ground_truth": truth}) for truth in (4, 5)]
    fill(model, samples, store)

    assert scores_of(model, samples, store).scores.tolist() == [1, 0]


def test_columns_are_found_without_running_the_module(folder):
    """What a plain function asks for is read from its source."""
    path = folder / "column_rewards.py"
    path.write_text(path.read_text() + "\n1 / 0\n")
    model = open_model("python:column_rewards:weighed", base=folder)

    assert model.asked == AskedColumns(("style",), ("weight",))


def test_a_template_reads_columns():
    """Any name but messages, prompt and response is one; it is text, and no template."""
    template = JudgeTemplate("{{ reference }} {{ prompt }} {{ response }} {{ rubric.style }}")
    columns = {"reference": "{{ 7 * 7 }}", "rubric": {"style": "short"}}
    sample = Sample("a", 0, (Message("user", "Q"),), "A", columns=columns)

    assert template.columns == ("reference", "rubric")
    assert template.texts([sample]) == ["{{ 7 * 7 }} Q A short"]


def test_a_misspelt_variable_of_a_judge_is_a_column_that_is_not_there(folder):
    """The near miss is told, be it a column or a variable."""
    (folder / "judge.yaml").write_text(
        "engine: hf:judge\nprompt: '{{ promt }} {{ response }}'\nread: {yes: [Yes], no: [No]}\n"
    )
    engine = SimpleNamespace(kept=True, fingerprint="0" * 64, prefix="off")
    judge = read_judge_file(folder / "judge.yaml")
    asked = YesNoJudge(judge, "judge:judge.yaml", engine).asked

    with pytest.raises(PoolError, match=r"no column 'promt'\. Did you mean 'prompt'\?"):
        PoolSamples(pool_of(folder, ROWS)).reading(asked)


def test_a_template_elsewhere_reads_no_columns(folder):
    """A message would name them, and whoever wrote the judge file may not see that file."""
    (folder / "judges").mkdir()
    (folder / "ask.jinja").write_text("{{ password_hunter2 }} {{ response }}")
    (folder / "judges" / "judge.yaml").write_text(
        "engine: hf:judge\ntemplate: ../ask.jinja\nread: {yes: [Yes], no: [No]}\n"
    )

    with pytest.raises(UsageError, match="only one inside of it may read columns") as caught:
        read_judge_file(folder / "judges" / "judge.yaml")

    assert "hunter2" not in str(caught.value)
