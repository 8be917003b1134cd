"""The file of a judge: what it may say, and what is said of its mistakes."""

import pytest

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.kinds.judge.read import Score, YesNo
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

SAMPLE = Sample(
    "p",
    0,
    (
        Message("system", "be kind"),
        Message("user", "one?"),
        Message("assistant", "1"),
        Message("user", "two?"),
    ),
    "2 {{ prompt }}",
)
WORDS = "engine: hf:judge\nprompt: '{{ response }}'\n"


@pytest.fixture
def read(tmp_path):
    """Reads a file with this text."""

    def read_it(text):
        file = tmp_path / "judge.yaml"
        file.write_text(text)
        return read_judge_file(file)

    return read_it


def test_words_are_texts_even_where_yaml_would_read_truth(read):
    """Bare yes, no, Yes and No are words, not true and false."""
    judge = read(WORDS + "read: {yes: [Yes, ' Yes'], no: No}")

    assert judge.engine == "hf:judge"
    assert judge.read == YesNo(("Yes", " Yes"), ("No",), top_logprobs=20, censored_at_most=0.05)
    assert judge.system == ""


def test_a_score_has_defaults(read):
    """One answer at temperature 0, its last match; what is not parsed is an error."""
    judge = read(WORDS + r"read: {score: 'Score:\s*(-?\d+)', range: [1, 10]}")

    stated = {"samples": 1, "temperature": 0.0, "max_tokens": 512, "last": True}
    assert judge.read == Score(
        r"Score:\s*(-?\d+)", lowest=1.0, highest=10.0, unparsed_at_most=0.0, **stated
    )


def test_everything_about_a_score_can_be_said(read):
    """Samples, temperature, length, which match, and the reward of what is not parsed."""
    judge = read(
        WORDS + "system: Be strict.\n"
        r"read: {score: '(\d+)', range: [0, 5], samples: 4, temperature: 1, max_tokens: 9, "
        "last: false}\nunparsed: {reward: -1, at_most: 0.2}"
    )

    assert judge.read == Score(
        r"(\d+)",
        last=False,
        lowest=0.0,
        highest=5.0,
        samples=4,
        temperature=1.0,
        max_tokens=9,
        unparsed=-1.0,
        unparsed_at_most=0.2,
    )
    assert judge.system == "Be strict."


def test_the_template_sees_turns_last_question_and_response(read):
    """What a response says is text: a template inside it stays as it is."""
    judge = read(
        "engine: hf:judge\nread: {yes: Y, no: N}\nprompt: |\n"
        "  {% for m in messages %}\n  [{{ m.role }}] {{ m.content }}\n  {% endfor %}\n"
        "  Question: {{ prompt }}\n  Answer: {{ response }}\n"
    )

    assert judge.question.texts([SAMPLE])[0] == (
        "[system] be kind\n[user] one?\n[assistant] 1\n[user] two?\n"
        "Question: two?\nAnswer: 2 {{ prompt }}"
    )


def test_a_template_may_stand_in_a_file_beside(read, tmp_path):
    """Relative paths are relative to the file's folder."""
    (tmp_path / "ask.jinja").write_text("Good? {{ response }}")
    judge = read("engine: hf:judge\ntemplate: ask.jinja\nread: {yes: Y, no: N}")

    assert judge.question.texts([SAMPLE])[0] == "Good? 2 {{ prompt }}"


def test_a_file_that_is_not_there_is_an_unknown_model(tmp_path):
    """As for every model."""
    with pytest.raises(UnknownModelError, match=r"judge file .*no\.yaml cannot be read"):
        open_model("judge:no.yaml", base=tmp_path)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("vlm:j", "no judge runs on 'vlm'. Did you mean 'vllm'? Engines: hf:, vllm:, http:"),
        ("judge-7b", "has no scheme"),
        ("hf:nowhere", "engine: checkpoint"),
        ("hf:j?dtyp=bfloat16", "no setting 'dtyp'. Did you mean 'dtype'?"),
        ("http:nowhere", "has no address"),
    ],
)
def test_a_wrong_engine_is_told_with_the_file(tmp_path, engine, said):
    """The message begins with the file that names it."""
    (tmp_path / "judge.yaml").write_text(
        f"engine: {engine}\nprompt: '{{{{ response }}}}'\nread: {{yes: Y, no: N}}\n"
    )

    with pytest.raises(UsageError) as caught:
        open_model("judge:judge.yaml", base=tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / 'judge.yaml'}: engine: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "last", "number"),
    [
        ("Score: 3 ... Score: 7", True, 7.0),
        ("Score: 3 ... Score: 7", False, 3.0),
        ("Score:-0.5", True, -0.5),
        ("Score: 11", True, None),
        ("Score: 3, no, Score: 11", True, None),
        ("three", True, None),
        ("", True, None),
    ],
)
def test_a_number_out_of_range_or_missing_is_not_parsed(answer, last, number):
    """The last match counts, or the first; a worse one does not stand in for it."""
    read = Score(r"Score:\s*(-?\d+(?:\.\d+)?)", lowest=-1, highest=10, last=last)

    assert read.parsed(answer, Sample("p", 0, (), "text")) == number
