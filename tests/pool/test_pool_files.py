"""Files and folders: which containers are read, and what a broken one is told to be."""

import gzip
import json
import re

import pytest

from rmcheck.errors import PoolError, UsageError
from rmcheck.pool.reading import read_pool

ROW = {"prompt": "Name a fruit.", "responses": ["apple", "brick"], "golden": [1.0, 0.0]}
OTHER = {"prompt": "Name a stone.", "responses": ["slate", "bread"], "golden": [0.5, 0.25]}


def lines(*rows: object) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def refused(path, **options) -> str:
    """The message with which a pool is refused."""
    with pytest.raises(PoolError) as caught:
        read_pool(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        lines(ROW, OTHER),
        b"\n" + lines(ROW) + b"  \n" + lines(OTHER).strip(),
        b"\xef\xbb\xbf" + lines(ROW, OTHER),
        json.dumps([ROW, OTHER]).encode(),
        json.dumps([ROW, OTHER], indent=2).encode(),
        gzip.compress(lines(ROW, OTHER)),
        gzip.compress(json.dumps([ROW, OTHER]).encode()),
    ],
    ids=["jsonl", "blank lines", "byte order mark", "json", "indented json", "jsonl.gz", "json.gz"],
)
def test_the_container_is_told_by_its_content(data, tmp_path):
    """Text, gzip and both shapes of JSON read alike, whatever the file is called."""
    path = tmp_path / "pool.data"
    path.write_bytes(data)

    pool = read_pool(path)

    assert [p.responses for p in pool.prompts] == [("apple", "brick"), ("slate", "bread")]


def test_parquet(tmp_path):
    """Parquet is known by its magic bytes, and its rows are numbered from 1."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist([ROW, OTHER]), tmp_path / "pool")

    pool = read_pool(tmp_path / "pool")

    assert [(p.line, p.labels["golden"]) for p in pool.prompts] == [
        (1, (1.0, 0.0)),
        (2, (0.5, 0.25)),
    ]


def test_blank_lines_keep_the_line_numbers(tmp_path):
    """A prompt knows the line it stands in, not its rank among the rows."""
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n" + lines(ROW) + b"\n" + lines(OTHER))

    assert [p.line for p in read_pool(path).prompts] == [2, 4]


def test_a_folder_is_all_data_files_below_it_in_order(tmp_path):
    """Other files and hidden ones are left alone; the pool knows which file a row is from."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.json.gz").write_bytes(gzip.compress(json.dumps([OTHER]).encode()))
    (tmp_path / "a.jsonl").write_bytes(lines(ROW))
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / ".cache.json").write_text("not data")

    pool = read_pool(tmp_path)

    assert [p.path for p in pool.prompts] == [
        str(tmp_path / "a.jsonl"),
        str(tmp_path / "b" / "x.json.gz"),
    ]
    assert pool.rows_read == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b" \n\n", "the file has no row, only white space"),
        (b"[]", "the file has no row: its list is empty"),
        (b"prompt,response\nx,y\n", r"neither JSON Lines, a JSON list nor Parquet"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a Git LFS pointer; fetch",
        ),
        (b"\n<!DOCTYPE html>\n<html>", "it is an HTML page"),
        (b'[{"prompt": "x",\n "responses": [}]', ":2:16: not JSON: Expecting value"),
        (b'["a"]', "malformed"),
        (gzip.compress(lines(ROW) * 500)[:-12], "broken gzip: "),
        (b"\x1f\x8b\x08broken", "broken gzip: "),
        (b"PAR1 and no more", "broken Parquet after row 0: "),
        (b'{"a": 1}\n', "unknown format: the row has the fields a\n"),
        (b"{}\n", "unknown format: the row has the fields (none)\n"),
        (b'{"data": [{"prompt": "x"}]}\n', "if the rows stand under 'data', let the file be that"),
        (b'{\n "prompt": "x"\n}\n', "; nor are the 2 lines after it rows. A row is one line"),
        (b"PK\x03\x04", "it is a ZIP archive; unpack it, or save a workbook of Excel as CSV"),
        ('{"prompt": "x"}\n'.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"{not json}\n", ":1: not JSON: Expecting property name"),
        (b'{"prompt": "half\n', ":1: not JSON: Unterminated string starting at column 12"),
    ],
)
def test_broken_files(data, message, tmp_path):
    """Each says what is wrong, and where."""
    if message == "malformed":
        message = "a row must be an object, not str"
    path = tmp_path / "pool.jsonl"
    path.write_bytes(data)

    text = refused(path)

    assert text.startswith(str(path))
    assert message in text


@pytest.mark.parametrize(
    ("fields", "nearest"),
    [
        ({"prompt": "x", "good": "y", "bad": "z"}, []),
        ({"prompt": "x", "completions": ["y"], "scores": [1]}, ["ppe_best_of_k", "ultrafeedback"]),
        ({"prompt": "x", "response_a": "y", "response_b": "z", "winner": "a"}, ["ppe_human"]),
    ],
)
def test_unknown_fields_are_told_what_to_be_called(fields, nearest, tmp_path):
    """The names that any data can have stand first, then the formats that share a field."""
    path = tmp_path / "pool.jsonl"
    path.write_bytes(lines(fields))

    text = refused(path)

    assert f"the row has the fields {', '.join(fields)}\ncall the fields\n  prompt, chosen," in text
    assert sorted(re.findall(r"^  (\w+):", text, re.MULTILINE)) == nearest


def test_every_broken_line_is_reported_at_once(tmp_path):
    """Lines that are no JSON, no UTF-8 or no object are named with number and way out."""
    path = tmp_path / "pool.jsonl"
    path.write_bytes(lines(ROW) + b'{"prompt": \n' + lines(OTHER) + b'{"a": "\xff"}\n' + b"3\n")

    text = refused(path)

    assert text.startswith(f"{path}:2: malformed_row: 3 in 5 rows")
    assert f"{path}:2: not JSON: Expecting value at column 11" in text
    assert f"{path}:4: not UTF-8: invalid start byte at byte 8" in text
    assert f"{path}:5: a row must be an object, not int" in text
    assert "malformed_row: drop" in text


def test_broken_lines_can_be_dropped(tmp_path):
    """With `malformed_row: drop` the rest is read, and the fault is recorded."""
    path = tmp_path / "pool.jsonl"
    path.write_bytes(lines(ROW) + b"{\n" + lines(OTHER))

    pool = read_pool(path, faults={"malformed_row": "drop"})

    assert (len(pool.prompts), pool.rows_read) == (2, 3)
    assert [(f.kind, f.line, f.action) for f in pool.faults] == [("malformed_row", 2, "drop")]


def test_equal_faults_are_one_example_and_a_count(write):
    """What differs in numbers alone is the same mistake in every row."""
    wrong = {"prompt": "?", "responses": ["a", "b"], "golden": "0.5"}
    text = refused(write([ROW, *["{"] * 50, *[wrong | {"golden": f"0.{i}"} for i in range(9)]]))

    assert "malformed_row: 59 in 60 rows" in text
    assert text.count("not JSON") == 1 + 1  # one of them in the meaning of the fault
    assert "and 49 more like it" in text
    assert text.count("field 'golden' is '0.") == 1
    assert "and 8 more like it" in text


def test_a_long_list_is_cut(write):
    """Twenty sorts of faults are shown, the rows of the others counted."""
    words = [chr(ord("a") + i) for i in range(25)]
    text = refused(write([ROW, *({"prompt": "?", "responses": word} for word in words)]))

    assert text.count("field 'responses' is") == 20
    assert "and 5 more" in text


def test_to_drop_every_row_is_not_advised(write):
    """It would leave nothing."""
    assert "malformed_row: drop" in refused(write([ROW, "{"]))
    assert "row: drop" not in refused(write([ROW | {"golden": "0.5"}] * 2))


def test_a_missing_file_shows_the_near_miss(write):
    """A typing error in the name is answered with the file that is there."""
    path = write([ROW], "pool.jsonl")

    assert f"did you mean {str(path)!r}?" in refused(path.with_name("pol.jsonl"))
    assert "the folder has: pool.jsonl" in refused(path.with_name("zzz"))
    assert "is not there either" in refused(path.parent / "no" / "pool.jsonl")


@pytest.mark.parametrize("named", ["allenai/reward-bench-2", "hf:/datasets/allenai/reward-bench-2"])
def test_the_name_of_a_data_set_on_a_hub_is_answered_with_the_download(tmp_path, named):
    """Nothing is downloaded by itself."""
    assert "hf download --repo-type dataset allenai/reward-bench-2 --local-dir" in refused(
        tmp_path / named
    )


def test_a_folder_without_data_says_what_it_holds(tmp_path):
    """An empty pool folder is an error, not an empty pool."""
    (tmp_path / "README.md").write_text("x")

    assert "no data file (.jsonl, " in refused(tmp_path)
    assert "found: README.md" in refused(tmp_path)


def test_files_of_several_formats_are_refused_together(write, tmp_path):
    """One pool has one format; each format is named with its files."""
    write([ROW], "a.jsonl")
    write([{"prompt": "x", "chosen": "a", "rejected": "b"}], "b.jsonl")

    text = refused(tmp_path)

    assert f"native ({tmp_path / 'a.jsonl'}), trl ({tmp_path / 'b.jsonl'})" in text


def test_rows_of_several_formats_are_ambiguous(write):
    """A file whose first rows look like two formats needs `format:`, which then decides."""
    path = write([ROW, {"prompt": "x", "chosen": "a", "rejected": "b"}])

    text = refused(path)
    named = refused(path, format="native")

    assert "several formats: native (first at 1), trl (first at 2); name one with " in text
    assert "no field 'responses'; the row has: prompt, chosen, rejected" in named


def test_an_unknown_shape_lists_fields_and_known_formats(write):
    """The fields found stand beside the key fields of every format."""
    text = refused(write([{"question": "x", "answer": "y"}]))

    assert "the row has the fields question, answer" in text
    assert "  nectar: prompt, answers [{answer, rank}]" in text


def test_parquet_of_another_shape_lists_its_columns(tmp_path):
    """The same holds for Parquet, and for a format that was named."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.Table.from_pylist([{"question": "x", "answer": "y"}]), path)

    assert "the row has the fields question, answer" in refused(path)
    assert f"{path} row 1: no field 'answers'" in refused(path, format="nectar")


def test_an_unknown_format_shows_the_near_miss(write):
    """`format:` that is no reader is a usage error with all names."""
    with pytest.raises(UsageError, match=r"unknown format 'hhrlhf'. Did you mean 'hh_rlhf'\?"):
        read_pool(write([ROW]), format="hhrlhf")


TWICE = '{"prompt": "Name a fruit.", "responses": ["apple"], "golden": [1.0], "golden": [0.0]}'


def test_a_key_that_stands_twice_is_no_row(tmp_path):
    """Neither of the two values is taken: the row and the key are named."""
    lined, listed = tmp_path / "pool.jsonl", tmp_path / "pool.json"
    lined.write_text(f"{json.dumps(ROW)}\n{TWICE}\n")
    listed.write_text(f"[\n{json.dumps(ROW)},\n{TWICE}\n]")

    for path, line in ((lined, 2), (listed, 3)):
        said = refused(path)
        assert f"{path.name}:{line}" in said
        assert "the key 'golden' stands twice in one object" in said
