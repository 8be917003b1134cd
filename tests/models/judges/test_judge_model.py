"""What holds for every judge: lengths, fingerprints, the store."""

import shutil

from asking import ASK, WORDS, judge_tokenizer, refusal, scored
from stored_scores import fill, scores_of
from test_checkpoint import change_config

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.kinds.judge.folder_session import FolderOdds
from rmcheck.store.scores import ScoreStore


def test_a_question_is_never_cut(opened, samples):
    """Too long ones are named, whatever the run says about cutting."""
    model = opened(settings="?max_length=30")

    messages = [
        refusal(ScoringError, model.encode, samples, side) for side in ("error", "left", "right")
    ]

    assert len(set(messages)) == 1
    assert (
        "leave fewer than the 1 tokens of an answer in the 30 that the judge takes" in messages[0]
    )
    assert "a question is never cut" in messages[0]


def test_an_answer_needs_its_room(opened, samples):
    """Questions must leave `max_tokens` of the model's positions."""
    message = refusal(ScoringError, opened(scored(240)).encode, samples)

    assert "leave fewer than the 240 tokens of an answer in the 256" in message


def test_what_changes_rewards_changes_the_fingerprint(opened):
    """Words, question, system, pattern, samples, type of weights; the order of words does not."""
    texts = [
        WORDS,
        WORDS + "system: x",
        WORDS.replace("?", "!"),
        ASK + "read: {yes: [f], no: [w]}",
        scored(3),
        scored(4),
        scored(3, "unparsed: error"),
    ]
    prints = [opened(text, load=False).fingerprint for text in texts]
    prints.append(opened(settings="?dtype=bfloat16", load=False).fingerprint)
    turned = ASK + 'read: {yes: [" t", f], no: [d, w]}'

    assert len(set(prints)) == len(prints)
    assert opened(turned, load=False).fingerprint == prints[0]
    assert opened(settings="?device=cpu", load=False).fingerprint == prints[0]


def test_a_reward_model_cannot_judge(opened, llama_folder):
    """A checkpoint with a reward head writes nothing."""
    message = refusal(ConformanceError, opened, WORDS, "", llama_folder)

    assert "it gives tokens no probabilities; score it as hf:DIR" in message


def test_tokens_that_the_model_has_no_embedding_for_are_refused(folder, opened, tmp_path, samples):
    """A tokenizer that outgrew its model is named."""
    other = shutil.copytree(folder, tmp_path / "outgrown")
    change_config(other, vocab_size=200)

    folder = opened(load=False, model=other).engine.model
    session = FolderOdds(folder, judge_tokenizer(), None, None, [], [])

    message = refusal(ScoringError, session.encode, samples, "error")

    assert "but the model has 200 embeddings" in message


def test_scores_are_kept_and_a_resumed_run_asks_for_the_rest_alone(opened, samples, tmp_path):
    """The store knows what was judged; sampled scores are the same as in one run."""
    text = scored(30).replace("samples: 4", "samples: 2")
    store = ScoreStore(tmp_path / "store")
    first, second, whole = opened(text), opened(text), opened(text)

    fill(first, samples[:3], store)
    report = fill(second, samples, store)
    found = scores_of(second, samples, store).scores

    assert report.from_store == 3
    assert report.scored == 5
    assert found.tolist() == whole.score(whole.encode(samples)).tolist()
