"""Files of prompts without responses: what a policy is to answer."""

import csv
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_formats import ROWS, assistant, user

from rmcheck.errors import PoolError, UsageError
from rmcheck.pool.pool import Message
from rmcheck.pool.reading import read_pool, read_prompts

ASKED = (Message("user", "Name a fruit."),)
SYSTEM = Message("system", "Be brief.")
MULTI_TURN = [user("Hello"), assistant("Hi"), user("Name a fruit.")]


def read(path, **options):
    """The prompts of a file."""
    return read_prompts(path, **options).prompts


def refused(path, **options):
    """The message with which a file is refused."""
    with pytest.raises(PoolError) as caught:
        read_prompts(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"prompt": "Name a fruit."}, ASKED),
        ({"prompt": [user("Name a fruit.")]}, ASKED),
        ({"messages": [user("Name a fruit.")]}, ASKED),
        ({"conversation": [user("Name a fruit.")]}, ASKED),
        ({"conversations": [{"from": "human", "value": "Name a fruit."}]}, ASKED),
        ({"question": "Name a fruit."}, ASKED),
        ({"instruction": "Name a fruit."}, ASKED),
        ({"instruction": "Name a fruit.", "input": ""}, ASKED),
        (
            {"instruction": "Translate.", "input": "Guten Tag"},
            (Message("user", "Translate.\n\nGuten Tag"),),
        ),
        ({"question": "Name a fruit.", "system_prompt": "Be brief."}, (SYSTEM, *ASKED)),
        ({"prompt": "Name a fruit.", "system": "Be brief."}, (SYSTEM, *ASKED)),
        ({"messages": MULTI_TURN}, (Message("user", "Hello"), Message("assistant", "Hi"), *ASKED)),
        # As UltraChat writes it: the first turn once more, and a whole conversation.
        ({"prompt": "Name a fruit.", "messages": [user("Name a fruit."), assistant("fig")]}, ASKED),
        ({"question": "Name a fruit.", "answer": "fig", "response": "fig", "golden": 1}, ASKED),
    ],
)
def test_forms_of_a_prompt(row, messages, write):
    """Text, messages and ShareGPT's turns, under the names that people give them; no responses."""
    (found,) = read(write([row]))

    assert found.messages == messages
    assert (found.responses, found.labels, found.slices) == ((), {}, {})


@pytest.mark.parametrize("name", ["prompt_id", "id"])
def test_ids_are_kept_and_other_columns_are_slices(name, write):
    """A single value is a slice, a list is none."""
    (found,) = read(write([{name: 7, "prompt": "x", "level": 2, "hard": True, "tags": ["a"]}]))

    assert found.prompt_id == "7"
    assert found.slices == {"level": "2", "hard": "true"}


def test_ids_are_made_from_the_content_as_those_of_pools(write):
    """The same prompt has one id in every file; asked again it is another prompt of one cluster."""
    once, other, again = read(write([{"prompt": "x"}, {"prompt": "y"}, {"prompt": "x"}]))
    (elsewhere,) = read(write([{"question": "x"}], "b.jsonl"))

    assert once.prompt_id == elsewhere.prompt_id != other.prompt_id
    assert again.prompt_id == f"{once.prompt_id}.2"
    assert again.cluster == once.cluster != other.cluster


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_pool_gives_its_prompts_too(name, write):
    """Every known format of a pool is read as the pool that it is."""
    path = write(ROWS[name])

    assert read(path) == read_pool(path).prompts


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_text_has_one_prompt_a_line(packed, mark, tmp_path):
    """White space around a prompt and empty lines do not count; the prompt knows its line."""
    path = tmp_path / ("prompts.txt.gz" if packed is gzip.compress else "prompts.txt")
    path.write_bytes(packed(mark + "Name a fruit.\r\n\n  Wie heißt du? \n".encode()))

    assert [(p.line, p.messages) for p in read(path)] == [
        (1, ASKED),
        (3, (Message("user", "Wie heißt du?"),)),
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1))
def test_what_is_written_to_a_table_is_read(tmp_path_factory, texts):
    """Quotes, commas and line breaks inside a prompt survive CSV."""
    path = tmp_path_factory.mktemp("table") / "prompts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        rows.writerows([["prompt", "category"], *([text, "chat"] for text in texts)])

    found = read(path)

    assert [p.messages[0].content for p in found] == texts
    assert all(p.slices == {"category": "chat"} for p in found)


def test_rows_of_a_table_are_named_by_their_first_line(tmp_path):
    """A prompt of several lines does not shift the others; an empty cell is no slice."""
    path = tmp_path / "prompts.csv"
    path.write_text('id,prompt,set\na,"two\nlines",x\n\nb,one,\n')

    assert [(p.prompt_id, p.line, p.slices) for p in read(path)] == [
        ("a", 2, {"set": "x"}),
        ("b", 5, {}),
    ]


def test_parquet_and_a_json_list(tmp_path):
    """The containers of pools hold prompts too; a null is a field that is not there."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": "Name a fruit.", "set": None}, {"prompt": "Name a stone.", "set": "x"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    (tmp_path / "prompts.json").write_text(json.dumps(rows))

    parquet, listed = (read(tmp_path / f"prompts.{kind}") for kind in ("parquet", "json"))

    assert [p.messages for p in parquet] == [p.messages for p in listed]
    assert [p.slices for p in parquet] == [p.slices for p in listed] == [{}, {"set": "x"}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": " "}, "field 'prompt' is empty"),
        ({"prompt": 3}, "field 'prompt' is 3 (int); expected text"),
        ({"prompt": []}, "field 'prompt' is an empty list"),
        ({"messages": []}, "field 'messages' is an empty list"),
        ({"messages": [user(" ")]}, "the last turn of 'messages' is empty"),
        ({"messages": [user("x"), assistant("y")]}, "the last turn of 'messages' is the assistant"),
        ({"prompt": [{"role": "system", "content": "x"}]}, "the last turn of 'prompt' is the sys"),
        ({"conversations": [{"from": "bot", "value": "x"}]}, "has the unknown role 'bot'; known"),
        ({"conversations": [{"value": "x"}]}, "no field 'conversations[0].role'"),
        ({"prompt": "x", "question": "y"}, "'prompt' and 'question' are two prompts"),
        ({"category": "chat"}, "no prompt: expected one of prompt, question, instruction, mess"),
    ],
)
def test_a_row_without_a_prompt_is_named_with_its_line(row, message, write):
    """Nothing to answer, a conversation that is already answered, or two prompts in one row."""
    text = refused(write([{"prompt": "Name a fruit."}, row]))

    assert ":2: malformed_row: 1 in 2 rows" in text
    assert message in text


def test_all_problems_of_a_file_are_told_at_once_and_no_suite_is_spoken_of(write):
    """Broken lines and rows together; there is no suite in which faults could be allowed."""
    text = refused(write(["{", {"prompt": ""}, {"id": 1, "prompt": "x"}, {"id": 1, "prompt": "y"}]))

    assert "malformed_row: 2 in 4 rows" in text
    assert "pool.jsonl:1: not JSON" in text
    assert "pool.jsonl:2: field 'prompt' is empty" in text
    assert "duplicate_prompt_id: 1 in 4 rows" in text
    assert "suite" not in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n\n", "a.txt: the file has no row, only white space"),
        ("a.txt", b"x\n\xff\n", "a.txt:2: not UTF-8: invalid start byte at byte 1"),
        ("a.txt", b'{"prompt": "x"}\n', "this one begins with JSON; call it .jsonl"),
        ("a.txt.gz", b"\x1f\x8b\x08broken", "broken gzip: "),
        ("a.csv", b"prompt,set\n", "a.csv: the file has no row, only a header"),
        ("a.csv", b"prompt\nx\ny,z\n", "a.csv:3: 2 cells; the header names 1 columns"),
        ("a.csv", b"prompt,prompt\nx,y\n", "a.csv:1: the header names several columns 'prompt'"),
        ("a.csv", b'prompt\nx\n"y\n', "a.csv:3: not CSV: unexpected end of data"),
        ("a.csv", b"prompt\nx\n\xff\n", "a.csv:3: not UTF-8: invalid start byte"),
        ("a.csv", b"text\nx\n", "unknown format: the row has the fields text\n"),
        ("a.jsonl", b"Name a fruit.\n", "neither JSON Lines, a JSON list nor Parquet"),
    ],
)
def test_broken_files_of_prompts(name, content, message, tmp_path):
    """Each says what is wrong, and where."""
    (tmp_path / name).write_bytes(content)

    assert message in refused(tmp_path / name)


def test_an_unknown_shape_lists_the_fields_of_prompts(write):
    """The names that a prompt may have stand among the known formats; no sampling is advised."""
    text = refused(write([{"text": "x"}]))

    assert "  prompts: one of prompt, question, instruction, messages, " in text
    assert "rmcheck sample" not in text
    assert "rejected" not in text


def test_the_format_of_prompts_can_be_named(write):
    """With it a row of a pool is a prompt alone; a wrong name is answered with the near miss."""
    path = write([{"prompt": "Name a fruit.", "chosen": "fig", "rejected": "brick"}])

    (found,) = read(path, format="prompts")

    assert (found.messages, found.responses, found.slices) == (ASKED, (), {})
    with pytest.raises(UsageError, match=r"unknown format 'prompt'\. Did you mean 'prompts'\?"):
        read(path, format="prompt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"prompt": "Name a fruit."}\n'),
        ("a.jsonl", b'{"question": "Name a fruit.", "answer": "fig"}\n'),
        ("a.txt", b"Name a fruit.\n"),
        ("a.csv", b"prompt\nName a fruit.\n"),
    ],
)
def test_prompts_are_no_pool(name, content, tmp_path):
    """Whoever needs responses is told the command that samples them."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(PoolError) as caught:
        read_pool(path)

    assert f"rmcheck sample {path} --policy=hf:DIR --responses=16 --out=" in str(caught.value)


def test_prompts_are_no_format_of_a_pool(write):
    """A suite cannot name them as its format."""
    with pytest.raises(UsageError, match="unknown format 'prompts'"):
        read_pool(write([{"prompt": "x"}]), format="prompts")
