"""Pools whose conversations call tools, as OpenAI's chats and transformers write them."""

import json

import pytest

from rmcheck.errors import PoolError
from rmcheck.pool.pool import Message
from rmcheck.pool.reading import read_pool
from rmcheck.pool.tool_calls import as_asked, turns

LOOK = {"name": "look", "arguments": {"what": "slate"}}
CALL = {"id": "c1", "type": "function", "function": LOOK}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ASKED = {"role": "user", "content": "Name a stone."}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "slate"}


def calling(*calls, **fields):
    """A conversation whose second turn makes these calls."""
    return [ASKED, {"role": "assistant", "tool_calls": list(calls), **fields}, RESULT]


def read(folder, prompt, **fields):
    """The one prompt of a pool."""
    row = {"prompt": prompt, "responses": ["Slate.", "Wood."], "golden": [1, 0], **fields}
    (folder / "pool.jsonl").write_text(json.dumps(row) + "\n")
    return read_pool(folder / "pool.jsonl").prompts[0]


def refusal(folder, prompt, **fields):
    """The message about such a pool."""
    with pytest.raises(PoolError) as caught:
        read(folder, prompt, **fields)
    return str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {"id": "c1", "function": {**LOOK, "arguments": '{"what": "slate"}'}},
        {"id": "c1", **LOOK},
    ],
    ids=["an object", "JSON in a text", "without a wrapper"],
)
def test_a_call_is_read_in_each_of_its_forms(tmp_path, call):
    """Its arguments are an object; its turn has no text, which some templates look for."""
    prompt = read(tmp_path, calling(call))

    assert turns(prompt.messages) == calling(CALL, content=None)
    assert prompt.messages[1].content == ""


def test_a_turn_may_speak_and_call(tmp_path):
    """Both are kept."""
    prompt = read(tmp_path, calling(CALL, content="I look it up."))

    assert prompt.messages[1].turn["content"] == "I look it up."
    assert prompt.messages[1].turn["tool_calls"] == [CALL]


def test_two_calls_at_once_have_two_results(tmp_path):
    """Which is no role that speaks twice."""
    prompt = [*calling(CALL, {**CALL, "id": "c2"}), {**RESULT, "tool_call_id": "c2"}]
    row = {"prompt": prompt, "responses": ["Slate."], "golden": [1]}
    (tmp_path / "pool.jsonl").write_text(json.dumps(row) + "\n")

    assert read_pool(tmp_path / "pool.jsonl").faults == ()


@pytest.mark.parametrize("form", ["a list", "JSON in a text", "of the first turn"])
def test_tools_on_offer_are_part_of_the_conversation(tmp_path, form):
    """As a field of the row or of the first turn; a reward may ask for them as a column."""
    given = {"tools": json.dumps([TOOL]) if "JSON" in form else [TOOL]}
    first = {**ASKED, **(given if "turn" in form else {})}

    prompt = read(tmp_path, [first], **({} if "turn" in form else given))

    assert turns(prompt.messages) == [{**ASKED, "tools": [TOOL]}]
    assert "turn" in form or prompt.columns["tools"] == [TOOL]


def test_another_column_of_that_name_is_a_column(tmp_path):
    """What is no list of tools is left as it is."""
    prompt = read(tmp_path, [ASKED], tools=["hammer", "saw"])

    assert prompt.messages == (Message("user", "Name a stone."),)
    assert prompt.columns["tools"] == ("hammer", "saw")


def test_what_is_called_decides_the_key(tmp_path):
    """Calls, results' names and tools on offer are part of it."""
    other = {**CALL, "function": {**LOOK, "arguments": {"what": "wood"}}}
    prompts = [
        read(tmp_path, calling(CALL)),
        read(tmp_path, calling(other)),
        read(tmp_path, calling(CALL), tools=[TOOL]),
        read(tmp_path, [ASKED, {"role": "assistant", "content": ""}, RESULT]),
    ]

    assert len({prompt.text_keys[0] for prompt in prompts}) == 4
    assert len({prompt.prompt_id for prompt in prompts}) == 4
    assert len({prompt.cluster for prompt in prompts}) == 4


def test_names_of_calls_make_no_second_unit(tmp_path):
    """Asked twice, a question is one independent unit, whatever its calls were named."""
    again = [ASKED, {"role": "assistant", "tool_calls": [{**CALL, "id": "x9"}]}]
    again.append({**RESULT, "tool_call_id": "x9"})

    first, second = read(tmp_path, calling(CALL)), read(tmp_path, again)

    assert first.cluster == second.cluster
    assert first.prompt_id != second.prompt_id


def test_what_is_written_is_read_again(tmp_path):
    """Pools that rmcheck writes keep calls and tools."""
    prompt = read(tmp_path, calling(CALL), tools=[TOOL])

    again = read(tmp_path, turns(prompt.messages))

    assert again.messages == prompt.messages
    assert again.text_keys == prompt.text_keys


def test_a_parquet_file_has_no_arguments_without_a_value(tmp_path):
    """Its objects have all fields of any, null where a call has not the argument."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    calls = [CALL, {"id": "c2", "type": "function", "function": {**LOOK, "arguments": {"near": 2}}}]
    row = {"prompt": calling(*calls), "responses": ["Slate."], "golden": [1.0]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "pool.parquet")

    message = read_pool(tmp_path / "pool.parquet").prompts[0].messages[1]

    arguments = [call["function"]["arguments"] for call in message.turn["tool_calls"]]
    assert arguments == [{"what": "slate"}, {"near": 2}]


def test_a_server_is_asked_as_openai_has_it(tmp_path):
    """Arguments as JSON, tools beside the turns, and an answer that is a text."""
    prompt = read(tmp_path, calling(CALL), tools=[TOOL])

    asked, fields = as_asked(prompt.messages)

    call = {**CALL, "function": {**LOOK, "arguments": '{"what": "slate"}'}}
    assert asked == calling(call, content=None)
    assert fields == {"tools": [TOOL], "tool_choice": "none"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({**CALL, "type": "retrieval"}, "[0].type' is 'retrieval'; a call is of a 'function'"),
        ({"function": {"arguments": {}}}, "no field 'prompt[1].tool_calls[0].function.name'"),
        ({"function": {"name": "look", "arguments": "{"}}, "expected an object, or JSON of one"),
        ({"function": {"name": "look", "arguments": [1]}}, "arguments' is [1] (list); expected"),
        ("look", "field 'prompt[1].tool_calls[0]' is 'look' (str); expected an object"),
    ],
)
def test_a_call_of_no_known_form_is_refused(tmp_path, call, said):
    """The field, what stands there and what is expected."""
    assert said in refusal(tmp_path, calling(call))


@pytest.mark.parametrize("depth", [101, 300])
def test_arguments_without_end_are_refused(tmp_path, depth):
    """Before a template or the reader of JSON fails on them."""
    deep = json.loads("[" * depth + "]" * depth)

    said = refusal(tmp_path, calling({"function": {**LOOK, "arguments": {"what": deep}}}))

    assert "is nested deeper than 100 levels" in said


def test_the_older_form_is_refused(tmp_path):
    """No chat template reads it."""
    turn = {"role": "assistant", "content": "I look.", "function_call": {"name": "look"}}

    said = refusal(tmp_path, [ASKED, turn])

    assert "field 'prompt[1].function_call' is an older form" in said
    assert "write it as 'tool_calls'" in said


def test_a_tool_without_a_name_is_refused(tmp_path):
    """It would stand in the text as nothing that can be called."""
    said = refusal(tmp_path, [ASKED], tools=[TOOL, {"type": "function"}])

    assert "field 'tools'[1] names no function" in said


def test_an_answer_that_calls_is_refused(tmp_path):
    """An answer is a text, and nothing of its call would be scored."""
    row = {
        "chosen": [ASKED, {"role": "assistant", "tool_calls": [CALL]}],
        "rejected": [ASKED, {"role": "assistant", "content": "Wood."}],
    }
    (tmp_path / "pool.jsonl").write_text(json.dumps(row) + "\n")

    with pytest.raises(PoolError, match="the answer in 'chosen' calls a tool, and an answer is a"):
        read_pool(tmp_path / "pool.jsonl")
