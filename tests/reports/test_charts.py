"""Charts of a page: the same data give the same text, in the page's colours, with names escaped."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra rmcheck[report]")
from rmcheck.reports.charts import Series, chart, forest, matrix

X = np.linspace(0, 2, 5)
NAMES = ["plain", "<script>alert(1)</script>", "$x$ and $y$", "a & b", "\x1b[31m", "中文"]


def drawn(name="golden"):
    """A line with a band, a dashed line, and points."""
    series = [
        Series(name, X, X**2, X**2 - 0.1, X**2 + 0.1),
        Series("dashed", X, X, dashed=True),
        Series("points", X, 2 - X, dots=True, small=True),
        Series("followed", X, X, dotted=True, colour=1),
    ]
    return chart(name, "x", "y", series, diagonal=True, top={1.0: name}, top_label=name)


def rows(name="golden"):
    """A forest of two rows, of which one has no number."""
    nan = np.array([0.5, np.nan])
    return forest(name, name, [name, "b"], [Series(name, nan, nan, nan - 0.1, nan + 0.1)])


def test_the_same_data_give_the_same_text():
    """Two pages of one run do not differ."""
    assert drawn() == drawn()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text(name):
    """Whatever a model or a slice is called, it adds no tag and no formula."""
    for text in (drawn(name), rows(name), matrix(name, [name], [name], np.ones((1, 1)))):
        tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(text).iter()}
        assert "script" not in tags
        assert "\x1b" not in text
    if "$" in name:
        assert name in drawn(name)


def test_words_and_axes_take_the_colour_of_the_page():
    """So the chart is read on a dark page, too."""
    assert "currentColor" in drawn()
    assert "#010203" not in drawn()
    assert "#000000" not in drawn()


def test_a_drawing_loads_nothing():
    """No address but the names of SVG itself."""
    addresses = set(re.findall(r"https?://[^\"\' ]+", drawn()))

    assert addresses <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}


def test_the_users_own_matplotlib_stays_as_it_is():
    """Settings of the process are read by nobody and changed by nobody."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 40}):
        large = drawn()
    drawn()

    assert dict(mpl.rcParams) == before
    assert large == drawn()


def test_an_empty_cell_stays_empty():
    """NaN is no number to show."""
    text = matrix("m", ["a", "b"], ["c", "d"], np.array([[0.25, np.nan], [0.5, 0.75]]))

    assert "<image" not in text  # which the policy of a page would not show
    assert {"0.25", "0.50", "0.75"} <= set(re.findall(r">\s*(\d\.\d\d)\s*<", text))
    assert "nan" not in text.lower()
