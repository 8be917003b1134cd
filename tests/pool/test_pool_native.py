"""Laws of rmcheck's own format."""

import dataclasses
import json
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.pool.faults import FAULT_RULES
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.reading import read_pool

# The smallest change of a prompt that must change the pool's fingerprint, field by field.
CHANGES = {
    "prompt_id": "other",
    "messages": (Message("user", "other"),),
    "responses": ("a", "other"),
    "labels": {"golden": (1.0, 0.5)},
    "slices": {"category": "other"},
    "cluster": "other",
}

TEXT = st.text(max_size=12)
NAMES = st.text("abcdefgh", min_size=1, max_size=6)
TURNS = st.builds(
    Message, role=st.sampled_from(["system", "user", "assistant", "tool"]), content=TEXT
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Any prompt that the format can hold."""
    responses = draw(st.lists(TEXT, min_size=1, max_size=4))
    size = len(responses)
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    cut = draw(st.integers(0, len(names)))
    column = st.lists(st.none() | NUMBERS, min_size=size, max_size=size).map(tuple)
    return Prompt(
        prompt_id="",
        messages=tuple(draw(st.lists(TURNS, min_size=1, max_size=3))),
        responses=tuple(responses),
        labels={name: draw(column) for name in names[:cut]},
        slices={name: draw(TEXT) for name in names[cut:]},
    )


def as_row(prompt: Prompt, number: int) -> str:
    """A prompt as a line of the native format."""
    return json.dumps(
        {
            "prompt_id": f"p{number}",
            "prompt": [dataclasses.asdict(message) for message in prompt.messages],
            "responses": prompt.responses,
            **prompt.labels,
            **prompt.slices,
        }
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(prompts(), min_size=1, max_size=4))
def test_what_is_written_is_read(written):
    """Conversations, responses, labels and slices survive the file to the last bit."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        lines = [as_row(prompt, number) for number, prompt in enumerate(written)]
        path.write_text("\n".join(lines), encoding="utf-8")
        pool = read_pool(
            path, faults={k: "keep" for k, r in FAULT_RULES.items() if r.default == "keep"}
        )

    expected = [
        dataclasses.replace(p, prompt_id=f"p{i}", line=i + 1, path=str(path), cluster="")
        for i, p in enumerate(written)
    ]

    assert [dataclasses.replace(p, cluster="") for p in pool.prompts] == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(prompts(), min_size=2, max_size=4))
def test_clusters_are_equal_exactly_where_the_words_of_conversations_are(written):
    """The default unit is the conversation, whatever is answered and however it is punctuated."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        path.write_text("\n".join(as_row(p, i) for i, p in enumerate(written)), encoding="utf-8")
        read = read_pool(path).prompts

    pairs = [(a, b) for a in read for b in read]

    assert all(a.cluster == b.cluster for a, b in pairs if a.messages == b.messages)
    assert all(words(a) == words(b) for a, b in pairs if a.cluster == b.cluster)


def words(prompt):
    """Letters and digits of each turn, in the one form that Unicode has for equal ones."""
    return [
        (m.role, [c for c in unicodedata.normalize("NFKC", m.content) if c.isalnum()])
        for m in prompt.messages
    ]


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_the_fingerprint_sees_every_field(field, write):
    """Data that differ anywhere have another fingerprint; the same data have the same."""
    row = {"prompt": "x", "responses": ["a", "b"], "golden": [1.0, 0.0], "category": "c"}
    pool = read_pool(write([row]))
    (prompt,) = pool.prompts
    changed = dataclasses.replace(
        pool, prompts=(dataclasses.replace(prompt, **{field: CHANGES[field]}),)
    )

    assert pool.fingerprint() == read_pool(write([row], "copy.jsonl")).fingerprint()
    assert pool.fingerprint() != changed.fingerprint()


def test_a_prompt_has_one_label_a_response():
    """Labels or places of another number are refused where a prompt is made."""
    with pytest.raises(ValueError, match="prompt 'p' has 2 responses and 1 golden"):
        Prompt("p", (Message("user", "x"),), ("a", "b"), {"golden": (1.0,)})
    with pytest.raises(ValueError, match="prompt 'p' has 2 responses and 3 indices"):
        Prompt("p", (Message("user", "x"),), ("a", "b"), {}, indices=(0, 1, 2))
