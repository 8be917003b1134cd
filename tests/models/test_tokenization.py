"""One conversation, one sequence of ids: template, BOS, EOS, length."""

import itertools

import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import BOS, END

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.sample import Sample
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.tokenization import (
    ConversationTokenizer,
    conversation,
    input_key,
    pair_texts,
)
from rmcheck.pool.pool import Message


@pytest.fixture(scope="module")
def words():
    """The tiny tokenizer, whose post-processor and template both write a BOS."""
    return tiny_models.tokenizer()


def made(words, template=None, eos="keep", max_length=None, type_ids=True):
    """A conversation tokenizer."""
    return ConversationTokenizer(
        words, template=ChatTemplate(template), eos=eos, max_length=max_length, type_ids=type_ids
    )


def sample(content="what is four", response="four", role="user", prompt_id="p"):
    """One sample."""
    return Sample(prompt_id, 0, (Message(role, content),), response)


def test_ids_are_those_of_apply_chat_template(words, samples):
    """Batched or not, the ids are what transformers gives for one conversation."""
    encoded = made(words).encode(samples, "error")

    expected = [
        words.apply_chat_template(conversation(s), tokenize=True, return_dict=False)
        for s in samples
    ]
    assert [list(e.ids) for e in encoded] == expected
    assert [e.sample for e in encoded] == samples
    assert [e.length for e in encoded] == [len(row) for row in expected]


def test_one_bos_although_template_and_tokenizer_both_write_one(words, samples):
    """Tokenising the rendered text would give two; the ids have one (trap 4.1)."""
    rendered = words.apply_chat_template(conversation(samples[0]), tokenize=False)
    assert words(rendered)["input_ids"][:2] == [BOS, BOS]

    ids = made(words).encode(samples[:1], "error")[0].ids

    assert ids[:2] != (BOS, BOS)
    assert ids[0] == BOS


def test_a_template_that_writes_two_bos_is_refused(words):
    """Two BOS at the beginning show ids and text (trap 4.1)."""
    doubled = "{{ bos_token }}" + tiny_models.CHAT_TEMPLATE

    with pytest.raises(ConformanceError) as caught:
        made(words, doubled).encode([sample()], "error")

    assert "prompt 'p' begins with two BOS: ids [1, 1, 4" in str(caught.value)
    assert "'<s><s><|user|>" in str(caught.value)


@pytest.mark.parametrize(
    ("eos", "ends"), [("keep", [END, END]), ("append", [END, END]), ("strip", [40, 40])]
)
def test_eos_rule_on_a_template_that_closes_with_eos(words, eos, ends):
    """`append` adds none where one stands; `strip` removes it (trap 4.2)."""
    rows = made(words, eos=eos).encode([sample(), sample(response="four")], "error")

    closes = [row.ids[-1] == END for row in rows]
    assert closes == [end == END for end in ends]


@pytest.mark.parametrize(("eos", "count"), [("keep", 0), ("append", 1), ("strip", 0)])
def test_eos_rule_on_a_template_without_eos(words, eos, count):
    """`append` adds exactly one EOS (trap 4.2)."""
    template = "{{ bos_token }}{{ messages[-1].content }}"

    (row,) = made(words, template, eos).encode([sample()], "error")

    assert row.ids.count(END) == count
    assert (row.ids[-1] == END) == bool(count)


def test_strip_removes_every_closing_eos(words):
    """A template that closes twice is stripped of both."""
    template = "{{ bos_token }}{{ messages[-1].content }}<|end|><|end|>"

    (row,) = made(words, template, "strip").encode([sample()], "error")

    assert END not in row.ids


def test_a_template_error_names_the_prompt_and_the_templates_words(words):
    """What the template raises reaches the user with the prompt and its roles."""
    rows = [sample(prompt_id="fine"), sample(role="tool", prompt_id="with-tools")]

    with pytest.raises(ScoringError) as caught:
        made(words).encode(rows, "error")

    assert str(caught.value) == (
        "the chat template refuses prompt 'with-tools' (roles: tool, then the assistant's "
        "response 0): tool turns are not supported"
    )


def test_no_tokens_at_all_are_refused(words):
    """An empty row has no position to read a reward at."""
    with pytest.raises(ScoringError, match="prompt 'p', response 0 has no tokens at all"):
        made(words, "{{ messages[-1].content }}").encode([sample(response="")], "error")


def test_too_long_names_all_prompts_with_the_limit(words, samples):
    """Nothing is cut unasked: every long conversation is counted (trap 4.11)."""
    tokenizer = made(words, max_length=20)
    lengths = [e.length for e in made(words).encode(samples, "error")]
    over = sum(length > 20 for length in lengths)
    assert 0 < over < len(samples)

    with pytest.raises(ScoringError) as caught:
        tokenizer.encode(samples, "error")

    message = str(caught.value)
    assert f"{over} of 8 conversations are longer than the 20 tokens" in message
    assert f"'p3' response 1: {max(lengths)}" in message
    assert "too_long: left" in message


@pytest.mark.parametrize("side", ["left", "right"])
def test_cutting_keeps_the_side_asked_for_and_counts(words, samples, side):
    """`left` keeps BOS and the end; `right` keeps the beginning; `cut` says how many (4.11)."""
    whole = made(words).encode(samples, "error")

    cut = made(words, max_length=20).encode(samples, side)

    for before, after in zip(whole, cut, strict=True):
        removed = max(0, before.length - 20)
        assert after.cut == removed
        assert after.length == len(after.ids) == before.length - removed
        expected = before.ids
        if removed and side == "left":
            expected = (BOS, *before.ids[removed + 1 :])
        elif removed:
            expected = before.ids[:20]
        assert after.ids == expected
        assert (after.key == before.key) == (removed == 0)


def test_text_pairs_bring_their_type_ids(words):
    """`pair` is the tokenizer's own text pair: prompt contents, then the response."""
    s = Sample("p", 0, (Message("system", "be brief"), Message("user", "why")), "four")
    expected = words("be brief\nwhy", "four", return_token_type_ids=True)

    (row,) = made(words, "pair").encode([s], "error")

    assert pair_texts([s]) == (["be brief\nwhy"], ["four"])
    assert list(row.ids) == expected["input_ids"]
    assert list(row.type_ids) == expected["token_type_ids"]
    assert set(row.type_ids) == {0, 1}


def test_models_without_type_ids_get_none(words):
    """A model that knows no types is not given any, nor are they part of the key."""
    (row,) = made(words, "pair", type_ids=False).encode([sample()], "error")

    assert row.type_ids == ()
    assert row.key == input_key(row.ids, ())


def test_cutting_pairs_cuts_type_ids_alike(words):
    """Ids and type ids stay of one length."""
    for side in ("left", "right"):
        (row,) = made(words, "pair", max_length=6).encode([sample()], side)

        assert len(row.ids) == 6
        assert len(row.type_ids) == 6


def test_the_key_is_the_input():
    """Equal ids give equal keys of 16 bytes; other ids or type ids give others."""
    rows = [([1, 2], []), ([2, 1], []), ([1, 2, 0], []), ([1, 2], [0, 0]), ([1, 2], [0, 1])]

    keys = [input_key(ids, types) for ids, types in rows]

    assert len(set(keys)) == len(rows)
    assert {len(key) for key in keys} == {16}
    assert input_key((1, 2), ()) == keys[0]


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_any_text_encodes_alike_alone_and_in_company(texts):
    """What stands beside a conversation never changes its ids, whatever the text."""
    tokenizer = made(SHARED)
    rows = [
        sample(content, response, prompt_id=str(i)) for i, (content, response) in enumerate(texts)
    ]

    together = tokenizer.encode(rows, "error")
    alone = list(itertools.chain.from_iterable(tokenizer.encode([row], "error") for row in rows))

    assert together == alone


SHARED = tiny_models.tokenizer()


def test_a_tokenizer_that_reads_otherwise_than_its_file_is_noticed(words, samples, tmp_path):
    """The count of texts whose ids differ from tokenizer.json's (performance trap G1)."""
    from tokenizers import Tokenizer, pre_tokenizers

    words.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"

    assert made(words).differing_from_file(path, samples) == 0

    core = Tokenizer.from_file(str(path))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.save(str(path))

    assert made(words).differing_from_file(path, samples) == len(samples)
    assert made(words).differing_from_file(tmp_path / "none.json", samples) is None
