"""Faults of rows: found, counted, and kept, dropped or refused as the suite says."""

import json

import pytest

from rmcheck.errors import PoolError, UsageError
from rmcheck.pool.faults import FAULT_RULES, fault_counts
from rmcheck.pool.labels import inclusion, judged_alone, labelled
from rmcheck.pool.reading import read_pool


def row(prompt: str = "x", responses: tuple[str, ...] = ("a", "b"), **fields) -> dict:
    """A native row."""
    golden = [float(i) for i in range(len(responses))]
    return {"prompt": prompt, "responses": list(responses), "golden": golden} | fields


FAULTY = {
    "malformed_row": [row(), "{"],
    "duplicate_prompt_id": [row(prompt_id="p"), row("y", prompt_id="p")],
    "differing_prompts": [
        {"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: x\n\nAssistant: b"},
        {"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: y\n\nAssistant: b"},
    ],
    "identical_answers": [row(), row("y", ("a", "b", "a"))],
    "duplicate_row": [row(), row(responses=("b", "a"))],
    "empty_answer": [row(), row("y", ("a", " \n"))],
    "repeated_role": [
        row(),
        row([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
    ],
}


@pytest.mark.parametrize("kind", sorted(FAULTY))
def test_each_fault_is_found_at_its_line(kind, write):
    """Exactly the fault that was planted is found, on line 2."""
    action = "keep" if FAULT_RULES[kind].default == "keep" else "drop"

    pool = read_pool(write(FAULTY[kind]), faults={kind: action})

    assert [(f.kind, f.line, f.action) for f in pool.faults] == [(kind, 2, action)]
    assert fault_counts(pool) == {kind: {action: 1}}
    assert len(pool.prompts) == (2 if action == "keep" else 1)


@pytest.mark.parametrize("kind", sorted(FAULTY))
def test_each_fault_can_be_dropped(kind, write):
    """The faulty prompt is left out, the sound one stays."""
    pool = read_pool(write(FAULTY[kind]), faults={kind: "drop"})

    assert ([p.line for p in pool.prompts], pool.rows_read) == ([1], 2)


@pytest.mark.parametrize("kind", sorted(FAULTY))
def test_each_fault_can_fail_the_read(kind, write):
    """The message has kind, count, place and the YAML of every way out."""
    path = write(FAULTY[kind])

    with pytest.raises(PoolError) as caught:
        read_pool(path, faults={kind: "fail"})
    (problem,) = caught.value.problems

    assert (problem.path, problem.line) == (str(path), 2)
    assert problem.message.startswith(f"{kind}: 1 in 2 rows")
    for action in set(FAULT_RULES[kind].allowed) - {"fail"}:
        assert f"    pool:\n      faults:\n        {kind}: {action}" in problem.message


def test_the_defaults(write):
    """What leaves no valid prompt fails; what leaves a doubtful one is kept and counted."""
    failing = {kind for kind, rule in FAULT_RULES.items() if rule.default == "fail"}

    assert failing == {"malformed_row", "duplicate_prompt_id", "differing_prompts", "missing_label"}
    for kind in failing - {"missing_label"}:  # a response can be scored without a label
        assert "keep" not in FAULT_RULES[kind].allowed


def test_all_kinds_of_faults_are_reported_together(write):
    """One read names everything, a problem for each kind."""
    rows = [row(prompt_id="p"), row("y", prompt_id="p"), {"prompt": "z"}, row("w", ("", "b"))]

    with pytest.raises(PoolError) as caught:
        read_pool(write(rows), faults={"empty_answer": "fail"})

    assert [(p.message.split(":")[0], p.line) for p in caught.value.problems] == [
        ("malformed_row", 3),
        ("duplicate_prompt_id", 2),
        ("empty_answer", 4),
    ]


def test_unknown_faults_and_actions_are_refused(write):
    """Both are named with what is allowed."""
    with pytest.raises(UsageError) as caught:
        read_pool(write([row()]), faults={"empty_anser": "keep", "malformed_row": "keep"})

    assert "unknown fault 'empty_anser'. Did you mean 'empty_answer'?" in str(caught.value)
    assert "fault 'malformed_row' cannot be 'keep'; say 'fail' or 'drop'." in str(caught.value)


def test_a_pool_of_which_nothing_is_left_is_an_error(write):
    """Dropping every row does not make an empty pool."""
    with pytest.raises(PoolError, match="no prompt is left of 1 rows; dropped for empty_answer"):
        read_pool(write([row(responses=("", "b"))]), faults={"empty_answer": "drop"})


def test_a_duplicate_of_a_dropped_row_is_not_a_duplicate(write):
    """Only prompts that are kept can be repeated."""
    rows = [row(prompt_id="p", responses=("", "b")), row(prompt_id="p", responses=("a", "b"))]

    pool = read_pool(write(rows), faults={"empty_answer": "drop"})

    assert [p.responses for p in pool.prompts] == [("a", "b")]


def test_repeated_content_gets_its_own_id(write):
    """Ids made from content stay unique, and do not depend on the order of other rows."""
    ids = [p.prompt_id for p in read_pool(write([row(), row(), row("y")])).prompts]
    moved = [p.prompt_id for p in read_pool(write([row("y"), row()])).prompts]

    assert ids[1] == f"{ids[0]}.2"
    assert moved == [ids[2], ids[0]]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_labels_that_are_not_finite_are_never_read(value, write):
    """NaN and infinity are errors whatever the suite says about faults."""
    line = json.dumps(row(golden=[0.5, "@"])).replace('"@"', value)

    with pytest.raises(
        PoolError, match=r"1 labels are no numbers.*\n.*'golden' of response 1 is (nan|-?inf)"
    ):
        read_pool(write([line]), faults=dict.fromkeys(FAULTY, "drop"))


def test_clusters_are_conversations_or_a_column(write):
    """Prompts with one conversation are one unit, unless a column says which are."""
    rows = [row(topic="t"), row(responses=("c", "d"), topic="u"), row("y", topic="t")]
    path = write(rows)

    by_text = [p.cluster for p in read_pool(path).prompts]
    by_topic = [p.cluster for p in read_pool(path, cluster="topic").prompts]

    assert by_text[0] == by_text[1] != by_text[2]
    assert by_topic == ["t", "u", "t"]


@pytest.mark.parametrize(
    "asked", ["Why? ", "Why???", "why is it?", "  Why is  it", '"Why is it?"', "Why is it\u200b ."]
)
def test_prompts_that_differ_in_space_or_punctuation_are_one_unit(write, asked):
    """A pool is not made surer by asking again with another mark at the end."""
    first = "Why is it?" if "it" in asked else "Why?"
    pool = read_pool(write([row(first), row(asked), row("When is it?")]))
    units = [p.cluster for p in pool.prompts]

    assert (units[0] == units[1]) == (asked != "why is it?")
    assert units[2] not in units[:2]


@pytest.mark.parametrize(
    ("one", "other"), [("3 - 2", "3 * 2"), ("1.5", "15"), ("a<b", "a>b"), ("C", "C++"), ("C", "C#")]
)
def test_signs_of_a_formula_tell_prompts_apart(write, one, other):
    """Marks inside words and signs between blanks are what is asked."""
    first, second = read_pool(write([row(f"What is {one}?"), row(f"What is {other}?")])).prompts

    assert first.cluster != second.cluster


def test_a_cluster_column_that_is_not_there_shows_the_near_miss(write):
    """A wrong `cluster` is never read as one unit a row."""
    with pytest.raises(PoolError, match=r"field 'topics', which .*; did you mean 'topic'\?"):
        read_pool(write([row(topic="t")]), cluster="topics")


def test_labelled_refuses_missing_labels(write):
    """By default a response without the label fails, and the way out is shown."""
    pool = read_pool(write([row(judge=[1, None]), row("y")]))

    with pytest.raises(PoolError) as caught:
        labelled(pool, "judge")

    assert "missing_label: 2 in 2 prompts" in str(caught.value)
    assert "1 of 2 responses have no 'judge'" in str(caught.value)
    assert "missing_label: drop" in str(caught.value)
    assert labelled(pool, "golden").prompts == pool.prompts


def test_labelled_can_leave_out_what_was_not_judged(write):
    """Responses keep their places in the source row; a prompt without any is gone."""
    pool = read_pool(write([row(responses=("a", "b", "c"), judge=[None, 2, 3]), row("y")]))

    part = labelled(pool, "judge", "drop")
    (prompt,) = part.prompts

    assert (prompt.responses, prompt.indices) == (("b", "c"), (1, 2))
    assert prompt.labels == {"golden": (1.0, 2.0), "judge": (2.0, 3.0)}
    assert fault_counts(part) == {"missing_label": {"drop": 2}}


def test_labelled_again_keeps_the_first_indices(write):
    """Two columns after each other do not shift the places."""
    pool = read_pool(write([row(responses=("a", "b", "c"), j=[None, 2, 3], k=[1, None, 3])]))

    (prompt,) = labelled(labelled(pool, "j", "drop"), "k", "drop").prompts

    assert (prompt.responses, prompt.indices) == (("c",), (2,))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("goldn", "no label column 'goldn'; did you mean 'golden'\\? the pool has: golden"),
        ("topic", "'topic' is a slice .*; label columns: golden"),
        ("judge", "no response has a number in 'judge'"),
    ],
)
def test_labelled_names_the_columns_there_are(column, message, write):
    """A column that is not there, or holds nothing, is an error."""
    pool = read_pool(write([row(topic="t", judge=[None, None])]))

    with pytest.raises(PoolError, match=message):
        labelled(pool, column, "drop")


def test_labelled_keeps_missing_labels_where_the_suite_says_so(write):
    """They stay in their places, to be scored; a prompt without any label is gone."""
    pool = read_pool(
        write([row(responses=("a", "b"), judge=[None, 2]), row("y", judge=[None, None])])
    )

    kept = labelled(pool, "judge", "keep")

    assert [p.labels["judge"] for p in kept.prompts] == [(None, 2.0)]
    assert fault_counts(kept) == {"missing_label": {"drop": 1, "keep": 1}}
    assert [p.responses for p in judged_alone(kept, "judge").prompts] == [("b",)]


def drawn(judge, to_label=(1, 1, 0), **fields):
    """A row of three responses of which two were drawn for a label."""
    fields = {"golden": judge, "to_label": list(to_label)} | fields
    return row(responses=("a", "b", "c"), **fields)


def test_a_response_that_was_not_drawn_goes_without_a_label(write):
    """The pool itself says so, by `to_label`: nothing need stand in the suite."""
    pool = labelled(read_pool(write([drawn([1, 2, None])])))

    assert pool.prompts[0].labels["golden"] == (1.0, 2.0, None)
    assert fault_counts(pool) == {}


def test_a_response_that_was_drawn_must_have_its_label(write):
    """A label that was forgotten is a fault as ever."""
    with pytest.raises(PoolError, match="1 of 3 responses have no 'golden'"):
        labelled(read_pool(write([drawn([1, None, None])])))


def test_a_label_that_was_not_drawn_is_not_used(write):
    """It was given for a reason that nobody knows, so it stands for no other response."""
    pool = read_pool(write([drawn([1, None, 3]), drawn([1, 2, 3])]))

    first, second = labelled(pool, "golden", "keep").prompts

    assert first.labels["golden"] == (1.0, None, None)
    assert second.labels["golden"] == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (row(responses=("a", "b", "c", "d"), golden=[1, None, 2, None]), (0.5,) * 4),
        (drawn([1, 2, None], inclusion=[1, 0.8, 0.2]), (1.0, 0.8, 0.2)),
        (drawn([1, None, None], inclusion=[1, 0.8, 0.2]), (0.5, 0.4, 0.1)),
        (drawn([1, 2, 3], inclusion=[1, 0.8, 0.2]), (1.0, 1.0, 1.0)),
    ],
    ids=["at random", "by weight", "a drawn label is missing", "all labelled"],
)
def test_inclusion_is_what_the_row_says_or_the_labelled_share(prompt, expected, write):
    """Drawn labels that are missing lower it alike; what is labelled throughout is certain."""
    pool = labelled(read_pool(write([prompt])), "golden", "keep")

    assert inclusion(pool, "golden") == pytest.approx(expected)


def test_an_inclusion_that_is_no_probability_is_named(write):
    """A labelled response with no chance of having one is a mistake in the file."""
    pool = labelled(read_pool(write([drawn([1, 2, None], inclusion=[1, 0, 1])])))

    with pytest.raises(PoolError, match=r"'inclusion' of prompt .*, response 1 is 0"):
        inclusion(pool, "golden")
