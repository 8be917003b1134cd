"""Judges that grade several criteria in one answer: what is asked, read, kept and combined."""

import json

import numpy as np
import pytest
import tiny_models
from asking import refusal
from hypothesis import given
from hypothesis import strategies as st
from judging_server import JudgingServer, number_of

from rmcheck.errors import ConformanceError, PartialScoringError, ScoringError, UsageError
from rmcheck.models.kinds.judge.engine import answer_seed
from rmcheck.models.kinds.judge.read import grades
from rmcheck.models.kinds.judge.score import flipped
from rmcheck.models.kinds.judge.server import ServerJudge
from rmcheck.models.registry import open_model
from rmcheck.scoring.members import fill_members, read_combined
from rmcheck.scoring.request import Request
from rmcheck.store.scores import MemoryStore

READ = "read: {criteria: {correct: {range: [1, 5], weight: 3}, clear: {range: [0, 999]}}, MORE}\n"
SEEDED = "samples: 3, temperature: 1.0"


def graded(question, seed):
    """What the server writes: words around an object of grades."""
    number = number_of(question, seed)
    return f"Let me see. {json.dumps({'correct': number % 5 + 1, 'clear': number})} That is all."


@pytest.fixture
def server():
    """A server that grades both criteria."""
    with JudgingServer() as running:
        running.says = graded
        yield running


@pytest.fixture
def opened(server, tmp_path):
    """Opens judges of this server, or of another engine, and closes them."""
    models = []

    def open_it(more="samples: 1", rest="", engine="", query="", read=READ):
        file = tmp_path / "rubric.yaml"
        file.write_text(
            f"engine: {engine or f'http:{server.url}'}\nprompt: '{{{{ prompt }}}} / "
            f"{{{{ response }}}}'\n{read.replace('MORE', more)}{rest}\n"
        )
        models.append(open_model(f"judge:{file}{query}"))
        return models[-1]

    yield open_it
    for model in models:
        if isinstance(model.engine, ServerJudge):
            model.engine.server.client.close()


def scored(model, samples, store):
    """What a run does: every member scores what is not stored, and the scores are combined."""
    request = Request(model, tuple(samples))
    reports = fill_members([request], lambda _: store)
    return reports, read_combined(request, lambda _: store)


def asked(sample):
    """The user turn of a sample."""
    return f"{sample.messages[-1].content} / {sample.response}"


def grades_of(model, samples, answers=1):
    """(2, texts, answers) what the server grades each text with, correct before clear."""
    session = model.members[0].load()
    numbers = [
        [
            number_of(
                f"{e.sample.messages[-1].content} / {e.sample.response}", answer_seed(e.key, i)
            )
            for i in range(answers)
        ]
        for e in session.encode(samples)
    ]
    return np.array([np.array(numbers) % 5 + 1, numbers])


# -- what is asked and combined ---------------------------------------------------------------


def test_one_answer_grades_all_criteria_and_the_reward_is_their_weighted_mean(
    server, opened, samples
):
    """Each criterion is a column; a text is asked about once for all of them."""
    model = opened(SEEDED)
    correct, clear = grades_of(model, samples, 3).mean(axis=-1)

    _, found = scored(model, samples, MemoryStore())

    np.testing.assert_allclose(found.rewards, (3 * correct + clear) / 4)
    np.testing.assert_allclose(found.columns["component correct"], correct)
    np.testing.assert_allclose(found.columns["component clear"], clear)
    before = len(server.requests)
    for member in model.members:
        session = member.load()
        session.score(session.encode(samples))
    assert len(server.requests) == before


def test_the_server_is_told_the_schema_of_an_answer(server, opened, samples):
    """All criteria with their ranges, as OpenAI's `response_format` has it."""
    (member, _) = opened().members
    session = member.load()

    session.score(session.encode(samples[:1]))

    (_, body) = server.requests[-1]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "grades",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "correct": {"type": "number", "minimum": 1.0, "maximum": 5.0},
                    "clear": {"type": "number", "minimum": 0.0, "maximum": 999.0},
                },
                "required": ["correct", "clear"],
                "additionalProperties": False,
            },
        },
    }


def test_a_criterion_is_a_model_of_its_own(opened, samples):
    """Named in the spec it is the rubric's member, whose stored scores it finds."""
    store = MemoryStore()
    scored(opened(), samples, store)
    alone = opened(query="?criterion=clear")

    (report,), found = scored(alone, samples, store)

    assert alone.fingerprint == opened().members[1].fingerprint
    assert alone.name.startswith("rubric clear by ")
    assert (report.from_store, report.scored) == (8, 0)
    np.testing.assert_allclose(found.rewards, grades_of(opened(), samples)[1, :, 0])


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("weight: 3", "weight: 2"), (False, True)),
        (("range: [1, 5]", "range: [1, 6]"), (False, False)),
        (("clear:", "short:"), (False, False)),
        (("samples: 1", "samples: 2, temperature: 1"), (False, False)),
    ],
)
def test_what_changes_rewards_changes_the_fingerprint(opened, change, same):
    """A weight is no matter of a criterion; another criterion is, since one answer grades both."""
    before, after = opened(), opened(read=READ.replace("MORE", "samples: 1").replace(*change))

    assert before.fingerprint != after.fingerprint
    pairs = zip(before.members, after.members, strict=True)
    assert all(a.fingerprint == b.fingerprint for a, b in pairs) is same[1]


@pytest.mark.parametrize(
    ("query", "read", "said"),
    [
        (
            "?criterion=cler",
            READ,
            "no criterion 'cler'. Did you mean 'clear'? Criteria: correct, clear",
        ),
        ("?criterion=clear", "read: {yes: [Yes], no: [No]}\n", "this judge reads no criteria"),
    ],
)
def test_a_criterion_that_is_not_there_is_told(opened, query, read, said):
    """With those that are."""
    assert said in refusal(UsageError, opened, "samples: 1", "", "", query, read)


# -- what is not graded -----------------------------------------------------------------------


def test_an_answer_without_a_grade_is_an_error_that_names_it(server, opened, samples):
    """The criterion, its range and the end of the answer are told."""
    server.says = lambda *_: '{"correct": 9, "clear": 3}'
    correct, clear = (member.load() for member in opened().members)

    said = refusal(PartialScoringError, correct.score, correct.encode(samples[:1]))

    assert "no JSON object with a number 'correct' from 1 to 5 in the answer" in said
    assert 'which ends \'{"correct": 9.0, "clear": 3.0}\'' in said
    assert clear.score(clear.encode(samples[:1])).tolist() == [3.0]


def test_the_share_of_texts_without_a_grade_is_bounded_a_criterion(server, opened, samples):
    """What stands in for a grade goes into the mean, is warned of, and is limited."""
    server.says = lambda question, _: "{}" if "four" in question else '{"correct": 5, "clear": 1}'
    lax = opened(rest="unparsed: {reward: -9, at_most: 1}")
    strict = opened(rest="unparsed: {reward: -9, at_most: 0.5}")

    _, found = scored(lax, samples, MemoryStore())

    assert sorted(set(found.rewards.tolist())) == [-9.0, 4.0]
    assert f"{lax.members[0].name}: 6 of 8 texts (75.0%) have no parsed answer" in found.warning
    assert "unparsed.at_most allows 50.0%" in refusal(
        ScoringError, strict.members[0].combined, found.columns["component correct"], samples
    )


def test_a_reply_that_is_interrupted_keeps_what_was_graded(server, opened, samples):
    """The next criterion and the next run ask for the rest alone."""
    server.faults = [""] * 4 + ["html"]
    model = opened(engine=f"http:{server.url}?concurrency=1")
    first, second = (member.load() for member in model.members)
    encoded = first.encode(samples)

    with pytest.raises(PartialScoringError) as stopped:
        first.score(encoded)
    before = len(server.requests)
    rewards = second.score(encoded)

    assert sorted(stopped.value.rewards) == [0, 1, 2, 3]
    assert len(server.requests) == before + 4
    np.testing.assert_allclose(rewards, grades_of(opened(), samples)[1, :, 0])


# -- reading JSON -----------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


@given(
    st.dictionaries(st.text(max_size=5), NUMBERS, min_size=1),
    st.text(st.characters(exclude_characters="{}")),
    st.text(st.characters(exclude_characters="{}")),
)
def test_an_object_is_found_among_words(found, before, after):
    """Whatever stands before and behind it; numbers come back as they are."""
    assert grades(f"{before}{json.dumps(found)}{after}") == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", {}),
        ("correct: 4", {}),
        ("[1, 2]", {}),
        ("{", {}),
        ('{"a": 1', {}),
        ('{"a": true, "b": "4", "c": null, "d": [4], "e": {"f": 4}}', {}),
        ('{"a": NaN, "b": Infinity, "c": 1e400}', {}),
        ('first {"a": 1} then {"a": 2}', {"a": 2.0}),
        ('{oops {"a": 3}', {"a": 3.0}),
        ("{" * 50_000, {}),
        ('{"a":' * 20_000, {}),
        ('{"a": ' + "9" * 5000 + "}", {}),
    ],
    ids=lambda value: str(value)[:20] or "nothing",
)
def test_what_is_no_grade_is_left_out(answer, found):
    """The last object counts, numbers only, and no answer makes reading it fail."""
    assert grades(answer) == found


# -- what the page says -----------------------------------------------------------------------


def page(model, samples):
    """The items of a loaded model's page by name."""
    session = model.load()
    proven = session.prove(session.encode(samples))
    return {item.name: item for item in proven.items}


def test_the_page_says_how_often_two_answers_disagree(opened, samples):
    """As the share of pairs that they order oppositely; one answer cannot."""
    several, single = opened(SEEDED).members[1], opened().members[1]

    detail = page(several, samples)["repeats"].detail

    share, pairs = flipped(grades_of(opened(SEEDED), samples, 3)[1].astype(float))
    assert detail == f"two answers order {share:.1%} of {pairs} pairs of these texts oppositely"
    assert (0.2 < share < 0.8, pairs) == (True, 28)
    assert "repeats" not in page(single, samples)


TABLES = st.lists(
    st.lists(st.integers(0, 4).map(float) | st.just(np.nan), min_size=4, max_size=4),
    min_size=2,
    max_size=6,
)


@given(TABLES)
def test_flipped_verdicts_are_those_of_counting(table):
    """The definition, pair by pair and answer by answer."""
    rows = np.array(table)
    shares = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            signs = [np.sign(x) for x in rows[i] - rows[j] if not np.isnan(x)]
            pairs = [(a, b) for k, a in enumerate(signs) for b in signs[k + 1 :]]
            if pairs:
                shares.append(np.mean([a * b < 0 for a, b in pairs]))

    share, count = flipped(rows)

    assert count == len(shares)
    assert share == pytest.approx(np.mean(shares) if shares else 0.0)


@given(TABLES)
def test_flips_do_not_hang_on_the_scale_and_none_are_left_where_answers_agree(table):
    """Any increasing change of the numbers leaves them; equal answers never flip."""
    rows = np.array(table)

    assert flipped(np.exp(rows) * 3 - 7) == pytest.approx(flipped(rows))
    assert flipped(rows[:, [0, 0, 0]])[0] == 0.0


# -- other engines ----------------------------------------------------------------------------


def test_torch_holds_answers_to_nothing_and_says_so(opened, samples, tmp_path):
    """A tiny model writes no JSON: every text has the reward that stands in."""
    folder = tiny_models.causal(tmp_path / "model")
    rest = "unparsed: {reward: -1, at_most: 1}"
    (judge, _) = opened("max_tokens: 4", rest, engine=f"hf:{folder}").members
    member = judge.load()
    encoded = member.encode(samples)

    assert member.score(encoded).tolist() == [-1.0] * 8
    assert "fail  parsed" in refusal(ConformanceError, member.prove, encoded)
