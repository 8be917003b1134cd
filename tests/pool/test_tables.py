"""A table with a header, as annotators send it, is a pool."""

import pytest

from rmcheck.errors import PoolError
from rmcheck.pool.labels import labelled
from rmcheck.pool.reading import read_pool


@pytest.fixture
def table(tmp_path):
    """Reads the text of a .csv file as a pool."""

    def read(text, name="pairs.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return read_pool(path)

    return read


def test_pairs_are_read_with_their_slices(table):
    """Line breaks and commas stand in quotes; a number as an answer stays text."""
    pool = table('prompt,chosen,rejected,category\n"One,\ntwo?",42,"7, or so",maths\n')
    (prompt,) = pool.prompts

    assert pool.format == "trl"
    assert prompt.messages[0].content == "One,\ntwo?"
    assert prompt.responses == ("42", "7, or so")
    assert prompt.labels["golden"] == (1.0, 0.0)
    assert prompt.slices == {"category": "maths"}


def test_one_response_a_row_has_numbers_as_labels(table):
    """Rows of one prompt are one prompt; a column of numbers is a label column."""
    pool = table(
        "prompt,response,golden,helpful,category\n"
        "Why?,So.,0.5,3,chat\nWhy?,Because.,1,4,chat\nHow?,Thus.,0,,code\nHow?,This way.,1,5,code\n"
    )

    assert pool.format == "native_rows"
    assert [p.labels["golden"] for p in pool.prompts] == [(0.5, 1.0), (0.0, 1.0)]
    assert [p.labels["helpful"] for p in pool.prompts] == [(3.0, 4.0), (None, 5.0)]
    assert [p.slices["category"] for p in pool.prompts] == ["chat", "code"]


@pytest.mark.parametrize(
    ("comma", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")]
)
def test_tables_are_read_as_spreadsheets_write_them(table, comma, encoding):
    """With semicolons or tabs, and with a byte order mark."""
    rows = [["prompt", "chosen", "rejected"], ["Why?", "So, yes.", "No."]]
    text = "\r\n".join(comma.join(f'"{cell}"' for cell in row) for row in rows)

    assert table(text, encoding=encoding).prompts[0].responses == ("So, yes.", "No.")


def test_a_table_of_tabs_is_told_by_its_name(table):
    """As a spreadsheet calls it."""
    assert table("prompt\tchosen\trejected\nWhy?\tSo, yes.\tNo.\n", "a.tsv").format == "trl"


def test_tables_of_a_folder_are_read(table, tmp_path):
    """No data file is left out without a word."""
    table("prompt,chosen,rejected\nWhy?,So.,No.\n")
    table("prompt,chosen,rejected\nHow?,Thus.,No.\n", "more.CSV")

    assert len(read_pool(tmp_path).prompts) == 2


def test_a_table_in_utf_16_is_told_what_to_be(table):
    """Excel calls it Unicode text."""
    with pytest.raises(PoolError, match=r"not UTF-8: .*; save the table as CSV UTF-8"):
        table("prompt,chosen,rejected\nWhy?,So.,No.\n", encoding="utf-16")


def test_a_cell_that_is_no_number_is_a_fault_of_its_row(table):
    """The column is meant as numbers, for most cells are."""
    with pytest.raises(PoolError) as caught:
        table("prompt,response,golden\nWhy?,So.,0.5\nWhy?,Yes.,n/a\nWhy?,No.,0\n")

    assert "pairs.csv:3: malformed_row: 1 in 3 rows" in str(caught.value)
    assert "field 'golden' is 'n/a' (str); expected a number" in str(caught.value)


def test_an_empty_cell_is_a_response_that_was_not_judged(table):
    """As null is in JSON."""
    pool = table("prompt,response,golden\nWhy?,So.,0.5\nWhy?,Yes.,\nWhy?,No.,0\n")

    assert pool.prompts[0].labels["golden"] == (0.5, None, 0.0)
    assert len(labelled(pool, "golden", "drop").prompts[0].responses) >= 2


def test_a_table_of_prompts_alone_is_sent_to_sampling(table):
    """A pool has responses."""
    with pytest.raises(PoolError, match="rmcheck sample"):
        table("prompt\nWhy?\n")
