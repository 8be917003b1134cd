"""Judges that vLLM runs: the numbers of transformers, seeds, and a clean end."""

from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np
import pytest
import tiny_models

from rmcheck.models.kinds.judge.score import answers_of as asked
from rmcheck.models.registry import open_model

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed; .ci/vllm runs these tests where it is"
)
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}
ASK = "prompt: '{{ prompt }}? {{ response }}'\n"
WORDS = ASK + 'read: {yes: [f, " t"], no: [w, d]}\n'
SCORE = (
    ASK + "read: {score: '([0-9])', range: [0, 9], samples: 3, temperature: 1.0, max_tokens: 40}\n"
    "unparsed: {reward: -1, at_most: 1}\n"
)
GREEDY = ASK + "read: {score: '([0-9])', range: [0, 9], max_tokens: 8}\nunparsed: {reward: -1}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny language model that vLLM runs on a CPU. Read only."""
    return tiny_models.causal(tmp_path_factory.mktemp("judge") / "model", **WIDE)


@pytest.fixture
def opened(folder, tmp_path):
    """Opens judges of this model by one engine or the other."""

    def open_it(text, engine="vllm", settings=""):
        file = tmp_path / f"judge-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(f"engine: {engine}:{folder}{settings}\n{text}")
        return open_model(f"judge:{file}")

    return open_it


@pytest.fixture
def loaded():
    """Loads models, and closes them."""
    with ExitStack() as stack:
        yield lambda model: stack.enter_context(model.load())


def answers_of(model, encoded):
    """Answers to each question, by its place."""
    return asked(model.asked, encoded, model.model.read)


@pytest.mark.parametrize("setting", ["dtype=bfloat16", "max_length=512"])
def test_engine_and_settings_are_part_of_the_fingerprint(opened, setting):
    """Verdicts of vLLM and transformers never stand for each other; memory changes none."""
    plain = opened(WORDS).fingerprint

    assert opened(WORDS, "hf").fingerprint != plain
    assert opened(WORDS, settings=f"?{setting}").fingerprint != plain
    assert opened(WORDS, settings="?gpu_memory=0.5").fingerprint == plain


@needs_vllm
def test_log_odds_page_and_words_are_those_of_transformers(opened, loaded, samples):
    """To 5e-5 nats in float32, on the same ids, from raw log-probabilities; the page is whole."""
    here, there = loaded(opened(WORDS)), loaded(opened(WORDS, "hf"))
    expected = there.score(there.encode(samples))
    tokens = there.asked.likeliest(there.encode(samples), 5)
    encoded = here.encode(samples)
    rewards = here.score(encoded)
    shuffled = here.score(encoded[::-1])
    proven = here.prove(encoded)

    assert [e.ids for e in encoded] == [e.ids for e in there.encode(samples)]
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(shuffled[::-1], rewards, rtol=0, atol=1e-5)
    assert [list(row) for row in here.asked.likeliest(encoded, 5)] == [list(r) for r in tokens]
    assert [item.name for item in proven.items] == [
        "reward",
        "precision",
        "question",
        "special_tokens",
        "words",
        "mass",
        "batch_invariance",
        "depends_on_response",
    ]


@needs_vllm
def test_answers_hang_on_question_and_number_alone(opened, loaded, samples):
    """Alone, reversed, or together the same; greedy answers are those of transformers."""
    model = loaded(opened(SCORE))
    encoded = model.encode(samples)
    together = answers_of(model, encoded).found
    backwards = answers_of(model, encoded[::-1]).found
    alone = answers_of(model, encoded[3:4]).found[0]
    rewards = model.score(encoded)
    greedy = loaded(opened(GREEDY))
    said = answers_of(greedy, greedy.encode(samples)).found
    theirs = loaded(opened(GREEDY, "hf"))

    assert [backwards[7 - i] for i in range(8)] == [together[i] for i in range(8)]
    assert alone == together[3]
    assert len(set(alone)) == 3
    assert (rewards != -1).any()
    assert said == answers_of(theirs, theirs.encode(samples)).found


@needs_vllm
def test_two_judges_stand_beside_each_other_and_load_again(opened, loaded, samples):
    """Each in its own process; rewards after loading again are the same."""
    first, second = (loaded(opened(WORDS + more)) for more in ("", "system: be strict\n"))
    before = first.score(first.encode(samples))
    other = second.score(second.encode(samples))

    first.close()
    first = loaded(first.model)

    np.testing.assert_array_equal(first.score(first.encode(samples)), before)
    assert np.abs(other - before).max() > 1e-3


@needs_vllm
def test_grades_are_held_to_their_schema(opened, loaded, samples):
    """A tiny random model, which knows no JSON, grades every text in range."""
    read = "read: {criteria: {correct: {range: [1, 5]}, clear: {range: [1, 5]}}, max_tokens: 200}\n"
    (judge, _) = opened(f"{ASK}{read}unparsed: {{reward: -1, at_most: 1}}\n").members
    member = loaded(judge)
    encoded = member.encode(samples)

    proven = member.prove(encoded)
    page = {item.name: item.status for item in proven.items}
    rewards = member.score(encoded)

    assert (page["schema"], page["parsed"]) == ("pass", "pass")
    assert ((rewards >= 1) & (rewards <= 5)).all()
