"""Each format in the wild: what becomes of its rows."""

import json

import pytest
from pool_formats import ROWS, assistant, completion, user

from rmcheck.errors import PoolError
from rmcheck.pool.faults import fault_counts
from rmcheck.pool.pool import Message, Pool
from rmcheck.pool.readers import READERS
from rmcheck.pool.reading import read_pool, reader_names
from rmcheck.pool.row import Row


def read(write, name: str, **options) -> Pool:
    """The made-up file of a format."""
    return read_pool(write(ROWS[name]), **options)


def golden(pool: Pool) -> list[tuple[float | None, ...]]:
    """The golden column."""
    return [prompt.labels["golden"] for prompt in pool.prompts]


def test_every_reader_has_a_made_up_file():
    """No format is left out of the tests below."""
    assert set(reader_names()) == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_format_is_told_by_its_fields(name, write):
    """Every format is found without `format:`, and read alike when it is named."""
    found = read(write, name)

    assert (found.format, found.fingerprint()) == (
        name,
        read(write, name, format=name).fingerprint(),
    )


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_alone_is_told_too(name):
    """No single row is taken for another format, whichever row comes first."""
    for values in ROWS[name]:
        found = next(reader.name for reader in READERS if reader.matches(Row(values)))

        assert found == name


@pytest.mark.parametrize("name", sorted(ROWS))
def test_parquet_gives_the_same_pool_as_json_lines(name, write, tmp_path):
    """Missing fields become null columns in Parquet, and nothing changes by it."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = ROWS[name]
    if name in {"native", "openrlhf", "trl"}:  # text or messages in one column has no Arrow type
        rows = rows[:1]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pool.parquet")

    pools = [read_pool(tmp_path / "pool.parquet"), read_pool(write(rows))]

    assert pools[0].prompts
    assert pools[0].fingerprint() == pools[1].fingerprint()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_ids_are_unique_and_prompts_have_a_cluster(name, write):
    """Every prompt can be named, and belongs to an independent unit."""
    prompts = read(write, name).prompts

    assert len({p.prompt_id for p in prompts}) == len(prompts)
    assert all(p.prompt_id and p.cluster and p.line and p.path for p in prompts)


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"alpaca_eval"}))
def test_formats_with_a_preference_have_a_golden_column(name, write):
    """`golden` is there whatever the format calls its preference."""
    assert "golden" in read(write, name).label_columns


def test_native(write):
    """Lists of numbers are labels, single values slices, lists of text nothing; ids are kept."""
    first, second = read(write, "native").prompts

    assert (first.prompt_id, first.responses) == ("p1", ("apple", "brick"))
    assert first.messages == (Message("user", "Name a fruit."),)
    assert first.labels == {"golden": (1.0, 0.0), "judge": (None, 0.25)}
    assert first.slices == {"category": "food", "hard": "false"}
    assert [m.role for m in second.messages] == ["system", "user"]
    assert second.indices == (0, 1, 2)


def test_native_rows(write):
    """Rows of one prompt are grouped; a text that differs between them is no slice."""
    fruit, stone = read(write, "native_rows").prompts

    assert (fruit.responses, fruit.labels) == (("apple", "brick"), {"golden": (1.0, 0.0)})
    assert fruit.slices == {"set": "x"}
    assert stone.responses == ("slate",)


def test_rewardbench(write):
    """A pair with its id and subset."""
    (prompt,) = read(write, "rewardbench").prompts

    assert (prompt.prompt_id, prompt.slices) == ("7", {"subset": "alpacaeval-easy"})
    assert (prompt.responses, prompt.labels) == (("apple", "brick"), {"golden": (1.0, 0.0)})


def test_rewardbench2(write):
    """Several answers may be correct; both kinds of one Ties question share a cluster."""
    plain, tied, ref = read(write, "rewardbench2").prompts

    assert plain.labels == {"golden": (1.0, 0.0, 0.0, 0.0)}
    assert tied.labels == {"golden": (1.0, 1.0, 0.0)}
    assert tied.slices == {"subset": "Ties", "kind": "tied"}
    assert plain.slices == {"subset": "Factuality"}
    assert ref.cluster == tied.cluster != plain.cluster


def test_rewardbench2_counts_its_correct_answers(write):
    """`num_correct` that contradicts `chosen` is a malformed row."""
    rows = [ROWS["rewardbench2"][0] | {"num_correct": 2}]

    with pytest.raises(PoolError, match=r"'num_correct' is 2 and 'chosen' has 1 texts"):
        read_pool(write(rows))


def test_rm_bench_gives_nine_pairs(write):
    """A fancier rejected answer is hard, the same style normal, a plainer one easy."""
    pool = read(write, "rm_bench")
    matrix = [p.slices["difficulty"] for p in pool.prompts]
    hardest = pool.prompts[2]

    assert matrix == ["normal", "hard", "hard", "easy", "normal", "hard", "easy", "easy", "normal"]
    assert hardest.responses == ("apple", "**brick**")
    assert hardest.slices["chosen_style"] == "concise"
    assert hardest.slices["rejected_style"] == "detailed_markdown"
    assert hardest.prompt_id == "toy/8/concise-detailed_markdown"
    assert {p.cluster for p in pool.prompts} == {"toy/8"}


@pytest.mark.parametrize(
    ("file", "given", "domain"),
    [
        ("chat_filtered.jsonl", {}, "chat"),
        ("safety-refuse_filtered.jsonl", {}, "safety-refuse"),
        ("chat_filtered.jsonl", {"domain": "code"}, "code"),
        ("rows.jsonl", {}, None),
        ("_filtered.jsonl", {}, None),
    ],
)
def test_rm_bench_takes_the_domain_from_its_row_or_file(write, file, given, domain):
    """RM-Bench's own files hold one domain each and name it; a field of the row wins."""
    row = {key: value for key, value in ROWS["rm_bench"][0].items() if key != "domain"}

    pool = read_pool(write([row | given], name=file))

    assert {p.slices.get("domain") for p in pool.prompts} == {domain}


def test_rm_bench_needs_three_styles(write):
    """Two texts are a malformed row that says what was expected."""
    rows = [ROWS["rm_bench"][0] | {"chosen": ["a", "b"]}]

    with pytest.raises(PoolError, match=r"'chosen' has 2 texts; expected 3, one a style"):
        read_pool(write(rows))


def test_rmb_pairwise(write):
    """The category path gives slices; the language is the last turn's, where it is known."""
    first, second = read(write, "rmb_pairwise").prompts

    assert first.slices == {
        "goal": "Helpfulness",
        "category": "Chat",
        "scenario": "Discussion",
        "language": "German",
    }
    assert [m.role for m in first.messages] == ["user", "assistant", "user"]
    assert (first.prompt_id, first.responses) == ("15", ("Apfel", "Ziegel"))
    assert second.slices == {"goal": "Harmlessness", "category": "S1"}


def test_rmb_bon(write):
    """The best answer comes first, its losers are equal."""
    (prompt,) = read(write, "rmb_bon").prompts

    assert prompt.responses == ("apple", "brick", "sand")
    assert prompt.labels == {"golden": (1.0, 0.0, 0.0)}


def test_hh_rlhf(write):
    """The transcript is cut into turns; the last one is the response."""
    (prompt,) = read(write, "hh_rlhf").prompts

    assert prompt.messages == (
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "A fruit?"),
    )
    assert prompt.responses == ("apple", "brick")


def test_hh_rlhf_cut_into_prompt_and_answers_is_the_same(write):
    """Copies with a `prompt` field are put together before the turns are read."""
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A fruit?\n\nAssistant:"
    cut = {"prompt": start, "chosen": " apple", "rejected": " brick", "response": " apple"}

    pool = read_pool(write([cut]))

    assert pool.format == "hh_rlhf"
    assert pool.prompts[0].messages == read(write, "hh_rlhf").prompts[0].messages


def test_ultrafeedback(write):
    """Golden is the mean of the aspects that were rated; N/A is no rating."""
    (prompt,) = read(write, "ultrafeedback").prompts

    assert prompt.labels["golden"] == (4.0, 1.5)
    assert prompt.labels["honesty"] == (None, 2.0)
    assert prompt.labels["helpfulness"] == (3.0, 2.0)
    assert prompt.slices == {"source": "sharegpt"}


def test_ultrafeedback_leaves_out_tens_that_were_ones(write):
    """An overall score of 10 beside poor ratings is a known fault: noted, and not a label."""
    pool = read(write, "ultrafeedback")
    (fault,) = pool.faults

    assert pool.prompts[0].labels["overall_score"] == (8.0, None)
    assert fault.line == 1
    assert fault_counts(pool) == {"missing_label": {"keep": 1}}
    assert "completions[1].overall_score is 10 with a mean rating of 1.5" in fault.detail


def test_ultrafeedback_trusts_a_ten_with_good_ratings(write):
    """Above a mean rating of 4 the overall score of 10 stands; the fine-grained one is golden."""
    rated = completion("apple", "5 5 5 4", overall_score=10.0) | {"fine-grained_score": 4.5}
    row = ROWS["ultrafeedback"][0] | {"completions": [rated]}

    pool = read_pool(write([row]))

    assert pool.faults == ()
    assert pool.prompts[0].labels["overall_score"] == (10.0,)
    assert (
        pool.prompts[0].labels["golden"] == pool.prompts[0].labels["fine_grained_score"] == (4.5,)
    )


def test_ultrafeedback_binarized(write):
    """Scores are a column of their own, and equal scores make a tie, not a win."""
    pool = read(write, "ultrafeedback_binarized")

    assert golden(pool) == [(1.0, 0.0), (0.5, 0.5)]
    assert pool.prompts[0].labels["score"] == (8.5, 2.0)
    assert [p.prompt_id for p in pool.prompts] == ["u1", "u2"]


def test_helpsteer2(write):
    """Ratings of one prompt are grouped, and markers inside it become turns."""
    talk, stone = read(write, "helpsteer2").prompts

    assert [(m.role, m.content) for m in talk.messages] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "A fruit?"),
    ]
    assert talk.responses == ("apple", "brick")
    assert talk.labels["golden"] == talk.labels["helpfulness"] == (4.0, 1.0)
    assert stone.labels["verbosity"] == (0.0,)


@pytest.mark.parametrize(
    ("name", "column", "strengths"),
    [
        ("helpsteer2_preference", "preference_strength", [(2, 0), (0, 3), (0, 0)]),
        ("helpsteer3", "overall_preference", [(1, 0), (0, 2), (0, 0)]),
    ],
)
def test_helpsteer_preference(name, column, strengths, write):
    """Negative means that the first is better, and 0 is a tie that prefers neither."""
    pool = read(write, name)

    assert golden(pool) == [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]
    assert [p.labels[column] for p in pool.prompts] == strengths


@pytest.mark.parametrize("strength", [-100, 4])
def test_helpsteer_refuses_preferences_out_of_range(strength, write):
    """-100, which some annotations hold, is not a very strong preference."""
    rows = [ROWS["helpsteer3"][0] | {"overall_preference": strength}]

    with pytest.raises(PoolError, match=f"'overall_preference' is {strength}; expected -3 to 3"):
        read_pool(write(rows))


def test_nectar(write):
    """The best rank has the highest golden, and the open assistant turn is no turn."""
    (prompt,) = read(write, "nectar").prompts

    assert prompt.messages == (Message("user", "Name a fruit."),)
    assert dict(zip(prompt.responses, prompt.labels["golden"], strict=True)) == {
        "apple": -1.0,
        "pear": -2.0,
    }
    assert prompt.slices == {"good_natured": "true"}


def test_ppe_human(write):
    """Both strings for a tie make a tie."""
    pool = read(write, "ppe_human")

    assert golden(pool) == [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]
    assert pool.prompts[0].slices == {"language": "English", "is_code": "false"}


def test_ppe_human_refuses_an_unknown_winner(write):
    """A winner that is neither model nor tie is not guessed."""
    with pytest.raises(PoolError, match=r"'winner' is 'b'; expected one of: model_a, model_b, tie"):
        read_pool(write([ROWS["ppe_human"][0] | {"winner": "b"}]))


def test_ppe_best_of_k(write):
    """Responses come in the order of their numbers; two models asked are two prompts."""
    first, second = read(write, "ppe_best_of_k").prompts

    assert first.responses[1:3] + first.responses[9:] == (
        "a says 2",
        "a says 3",
        "a says 10",
        "a says 11",
    )
    assert first.labels["golden"] == (0.0, 1.0, *[0.0] * 9)
    assert (first.prompt_id, second.prompt_id) == ("q1/a", "q1/b")
    assert first.cluster == second.cluster


def test_alpaca_eval_outputs(write, tmp_path):
    """Outputs of many systems, a file each, become responses to one prompt without golden."""
    rows = ROWS["alpaca_eval"]
    for name, some in (("a", rows[:2]), ("b", rows[2:])):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "model_outputs.json").write_text(json.dumps(some))

    pool = read_pool(tmp_path / "results")

    assert [p.responses for p in pool.prompts] == [("apple", "pear"), ("slate",)]
    assert pool.label_columns == ()


def test_alpaca_eval_annotations(write):
    """1 prefers the first, 2 the second, 1.5 and 0 neither, and fractions are probabilities."""
    pool = read(write, "alpaca_eval_annotations")

    assert golden(pool) == [(1, 0), (0, 1), (0.5, 0.5), (0.5, 0.5), (0.75, 0.25), (None, None)]


def test_trl(write):
    """Prompts may be explicit or implicit, text or messages; a margin grades the preference."""
    pool = read(write, "trl")

    assert [(p.messages[-1].content, p.responses) for p in pool.prompts] == [
        ("Name a fruit.", ("apple", "brick")),
        ("The sky is", ("blue.", "black.")),
        ("Name a stone.", ("slate", "bread")),
        ("Name a tree.", ("oak", "ant")),
    ]
    assert {p.messages[-1].role for p in pool.prompts} == {"user"}
    assert pool.prompts[0].slices == {"category": "food"}
    assert pool.prompts[2].labels == {"golden": (1.0, 0.0), "margin": (1.5, 0.0)}


def test_trl_prompt_may_also_stand_in_the_answers(write):
    """Whole conversations beside a prompt count as such, with their system turn."""
    talk = [{"role": "system", "content": "Be brief."}, user("Name a fruit.")]
    row = {
        "prompt": "Name a fruit.",
        "chosen": [*talk, assistant("apple")],
        "rejected": [*talk, assistant("brick")],
    }

    (prompt,) = read_pool(write([row])).prompts

    assert [m.role for m in prompt.messages] == ["system", "user"]
    assert prompt.responses == ("apple", "brick")


def test_openrlhf_and_skywork(write):
    """The prompt under another name is read as TRL's."""
    pool = read(write, "openrlhf")

    assert [p.messages[0].content for p in pool.prompts] == ["Name a fruit.", "Name a stone."]
    assert all(p.slices == {} for p in pool.prompts)
    assert read(write, "skywork").prompts[0].slices == {"source": "toy"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": [{"role": "gpt", "content": "x"}], "chosen": "a", "rejected": "b"},
            r"'prompt\[0\].role' has the unknown role 'gpt'; known roles: system, user",
        ),
        (
            {"chosen": [user("x"), user("y")], "rejected": [user("x"), user("z")]},
            "the last turn of 'chosen' is the user's; expected the assistant's",
        ),
        (
            {"prompt": " ", "chosen": "a", "rejected": "b"},
            "field 'prompt' is empty; expected the text of the prompt",
        ),
        (
            {"prompt": "Hi\n<extra_id_1>Bot\nHello", "response": "x"}
            | {"helpfulness": 1, "correctness": 1},
            "unknown role 'Bot'; known roles: User, Assistant, System",
        ),
        (
            {"prompt": "x", "responses": ["a", "b"], "golden": [1, 2, 3]},
            "field 'golden' has 3 numbers for 2 responses",
        ),
        (
            {"prompt": "x", "responses": ["a", 2]},
            r"field 'responses\[1\]' is 2 \(int\); expected text",
        ),
        (
            {"prompt": "x", "responses": ["a", "b"], "golden": [1, "0.5"]},
            r"field 'golden\[1\]' is '0.5' \(str\); expected a number or null",
        ),
        (
            {"prompt": "x", "responses": ["a", "b"], "golden": ["1", "0"]},
            r"field 'golden\[0\]' is '1' \(str\); expected a number or null",
        ),
        (
            {"prompt": "x", "responses": ["a", "b"], "golden": 1},
            r"field 'golden' is 1 \(int\); expected a list of numbers",
        ),
        (
            {"prompt": "x", "response": "a", "golden": "1"},
            r"field 'golden' is '1' \(str\); expected a number",
        ),
        (
            {"instruction": "x", "completions": [{"respnse": "a"}]},
            r"no field 'completions\[0\].response'; did you mean 'respnse'\? completions\[0\] has",
        ),
    ],
)
def test_malformed_rows_say_field_value_and_expectation(row, message, write):
    """Roles are never guessed, and a wrong field is named with its value."""
    with pytest.raises(PoolError, match=message):
        read_pool(write([row]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"chosen": [user("x"), assistant("a")], "rejected": [user("y"), assistant("b")]},
            "differ at turn 1: user 'x' and user 'y'",
        ),
        (
            {
                "prompt": [user("x")],
                "chosen": [assistant("a"), user("more"), assistant("b")],
                "rejected": [assistant("c")],
            },
            "'chosen' is 3 messages, and those before its answer are not the prompt",
        ),
        ({"chosen": "yes", "rejected": "no"}, "chosen and rejected have no common beginning"),
        (
            {"chosen": [assistant("a")], "rejected": [assistant("b")]},
            "'chosen' is an answer without a prompt before it",
        ),
    ],
)
def test_answers_to_different_conversations_are_a_fault(row, message, write):
    """Chosen and rejected must answer the same turns, in one message each."""
    with pytest.raises(PoolError, match=f"(?s)differing_prompts: 1 in 1 rows.*{message}"):
        read_pool(write([row]))
