"""`scores:FILE`: scores computed elsewhere, joined to the right texts."""

import gzip
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rmcheck.errors import ModelError, ScoringError, UnknownModelError
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from rmcheck.scoring.bundle import write_bundle
from rmcheck.store.parts import Provenance


def rows_of(samples, *, text_key=False):
    """One row a sample, with scores 0, 0.5, 1 and so on."""
    rows = [
        {"prompt_id": s.prompt_id, "response": s.index, "score": 0.5 * i}
        for i, s in enumerate(samples)
    ]
    if text_key:
        for row, s in zip(rows, samples, strict=True):
            row["text_key"] = s.text_key.hex()
    return rows


def write(path, rows):
    """A file in the format of its name."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        if "text_key" in table.column_names:
            keys = pa.array([bytes.fromhex(r["text_key"]) for r in rows], pa.binary(16))
            table = table.drop(["text_key"]).append_column("text_key", keys)
        pq.write_table(table, path)
    else:
        path.write_text(text)
    return path


def loaded(path):
    """The model of a file, loaded."""
    return open_model(f"scores:{path}").load()


def refusal(path, rows):
    """The message with which a file is refused at load."""
    with pytest.raises(ModelError) as caught:
        loaded(write(path, rows))
    return str(caught.value)


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz", "s.parquet"])
@pytest.mark.parametrize("text_key", [False, True])
def test_every_format_gives_the_scores_back(tmp_path, samples, name, text_key):
    """JSON Lines, gzipped, and Parquet, with and without text keys, in any order of samples."""
    model = loaded(write(tmp_path / name, rows_of(samples, text_key=text_key)))

    rewards = model.score(model.encode(samples[::-1]))

    assert rewards.tolist() == [3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0]
    assert not model.model.kept


@pytest.mark.parametrize(
    "types",
    [(pa.large_string(), pa.int8(), pa.float32()), (pa.string(), pa.uint64(), pa.int64())],
    ids=["narrow", "wide"],
)
def test_columns_of_other_types_are_looked_at_row_by_row(tmp_path, samples, types):
    """Whoever writes Parquet need not write it as we do: a number is a number."""
    columns = pa.Table.from_pylist([row | {"score": i} for i, row in enumerate(rows_of(samples))])
    schema = pa.schema(list(zip(columns.column_names, types, strict=True)))
    pq.write_table(columns.cast(schema), tmp_path / "s.parquet")
    model = loaded(tmp_path / "s.parquet")

    assert model.score(model.encode(samples)).tolist() == list(range(8))


@pytest.mark.parametrize("field", ["prompt_id", "response", "score", "text_key"])
def test_a_row_of_parquet_without_a_field_is_named(tmp_path, samples, field):
    """One empty cell among thousands is found, with its row."""
    rows = rows_of(samples)
    keys = pa.array([s.text_key for s in samples], pa.binary(16))
    table = pa.Table.from_pylist(rows).append_column("text_key", keys)
    cells = table[field].to_pylist()
    at = table.column_names.index(field)
    table = table.set_column(at, field, pa.array([*cells[:5], None, *cells[6:]], table[field].type))
    pq.write_table(table, tmp_path / "s.parquet")

    with pytest.raises(ModelError, match=r"s\.parquet:6: "):
        loaded(tmp_path / "s.parquet")


@pytest.mark.parametrize("text_key", [False, True])
def test_scores_of_another_pool_are_told_from_missing_ones(tmp_path, samples, text_key):
    """What to do stands in the message."""
    model = loaded(write(tmp_path / "s.jsonl", rows_of(samples, text_key=text_key)))

    with pytest.raises(ScoringError, match="or has the pool changed"):
        model.encode([Sample("another-id", 5, samples[3].messages, "new")])


def test_with_text_keys_the_text_counts_and_not_the_place(tmp_path, samples):
    """A renamed prompt finds its scores; a changed text does not (trap 4.29)."""
    model = loaded(write(tmp_path / "s.jsonl", rows_of(samples, text_key=True)))
    renamed = Sample("another-id", 5, samples[3].messages, samples[3].response)
    changed = Sample("p1", 1, samples[3].messages, "five")

    assert model.score(model.encode([renamed])).tolist() == [1.5]

    with pytest.raises(ScoringError) as caught:
        model.encode([samples[0], changed])

    assert "has no score for 1 of 2 responses; prompts: 'p1'" in str(caught.value)
    assert "1 of them have a row of that prompt_id and response, but for another text" in str(
        caught.value
    )


@pytest.mark.parametrize("text_key", [False, True])
def test_rows_found_by_position_come_with_a_warning(tmp_path, samples, text_key):
    """Only a text_key ties a score to a text; the table and the report say which it was."""
    model = loaded(write(tmp_path / "s.jsonl", rows_of(samples, text_key=text_key)))
    model.close()

    assert ("by text_key" in model.description["rows"]) is text_key
    assert ("texts not verified" in model.description.get("warning", "")) is not text_key


@pytest.mark.parametrize("text_key", [False, True])
def test_rows_of_equal_texts_keep_their_own_scores(tmp_path, samples, text_key):
    """Judges that sample and human raters give one text two scores; neither is used for both."""
    twin = Sample(samples[3].prompt_id, 9, samples[3].messages, samples[3].response)
    model = loaded(write(tmp_path / "s.jsonl", rows_of([*samples, twin], text_key=text_key)))

    assert model.score(model.encode([twin, samples[3]])).tolist() == [4.0, 1.5]


def test_a_text_with_several_scores_is_not_found_by_its_text(tmp_path, samples):
    """Which of them a renamed prompt should have nobody knows."""
    twin = Sample(samples[3].prompt_id, 9, samples[3].messages, samples[3].response)
    model = loaded(write(tmp_path / "s.jsonl", rows_of([*samples, twin], text_key=True)))
    renamed = Sample("another-id", 5, samples[3].messages, samples[3].response)

    with pytest.raises(ScoringError, match="1 of them have a text that other rows give several"):
        model.encode([renamed])


def test_missing_rows_name_the_first_prompts_and_their_number(tmp_path, samples):
    """Samples without a score are an error before anything is scored."""
    model = loaded(write(tmp_path / "s.jsonl", rows_of(samples)))
    unknown = [Sample(f"q{i}", 0, (Message("user", "?"),), "!") for i in range(9)]

    with pytest.raises(ScoringError) as caught:
        model.encode([*samples, *unknown])

    message = str(caught.value)
    assert "no score for 9 of 17 responses; prompts: 'q0', 'q1', 'q2', 'q3', 'q4' and 4 more" in (
        message
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"response": 0, "score": 1.0}, "no 'prompt_id'; it has response, score"),
        ({"prompt_id": 7, "response": 0, "score": 1.0}, "prompt_id is 7, not a string"),
        ({"prompt_id": "a", "response": "0", "score": 1.0}, "response is '0'; it is the"),
        ({"prompt_id": "a", "response": True, "score": 1.0}, "response is True; it is the"),
        ({"prompt_id": "a", "response": -1, "score": 1.0}, "response is -1; it is the"),
        (
            {"prompt_id": "a", "response": 2**63, "score": 1.0},
            "response is 9223372036854775808; it",
        ),
        ({"prompt_id": "a", "response": 0, "score": "1"}, "score is '1', not a number"),
        ({"prompt_id": "a", "response": 0, "score": None}, "score is None, not a number"),
        ({"prompt_id": "a", "response": 0, "score": True}, "score is True, not a number"),
        ({"prompt_id": "a", "response": 0, "score": float("nan")}, "score is nan; a score is"),
        ({"prompt_id": "a", "response": 0, "score": float("inf")}, "score is inf; a score is"),
        (
            {"prompt_id": "a", "response": 0, "score": 1, "text_key": "abc"},
            "text_key is 'abc'; it is 16 bytes, or 32 hex digits",
        ),
        ([1], "this is [1]"),
    ],
)
def test_each_wrong_row_names_line_and_field(tmp_path, samples, row, said):
    """Line, field and value of what cannot be a score."""
    message = refusal(tmp_path / "s.jsonl", [*rows_of(samples), row])

    assert f"{tmp_path / 's.jsonl'}:9: " in message
    assert said in message


def test_all_wrong_rows_are_named_at_once(tmp_path):
    """Twenty are shown, the others counted."""
    rows = [{"prompt_id": "a", "response": i, "score": None} for i in range(25)]

    message = refusal(tmp_path / "s.jsonl", rows)

    assert message.count("score is None") == 20
    assert message.endswith("\nand 5 more problems")


def test_one_response_with_two_scores(tmp_path, samples):
    """Repeated rows are harmless while they agree."""
    rows = rows_of(samples)
    model = loaded(write(tmp_path / "same.jsonl", [*rows, rows[2]]))
    assert model.score(model.encode(samples[2:3])).tolist() == [1.0]

    message = refusal(tmp_path / "s.jsonl", [*rows, rows[2] | {"score": 9.0}])

    assert "s.jsonl:9: prompt_id 'p1' response 0 has score 9.0, but row 3 gives" in message


def test_text_keys_are_for_all_rows_or_none(tmp_path, samples):
    """Half a file joined by text and half by place would be neither."""
    rows = rows_of(samples, text_key=True)
    del rows[4]["text_key"]

    assert ":5: some rows have a text_key and some have none" in refusal(tmp_path / "s.jsonl", rows)


def test_a_line_that_is_no_json(tmp_path):
    """A broken line is named; blank lines are not lines."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"prompt_id": "a", "response": 0, "score": 1}\n\n{"prompt_id": \n')

    with pytest.raises(ModelError, match=r"s\.jsonl:3: not JSON"):
        loaded(path)


def test_an_empty_file_has_no_scores(tmp_path):
    """Nothing passes by accident."""
    assert "no scores in it" in refusal(tmp_path / "s.jsonl", [])


def test_missing_parquet_columns_are_named(tmp_path):
    """A Parquet file without a column says which, and what it has."""
    message = refusal(tmp_path / "s.parquet", [{"prompt_id": "a", "reward": 1.0}])

    assert "no column 'response', 'score'; it has prompt_id, reward" in message


@pytest.mark.parametrize("name", ["s.parquet", "s.jsonl.gz"])
def test_a_file_cut_short_is_damage(tmp_path, samples, name):
    """Half a file is an error, not half the scores."""
    path = write(tmp_path / name, rows_of(samples))
    path.write_bytes(path.read_bytes()[:-12])

    with pytest.raises(ModelError, match=r"not a readable Parquet file|read to its end"):
        loaded(path)


def test_a_file_that_is_not_there(tmp_path):
    """Neither a missing file nor a folder is a file of scores."""
    with pytest.raises(UnknownModelError, match="does not exist"):
        open_model(f"scores:{tmp_path / 'none.jsonl'}")
    with pytest.raises(UnknownModelError, match="is a folder"):
        open_model(f"scores:{tmp_path}")


def test_other_scores_are_another_model(tmp_path, samples):
    """The fingerprint is the file's content, not its name."""
    first = write(tmp_path / "a.jsonl", rows_of(samples))
    same = write(tmp_path / "b.jsonl", rows_of(samples))
    other = write(tmp_path / "c.jsonl", rows_of(samples[:-1]))

    prints = [open_model(f"scores:{path}").fingerprint for path in (first, same, other)]

    assert prints[0] == prints[1] != prints[2]


def bundle(path, samples, **metadata):
    """A Parquet file with a bundle's metadata."""
    table = pa.Table.from_pylist(rows_of(samples))
    names = {f"rmcheck.{key}".encode(): value.encode() for key, value in metadata.items()}
    pq.write_table(table.replace_schema_metadata(names), path)
    return path


def test_a_bundle_tells_of_the_model_that_scored(tmp_path, samples):
    """Its spec, fingerprint, description and conformance page survive the journey."""
    path = bundle(
        tmp_path / "b.parquet",
        samples,
        fingerprint="ab" * 32,
        spec="hf:runs/rm",
        description='{"dtype": "bfloat16"}',
        conformance='[{"name": "head", "status": "pass", "detail": "one logit"}]',
    )

    model = loaded(path)

    assert model.description["scored by"] == "hf:runs/rm"
    assert model.description["model fingerprint"] == "ab" * 32
    assert model.description["dtype"] == "bfloat16"
    assert model.prove(()).items[0].detail == "one logit"


def test_damaged_bundle_metadata_is_an_error(tmp_path, samples):
    """Metadata that is no JSON is not guessed at."""
    path = bundle(tmp_path / "b.parquet", samples, fingerprint="ab", conformance="[1")

    with pytest.raises(ModelError, match="metadata of this score bundle is damaged"):
        loaded(path)


@pytest.mark.parametrize("column", ["prompt_id", "response", "score", "text_key", "metadata"])
def test_a_bundle_that_was_changed_is_refused(tmp_path, samples, column):
    """A bundle says what it held when it was written; rows that differ from that are damage."""
    path = tmp_path / "b.parquet"
    write_bundle(path, samples, np.arange(len(samples)) / 4, Provenance("ab" * 32, "hf:rm"))
    assert loaded(path).score(loaded(path).encode(samples)).tolist() == [i / 4 for i in range(8)]
    table = pq.read_table(path)
    if column == "metadata":
        table = table.replace_schema_metadata({**table.schema.metadata, b"rmcheck.spec": b"hf:it"})
    else:
        other = table[column].take(list(reversed(range(len(samples)))))
        table = table.set_column(table.column_names.index(column), table.field(column), other)
    pq.write_table(table, path)

    with pytest.raises(ModelError, match=r"is damaged .* rmcheck score --bundle"):
        loaded(path)


@pytest.mark.parametrize("name", ["s.jsonl", "s.parquet"])
def test_a_hundred_thousand_rows_load_in_about_a_second(tmp_path, name):
    """Reading is linear and quick; the bound is loose, for busy machines."""
    rows = [{"prompt_id": f"p{i // 8}", "response": i % 8, "score": i / 7} for i in range(100_000)]
    path = write(tmp_path / name, rows)

    started = time.process_time()
    model = loaded(path)
    seconds = time.process_time() - started

    sample = Sample("p12", 3, (Message("user", "?"),), "!")
    assert model.score(model.encode([sample])) == np.array([99 / 7])
    assert seconds < 4
