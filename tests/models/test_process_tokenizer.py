"""Conversations whose responses are cut into steps, each closed by a tag."""

from dataclasses import replace

import process_models
import pytest
import tiny_models
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.kinds.process.tokenizer import TAG, ProcessTokenizer, response_steps
from rmcheck.models.sample import Sample
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.pool.pool import Message


def tokenizer(words=None, **changes):
    """One that ends steps at line breaks and tags them with a line break."""
    settings = {
        "template": ChatTemplate(None),
        "max_length": None,
        "step": "\n",
        "tag": "\n",
        "between": "",
    }
    return ProcessTokenizer(
        words or tiny_models.tokenizer(), **(settings | {"join": "tokens"} | changes)
    )


def sample(response, prompt="what is a dog"):
    """One conversation."""
    return Sample("p", 0, (Message("user", prompt),), response)


def tags(encoded):
    """Positions of the tags."""
    return [i for i, mark in enumerate(encoded.type_ids) if mark == TAG]


def sentence_pieces():
    """A tokenizer that writes a blank before every text, as Llama 2's does."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first", split=True),
            pre_tokenizers.Split("\n", "isolated"),
        ]
    )
    alphabet = [*"abcdefghijklmnopqrstuvwxyz0123456789:.?S+-\n", "к", "и", "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<unk>", "<s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator([tiny_models.CORPUS + "Step 1: two ки\n" * 9], trainer)
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>"
    )
    words.chat_template = "<s>{{ messages[0].content }} {{ messages[-1].content }}"
    return words


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("a\n\nb\n\nc", ("a", "b", "c")),
        ("a\n\nb\n\n", ("a", "b")),
        ("\n\na \n\n\n\n  b\n", ("a", "  b")),
        ("a\nb", ("a\nb",)),
        ("", ("",)),
        ("\n\n \n\n", ("",)),
    ],
)
def test_steps_are_what_stands_between_separators(response, expected):
    """Empty steps are none, outer line breaks are no part of one, and no response is one step."""
    assert response_steps(response, "\n\n") == expected


def test_each_step_is_followed_by_the_tag():
    """The ids read as prompt, step, tag, step, tag, and the template's end is left out."""
    words = tokenizer(tag="<|end|>", between="+")

    (encoded,) = words.encode([sample("two\nfour")], "error")

    text = "<s><|user|>what is a dog<|end|><|assistant|>two<|end|>+four<|end|>"
    assert words.text(encoded.ids) == text
    assert [words.text(encoded.ids[: at + 1]) for at in tags(encoded)] == [
        text.removesuffix("+four<|end|>"),
        text,
    ]


@pytest.mark.parametrize("join", ["tokens", "text"])
def test_a_tag_of_several_tokens_is_read_at_its_last(join):
    """A word of two letters that are four bytes is four tokens, and the last of them counts."""
    words = tokenizer(tag=" ки", join=join)

    (encoded,) = words.encode([sample("two\nfour\nfive")], "error")

    assert len(words.tag_ids) == 5
    assert len(tags(encoded)) == 3
    for at in tags(encoded):
        assert encoded.ids[at - 4 : at + 1] == words.tag_ids


def test_a_special_tag_joins_alike_by_tokens_and_text():
    """Around a special token both ways of joining give the same ids and tags."""
    by_tokens, by_text = (tokenizer(tag="<|end|>", join=join) for join in ("tokens", "text"))

    for first, second in zip(
        by_tokens.encode(process_models.samples(), "error"),
        by_text.encode(process_models.samples(), "error"),
        strict=True,
    ):
        assert first.ids == second.ids
        assert tags(first) == tags(second)


def test_steps_are_tokenised_one_by_one_as_trl_does():
    """With join=tokens the ids are those of TRL's PRMTrainer: each step's, then the separator's."""
    words = tiny_models.tokenizer()
    words.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    words.chat_template += "{{ messages[-1].content }}"

    (encoded,) = tokenizer(words).encode([sample("two plus two\nis four")], "error")

    expected = [tiny_models.BOS]
    for text in ("what is a dog", "two plus two", "\n", "is four", "\n"):
        expected += words(text, add_special_tokens=False)["input_ids"]
    assert list(encoded.ids) == expected


def test_text_is_tokenised_once_as_math_shepherd_does():
    """With join=text the ids are those of the whole text, and tags stand at their own tokens."""
    words = sentence_pieces()
    joined = tokenizer(words, tag=" ки", between="\n", join="text")

    (encoded,) = joined.encode([sample("Step 1: two\nStep 2: four")], "error")

    text = "<s>what is a dog Step 1: two ки\nStep 2: four ки"
    assert list(encoded.ids) == words(text, add_special_tokens=False)["input_ids"]
    assert [words.convert_ids_to_tokens(encoded.ids[at]) for at in tags(encoded)] == ["▁ки"] * 2
    (apart,) = tokenizer(words, tag=" ки", between="\n").encode([encoded.sample], "error")
    assert apart.ids != encoded.ids


def test_offsets_that_leave_blanks_out_do_no_harm():
    """Llama 3's tokenizer counts no blank before a word; its tags are found all the same."""
    words = tiny_models.tokenizer()
    words._tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)

    (encoded,) = tokenizer(words, tag=" two", join="text").encode([sample("is\na dog")], "error")

    two = words.convert_tokens_to_ids("Ġtwo")
    assert [encoded.ids[at] for at in tags(encoded)] == [two, two]


def test_a_tag_that_merges_with_its_neighbours_is_refused():
    """With join=text a tag that is no token of its own has no logits of its own."""
    with pytest.raises(ScoringError, match=r"step 1: the tag ' tw' has no token of its own"):
        tokenizer(tag=" tw", between="o", join="text").encode([sample("dog\nis four")], "error")


def test_answers_as_turns_are_a_tag_and_what_is_between():
    """Steps as user turns answered by `+` (RLHFlow) need a tag, `between` and a template alone."""
    words = tiny_models.tokenizer()
    turns = [
        {"role": "user", "content": "what is a dog two"},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "four"},
        {"role": "assistant", "content": "+"},
    ]
    expected = words.apply_chat_template(turns, return_dict=False)
    words.chat_template = (
        "{{ bos_token }}<|user|>{{ messages[0].content }} {{ messages[-1].content }}"
    )
    joined = tokenizer(words, tag="<|end|><|assistant|>", between="+<|end|><|user|>", join="text")

    (encoded,) = joined.encode([sample("two\nfour")], "error")

    assert list(encoded.ids) == expected[: len(encoded.ids)]
    plus = words("+", add_special_tokens=False)["input_ids"]
    assert [expected[at + 1] for at in tags(encoded)] == plus * 2


@pytest.mark.parametrize("join", ["tokens", "text"])
def test_a_response_that_holds_the_tag_is_refused(join):
    """A tag inside a step would show the model a step more; the prompts are named."""
    words = tokenizer(tag="<|end|>", join=join)
    bad = replace(sample("two<|end|>four"), prompt_id="spoilt")

    with pytest.raises(ScoringError, match=r"1 of 2 responses hold the tag .*'spoilt'"):
        words.encode([sample("two"), bad], "error")


def test_a_tag_of_blanks_may_stand_inside_a_step():
    """A line break is text like any other: read are the places behind steps, never those inside."""
    words = tokenizer(step="\n\n", tag="\n")

    (encoded,) = words.encode([sample("two\nplus\n\nfour")], "error")

    assert [words.text(encoded.ids[: at + 1])[-6:] for at in tags(encoded)] == [
        "\nplus\n",
        "\nfour\n",
    ]


@pytest.mark.parametrize("join", ["tokens", "text"])
@pytest.mark.parametrize(("response", "count"), [("", 1), ("two", 1), ("a\n" * 500, 500)])
def test_any_number_of_steps(response, count, join):
    """None, one and 500 steps have one tag each; no response has one, behind the prompt."""
    (encoded,) = tokenizer(tag="<|end|>", join=join).encode([sample(response)], "error")

    assert len(tags(encoded)) == count
    assert len(encoded.ids) == len(encoded.type_ids) == encoded.length


def test_only_the_prompt_may_be_cut():
    """Cutting left spares BOS and all tags; cutting into steps, or right, is refused by name."""
    (whole,) = tokenizer().encode([sample("two\nfour", "what is a dog " * 5)], "error")
    steps = sum(mark > 0 for mark in whole.type_ids)
    shorter = tokenizer(max_length=steps + 2)

    (cut,) = shorter.encode([whole.sample], "left")

    assert cut.ids == (tiny_models.BOS, *whole.ids[-steps - 1 :])
    assert len(tags(cut)) == 2
    for words, side in ((tokenizer(max_length=steps + 1), "left"), (shorter, "right")):
        with pytest.raises(ScoringError, match=r"1 of 1 .* would cut their steps .* 'p'"):
            words.encode([whole.sample], side)
    with pytest.raises(ScoringError, match="longer than"):
        shorter.encode([whole.sample], "error")


def test_a_template_without_the_response_is_refused():
    """Where the response goes is where the template writes it."""
    words = tokenizer(template=ChatTemplate("{{ messages[0].content }}"))

    with pytest.raises(ConformanceError, match=r"leaves the response out .*'what is a dog'"):
        words.encode([sample("two")], "error")


def test_a_template_that_raises_is_named():
    """A template's own error comes with the prompt's name and roles."""
    tool = replace(sample("two"), messages=(Message("tool", "x"),))

    with pytest.raises(ScoringError, match=r"refuses prompt 'p' \(roles: tool.*not supported"):
        tokenizer().encode([tool], "error")


def test_unknown_tags_are_refused():
    """A tag that the tokenizer does not know is none that a model was trained with."""
    with pytest.raises(ConformanceError, match=r"'ж' is unknown to the tokenizer"):
        tokenizer(sentence_pieces(), tag="ж")
