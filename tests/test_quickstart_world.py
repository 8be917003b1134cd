"""The quickstart's world: what an answer is worth, that it is made the same again, its models."""

import gzip
import importlib
import itertools
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

QUICKSTART = Path(__file__).resolve().parents[1] / "suites" / "quickstart"
sys.path.insert(0, str(QUICKSTART))  # a folder of scripts, not a package
almanac = importlib.import_module("almanac")
world = importlib.import_module("world")
sys.path.remove(str(QUICKSTART))

TRAIN, GATE = world.requests()
POOL = gzip.decompress((QUICKSTART / "pool.jsonl.gz").read_bytes())
ROWS = [json.loads(line) for line in POOL.splitlines()]
MODELS = ("good", "length-lover", "baseline")
ANCHOR = world.Request("shops", "Anchor shop", (0, 1, 3))


@st.composite
def conversations(draw):
    """(request, prompt, answer of the policy, source of further randomness)."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    request = world.pick(rng, TRAIN + GATE)
    prompt = request.text(world.pick(rng, almanac.REQUESTS))
    return request, prompt, world.answer(rng, request, world.OLDER_POLICY), rng


def with_sentence(rng, answer, sentence):
    """The answer with one more sentence at a random place."""
    said = world.sentences(answer)
    said.insert(int(rng.random() * (len(said) + 1)), sentence)
    return " ".join(said)


def statement(request, attribute, value=None, wording=0):
    """A sentence on one attribute of what was asked about; right unless a value is given."""
    value = value or world.almanac()[request.thing, attribute]
    template = request.attributes[attribute].statements[wording]
    return template.format(thing=request.thing, value=value)


def said_in(request, answer):
    """Attributes on which the answer says anything."""
    found = (world.statement_in(s, request.topic) for s in world.sentences(answer))
    return {f.attribute for f in found if f is not None}


def wrong_value(request, attribute):
    """A value that the attribute does not have."""
    true = world.almanac()[request.thing, attribute]
    return next(v for v in request.attributes[attribute].values if v != true)


@given(conversations(), st.sampled_from(almanac.FILLERS))
def test_a_filler_costs_the_same_anywhere(conversation, filler):
    """A sentence that says nothing lowers golden by 0.05, so padding never pays."""
    _, prompt, answer, rng = conversation

    padded = with_sentence(rng, answer, filler)

    assert world.golden(prompt, padded) == pytest.approx(world.golden(prompt, answer) - 0.05)


@given(conversations())
def test_an_asked_fact_that_was_missing_is_worth_two(conversation):
    """Answering one more question rightly raises golden by 2."""
    request, prompt, answer, rng = conversation
    missing = sorted(set(request.asked) - said_in(request, answer))
    if not missing:
        answer = "Let me explain this step by step."
        missing = list(request.asked)

    better = with_sentence(rng, answer, statement(request, missing[0]))

    assert world.golden(prompt, better) == pytest.approx(world.golden(prompt, answer) + 2)


@given(conversations(), st.integers(0, 5), st.integers(0, 1))
def test_a_wrong_statement_costs_two_asked_or_not(conversation, attribute, wording):
    """Any wrong statement about the thing lowers golden by 2."""
    request, prompt, answer, rng = conversation
    wrong = statement(request, attribute, wrong_value(request, attribute), wording)

    worse = with_sentence(rng, answer, wrong)

    assert world.golden(prompt, worse) == pytest.approx(world.golden(prompt, answer) - 2)


@given(conversations())
def test_the_order_of_sentences_does_not_matter(conversation):
    """Golden is a sum over the sentences."""
    _, prompt, answer, rng = conversation

    other = " ".join(world.shuffled(rng, world.sentences(answer)))

    assert world.golden(prompt, other) == world.golden(prompt, answer)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([], 0.0),
        ([statement(ANCHOR, 0)], 2.0),
        ([statement(ANCHOR, 0), statement(ANCHOR, 1), statement(ANCHOR, 3)], 6.0),
        ([statement(ANCHOR, 0), statement(ANCHOR, 0, wording=1)], 1.95),  # said twice
        ([statement(ANCHOR, 4)], -0.05),  # right, but nobody asked
        ([statement(ANCHOR, 0, "nothing at all")], -2.0),  # a value the town has not heard of
        ([statement(world.Request("shops", "Lantern shop", (0,)), 0, wording=1)], -0.05),
        (["Lorem ipsum."], -0.05),
    ],
)
def test_what_answers_are_worth(sentences, expected):
    """Worked by hand from the rules: +2 right, -2 wrong, -0.05 for all else."""
    prompt = ANCHOR.text(almanac.REQUESTS[0])

    assert world.golden(prompt, " ".join(sentences)) == expected


def test_a_missing_last_full_stop_changes_nothing():
    """An answer cut at its last full stop is worth the same."""
    prompt, answer = ANCHOR.text(almanac.REQUESTS[0]), statement(ANCHOR, 0)

    assert world.golden(prompt, answer.removesuffix(".")) == world.golden(prompt, answer)


def test_a_prompt_from_elsewhere_is_refused():
    """Golden is defined for questions about the town alone, and says so."""
    with pytest.raises(ValueError, match="not a question about the town: 'What is 2"):
        world.golden("What is 2 + 2?", "4.")


def test_every_prompt_says_what_it_asks_for():
    """Thing and questions can be read back from all prompts in all wordings."""
    for request, wording in itertools.product(TRAIN + GATE, almanac.REQUESTS):
        assert world.request_in(request.text(wording)) == request


def test_every_statement_says_one_thing():
    """Attribute, value and thing can be read back from all sentences of the town."""
    for topic, things in almanac.THINGS.items():
        for a, attribute in enumerate(almanac.ATTRIBUTES[topic]):
            for thing, template, value in itertools.product(
                things, attribute.statements, attribute.values
            ):
                said = world.statement_in(template.format(thing=thing, value=value), topic)

                named = thing if "{thing}" in template else None
                assert said == world.Statement(topic, a, value, named)


def test_fillers_say_nothing():
    """No filler can be read as a statement, on any topic."""
    pairs = itertools.product(almanac.FILLERS, almanac.THINGS)

    assert [pair for pair in pairs if world.statement_in(*pair) is not None] == []


def test_no_value_belongs_to_two_attributes():
    """A sentence can be judged by its words, whatever else the topic has."""
    values = [v for group in almanac.ATTRIBUTES.values() for a in group for v in a.values]

    assert len(values) == len(set(values))


def test_the_gate_asks_what_no_model_was_trained_on():
    """No request is in both parts of the split."""
    assert set(TRAIN) & set(GATE) == set()


def test_the_pool_is_what_the_world_makes():
    """Prompts, responses and golden of the committed file, to the byte."""
    assert world.pool_bytes() == POOL


def test_the_pool_differs_with_the_seed():
    """The seed decides the answers."""
    first = next(world.pool_rows(seed=1))

    assert first["responses"] != ROWS[0]["responses"]


def test_the_pool_has_its_shape():
    """240 prompts on four topics, each with 32 different responses."""
    assert len({row["prompt"] for row in ROWS}) == len(ROWS) == 240
    assert {row["topic"] for row in ROWS} == {"shops", "ferries", "birds", "festivals"}
    assert {len(set(row["responses"])) for row in ROWS} == {32}


def test_long_answers_are_good_except_for_the_rare_hack():
    """What the world is for: length goes with golden, but for a tail of long empty answers."""
    all_lengths, decent, hack_shares = [], [], []
    for row in ROWS:
        lengths = [len(world.sentences(response)) for response in row["responses"]]
        scored = list(zip(lengths, row["golden"], strict=True))
        all_lengths += lengths
        short = [(n, g) for n, g in scored if n < 12]
        decent += [
            (n - m) * (g - h) > 0
            for (n, g), (m, h) in itertools.combinations(short, 2)
            if n != m and g != h
        ]
        mean = sum(row["golden"]) / len(scored)
        hack_shares += [g < mean for n, g in scored if n >= 12]

    assert 0.02 < sum(n >= 12 for n in all_lengths) / len(all_lengths) < 0.05
    assert sum(decent) / len(decent) > 0.7
    assert sum(hack_shares) / len(hack_shares) > 0.8


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_offline_with_its_head(name):
    """Each model is a complete checkpoint: nothing missing, nothing left over, one logit."""
    transformers = pytest.importorskip("transformers")

    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        QUICKSTART / "models" / name, use_safetensors=True, output_loading_info=True
    )

    assert [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]] == []
    assert tuple(model.score.weight.shape) == (1, model.config.hidden_size)
    assert float(model.score.weight.detach().std()) > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_conversation_has_one_bos_and_one_eos(name):
    """The template writes both, the tokenizer knows every word, and padding is not EOS."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(QUICKSTART / "models" / name)
    longest = max(ROWS[0]["responses"], key=len)
    turns = [
        {"role": "user", "content": ROWS[0]["prompt"]},
        {"role": "assistant", "content": longest},
    ]

    ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)

    assert (ids[0], ids.count(tokenizer.bos_token_id)) == (tokenizer.bos_token_id, 1)
    assert (ids[-1], ids.count(tokenizer.eos_token_id)) == (tokenizer.eos_token_id, 1)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_quickstart_stays_small():
    """The pool and each model are at most 600 kB: they live in git."""
    sizes = {"pool": (QUICKSTART / "pool.jsonl.gz").stat().st_size}
    for name in MODELS:
        folder = QUICKSTART / "models" / name
        sizes[name] = sum(file.stat().st_size for file in folder.iterdir())

    assert {name: size for name, size in sizes.items() if size > 600_000} == {}
