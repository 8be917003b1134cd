"""What a server must prove before its rewards count."""

import pytest
from failing_server import FailingServer
from served import item, many

from rmcheck.errors import (
    ConformanceError,
    ScoringError,
)
from rmcheck.models.proof.conformance import page
from rmcheck.models.registry import open_model


def test_raw_logits_are_proved_by_asking_both_ways(server, opened):
    """The probabilities that the server gives otherwise are those of the logits."""
    model = opened(server)

    proven = model.prove(model.encode(many(8)))

    assert item(proven, "activation").status == "pass"
    assert "without it the server gives their probabilities" in item(proven, "activation").detail


def test_a_model_without_activation_gives_logits_either_way(server, opened):
    """Both answers agree and some lie outside [0, 1], so they are logits."""
    server.activation = "never"
    model = opened(server)

    proven = model.prove(model.encode(many(8)))

    assert item(proven, "activation").status == "pass"
    assert "no activation" in item(proven, "activation").detail


def test_a_server_that_squashes_whatever_is_asked_is_refused(server, opened):
    """It ignores the field, and answers 200."""
    server.activation = "always"
    model = opened(server)

    with pytest.raises(ConformanceError, match=r"fail  activation .*ignores the field"):
        model.prove(model.encode(many(8)))


def test_probabilities_of_a_server_without_the_choice_are_noted(words, opened):
    """Nothing proves SGLang's answers raw; that all lie in [0, 1] is said."""
    with FailingServer("sglang", words) as server:
        server.activation = "always"
        model = opened(server)
        proven = model.prove(model.encode(many(8)))

    assert "all lie in [0, 1]" in item(proven, "activation").detail


def test_the_page_says_who_tokenises(words, opened):
    """Ids are sent where they are taken; else the text of which the server makes the same ids."""
    with FailingServer("vllm", words) as one, FailingServer("openrlhf", words) as other:
        ids, text = opened(one), opened(other)
        of_ids = ids.prove(ids.encode(many(4)))
        of_text = text.prove(text.encode(many(4)))
        sent = other.requests[0][1]["query"][0]

    assert "rmcheck tokenises" in item(of_ids, "tokens").detail
    assert "the server tokenises" in item(of_text, "tokens").detail
    assert item(of_text, "tokens").status == "pass"
    # Its tokenizer would add a BOS; the server does not let it.
    assert sent.startswith("<s><|user|>")


def test_a_server_that_adds_an_end_is_refused(words, opened):
    """OpenRLHF's up to 0.8.1 adds an EOS, which eos=strip promises not to be there."""
    with FailingServer("openrlhf", words) as server:
        model = opened(server, "eos=strip")
        encoded = model.encode(many(4))

        assert item(model.prove(encoded), "eos").status == "note"
        server.ends_texts = True
        with pytest.raises(ConformanceError, match=r"fail  eos .*adds one.*say eos=append"):
            model.prove(encoded)


def test_a_server_that_adds_tokens_is_refused(server, opened):
    """The server's own count of tokens is compared with ours, in every request."""
    server.extra_tokens = 1
    model = opened(server)
    encoded = model.encode(many(3))
    tokens = sum(e.length for e in encoded)

    with pytest.raises(
        ScoringError, match=f"read {tokens + 3} tokens in 3 texts that have {tokens}"
    ):
        model.score(encoded)


@pytest.mark.parametrize(
    ("typed", "vocabulary", "status"),
    [(True, 2, "pass"), (False, 2, "fail"), (False, 1, "pass"), (False, None, "note")],
)
def test_types_of_a_pair_are_proved(typed, vocabulary, status, server, words, tmp_path):
    """A model with type ids must answer differently to a pair and to its plain token ids."""
    words.save_pretrained(tmp_path)
    if vocabulary is not None:
        (tmp_path / "config.json").write_text(f'{{"type_vocab_size": {vocabulary}}}')
    server.typed, server.activation = typed, "never"
    model = open_model(f"http:{server.url}?tokenizer={tmp_path}&template=pair").load()

    try:
        if status == "fail":
            with pytest.raises(ConformanceError, match=r"fail  types .*read with one type"):
                model.prove(model.encode(many(4)))
        else:
            proven = model.prove(model.encode(many(4)))
            assert item(proven, "types").status == status
    finally:
        model.close()


def test_one_refused_sample_does_not_spoil_the_proof(server, opened):
    """The page is made of the others, and counts it."""
    model = opened(server)
    encoded = model.encode(many(4))
    server.poison = {encoded[1].ids}

    proven = model.prove(encoded)

    assert "it refused 1 of 4 texts" in item(proven, "server").detail


def test_the_page_can_be_read(server, opened):
    """Every line has a name and says what was found."""
    model = opened(server)
    proven = model.prove(model.encode(many(8)))

    assert page(proven.items).count("\n") == len(proven.items) - 1
    assert "scores live for one session" in item(proven, "identity").detail
    assert "vllm 0.32.0" in item(proven, "server").detail
