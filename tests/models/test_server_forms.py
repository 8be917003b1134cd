"""The wire formats of the families, as their documentation has them."""

import pytest
import tiny_models

from rmcheck.errors import UsageError
from rmcheck.models.engines.http.client import WrongAnswerError
from rmcheck.models.engines.http.openrlhf import OpenRlhfServer
from rmcheck.models.engines.http.server import Identity, Input
from rmcheck.models.engines.http.sglang import SglangServer
from rmcheck.models.engines.http.tei import TeiServer
from rmcheck.models.engines.http.vllm import VllmServer
from rmcheck.models.engines.http.wording import Wording

RM = Identity("rm")
TEXTS = [Input((1, 5, 6), "a b"), Input((1, 7), "c")]
PAIRS = [Input((1, 5, 2), pair=("q", "r")), Input((1, 7, 2), pair=("s", "t"))]


# Bodies and answers: vLLM 0.32's protocol.py and a running server; SGLang's native API page and
# EmbeddingReqInput; TEI's openapi.json 1.7.1; OpenRLHF's serve_rm.py.
@pytest.mark.parametrize(
    ("server", "texts", "path", "body"),
    [
        (
            VllmServer(RM),
            TEXTS,
            "/classify",
            {"model": "rm", "input": [[1, 5, 6], [1, 7]], "use_activation": False},
        ),
        (
            VllmServer(RM, endpoint="pooling"),
            TEXTS,
            "/pooling",
            {"model": "rm", "input": [[1, 5, 6], [1, 7]], "use_activation": False},
        ),
        (
            VllmServer(RM, pair=True),
            PAIRS,
            "/score",
            {"model": "rm", "text_1": ["q", "s"], "text_2": ["r", "t"], "use_activation": False},
        ),
        (
            SglangServer(RM),
            TEXTS,
            "/classify",
            {"model": "rm", "input_ids": [[1, 5, 6], [1, 7]]},
        ),
        (
            TeiServer(RM),
            TEXTS,
            "/predict",
            {"inputs": [["a b"], ["c"]], "raw_scores": True, "truncate": False},
        ),
        (
            TeiServer(RM, pair=True),
            PAIRS,
            "/predict",
            {"inputs": [["q", "r"], ["s", "t"]], "raw_scores": True, "truncate": False},
        ),
        (OpenRlhfServer(RM), TEXTS, "/get_reward", {"query": ["a b", "c"]}),
    ],
)
def test_what_is_asked(server, texts, path, body):
    """Raw logits, nothing cut, token ids where they are taken."""
    assert server.request(texts, raw=True) == (path, body)


@pytest.mark.parametrize(
    ("server", "answer", "logits", "tokens"),
    [
        (
            VllmServer(RM),
            {
                "data": [
                    {"index": 0, "label": "LABEL_0", "probs": [-11.5], "num_classes": 1},
                    {"index": 1, "label": "LABEL_0", "probs": [8], "num_classes": 1},
                ],
                "usage": {"prompt_tokens": 6, "total_tokens": 6},
            },
            [{"0": -11.5}, {"0": 8.0}],
            6,
        ),
        (
            VllmServer(RM, endpoint="pooling"),
            {"data": [{"index": 0, "data": [[9.0], [1.5]]}, {"index": 1, "data": [2.5]}]},
            [{"0": 1.5}, {"0": 2.5}],
            None,
        ),
        (
            VllmServer(RM, pair=True),
            {"data": [{"index": 0, "score": 1.5}, {"index": 1, "score": -2.0}]},
            [{"0": 1.5}, {"0": -2.0}],
            None,
        ),
        (
            SglangServer(RM),
            [{"embedding": [1.5]}, {"embedding": [-2.0], "meta_info": {"prompt_tokens": 4}}],
            [{"0": 1.5}, {"0": -2.0}],
            None,
        ),
        (
            TeiServer(RM),
            [
                [{"score": 2.0, "label": "good"}, {"score": -1.0, "label": "bad"}],
                [{"score": 0.5, "label": "bad"}, {"score": 0.0, "label": "good"}],
            ],
            [{"bad": -1.0, "good": 2.0}, {"bad": 0.5, "good": 0.0}],
            None,
        ),
        (OpenRlhfServer(RM), {"rewards": [1.5, -2]}, [{"0": 1.5}, {"0": -2.0}], None),
    ],
)
def test_what_is_read(server, answer, logits, tokens):
    """Logits by label or position, in the order of the texts; tokens where they are counted."""
    reading = server.reading(answer, 2)

    assert [dict(found) for found in reading.logits] == logits
    assert reading.tokens == tokens


def test_sglang_may_answer_one_text_with_an_object():
    """A list of one text comes back as the object alone in some versions."""
    assert dict(SglangServer(RM).reading({"embedding": [1.5]}, 1).logits[0]) == {"0": 1.5}


@pytest.mark.parametrize(
    "server",
    [
        VllmServer(RM),
        VllmServer(RM, pair=True),
        SglangServer(RM),
        TeiServer(RM),
        OpenRlhfServer(RM),
    ],
    ids=lambda server: f"{server.name}-{server.endpoint}",
)
@pytest.mark.parametrize(
    "answer",
    [
        None,
        3,
        "0.5",
        [],
        [None, None],
        [[], []],
        [{}, {}],
        {"data": None},
        {"data": [1, 2]},
        {"data": [{"index": 0}, {"index": 1}]},
        {"data": [{"index": 0, "probs": []}, {"index": 1, "probs": []}]},
        {"rewards": ["1", "2"]},
        {"rewards": [True, False]},
        {"rewards": [[1.0], [2.0]]},
    ],
    ids=repr,
)
def test_any_other_form_is_a_wrong_answer(server, answer):
    """Never a TypeError or a KeyError: what cannot be read says what came."""
    with pytest.raises(WrongAnswerError):
        server.reading(answer, 2)


@pytest.mark.parametrize("family", [SglangServer, OpenRlhfServer])
def test_families_without_pairs_say_so(family):
    """template=pair is refused by name."""
    with pytest.raises(UsageError, match="takes no text pairs"):
        family(RM, pair=True)


def test_several_served_models_must_be_told_apart():
    """One server may hold several; the list is shown."""
    pages = {"/v1/models": {"data": [{"id": "a"}, {"id": "b", "max_model_len": 9}]}}

    with pytest.raises(UsageError, match=r"several models; say model=a\|b"):
        VllmServer.identify(pages.get, "")
    assert VllmServer.identify(pages.get, "b") == Identity("b", max_length=9)


def test_the_text_leaves_out_what_the_server_adds():
    """Ids that a server would begin with BOS lose it in the text, and come back as they were."""
    words = tiny_models.tokenizer()
    ids = words("two plus two<|end|>")["input_ids"]
    bare = words("two plus two", add_special_tokens=False)["input_ids"]

    assert Wording(words).text(ids) == "two plus two<|end|>"
    assert words(Wording(words).text(ids))["input_ids"] == ids
    assert Wording(words).text(bare) == "two plus two"
    assert Wording(words, special=False).text(ids) == "<s>two plus two<|end|>"
    assert Wording(words, special=False).ids("<s>two plus two<|end|>") == ids
