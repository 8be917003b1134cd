"""Turns whose content is a list of parts, as chats of today write it."""

import json

import pytest

from rmcheck.errors import PoolError
from rmcheck.pool.pool import Message, text_keys
from rmcheck.pool.reading import read_pool

TEXT = [{"type": "text", "text": "Name a stone."}, {"type": "input_text", "text": "Briefly."}]


def read(folder, *turns):
    """A pool of one prompt with these turns."""
    row = {"prompt": list(turns), "responses": ["Slate.", "Wood."], "golden": [1, 0]}
    (folder / "pool.jsonl").write_text(json.dumps(row) + "\n")
    return read_pool(folder / "pool.jsonl")


def refusal(folder, *turns):
    """The message about such a pool."""
    with pytest.raises(PoolError) as caught:
        read(folder, *turns)
    return str(caught.value)


def test_texts_of_a_list_are_lines(tmp_path):
    """As vLLM hands them to a template that wants text; one alone is itself."""
    several = read(tmp_path, {"role": "user", "content": TEXT})
    alone = read(tmp_path, {"role": "user", "content": TEXT[:1]})

    assert several.prompts[0].messages[0].content == "Name a stone.\nBriefly."
    assert alone.prompts[0].messages[0].content == "Name a stone."


def test_results_of_tools_are_turns(tmp_path):
    """Under their own role, with their text and the key that they always had."""
    pool = read(
        tmp_path,
        {"role": "user", "content": "Name a stone."},
        {"role": "assistant", "content": "I look it up.", "tool_calls": []},
        {"role": "tool", "content": [{"type": "text", "text": "slate"}], "tool_call_id": "1"},
    )

    messages = pool.prompts[0].messages
    assert messages[2] == Message("tool", "slate")
    assert text_keys(messages, ["Slate."])[0].hex() == "9ef79d48fbbb9523355ade6bf4e673af"


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_what_is_no_text_is_refused(tmp_path, kind):
    """The part and its type are told: nothing of it would reach the model."""
    image = {"type": kind, kind: {"url": "https://example.org/a.png"}}

    said = refusal(tmp_path, {"role": "user", "content": [TEXT[0], image]})

    assert f"field 'prompt[0].content[1].type' is '{kind}'; rmcheck reads texts" in said
