"""Prompts computed once for all of their responses: the same rewards, or not at all."""

import warnings

import numpy as np
import pytest
import tiny_models
import torch
from stored_scores import fill, scores_of

from rmcheck.errors import ConformanceError, ScoringError, UsageError
from rmcheck.models.engines.torch import shared_prefix
from rmcheck.models.engines.torch.last_layer import LayerQueries
from rmcheck.models.model import Proven
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from rmcheck.store.scores import MemoryStore

DECODERS = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2"]
ENCODERS = ["bert", "roberta", "deberta", "modernbert"]
WORDS = tiny_models.CORPUS.split()
# Rounding of float32 on rewards of a few units.
EXACT = 2e-5


def conversations(prompts=3, responses=4, seed=0):
    """Prompts of about 40 tokens, each with responses of 2 to 60 tokens."""
    rng = np.random.default_rng(seed)

    def words(least, most):
        return " ".join(rng.choice(WORDS, rng.integers(least, most)))

    asked = [(Message("user", words(12, 20)),) for _ in range(prompts)]
    return [
        Sample(f"p{p}", r, asked[p], words(1, 25)) for r in range(responses) for p in range(prompts)
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Builds each architecture once; its weights spread, so that attention decides."""
    built = {}

    def folder(kind):
        if kind not in built:
            path = tmp_path_factory.mktemp(kind)
            if kind in ENCODERS:
                config = tiny_models.encoder_config(kind)
            else:
                wide = {} if kind == "gpt2" else {"initializer_range": 0.3}
                # Shorter than most rows, so that a window that is forgotten shows.
                windowed = kind in {"mistral", "gemma2", "gemma3"}
                wide |= {"sliding_window": 24} if windowed else {}
                config = tiny_models.decoder_config(kind, **wide)
            built[kind] = tiny_models.save(config, path)
        return built[kind]

    return folder


def opened(folder, settings=""):
    """A loaded model."""
    return open_model(f"hf:{folder}{settings}").load()


def alone(model, encoded):
    """Rewards of one row at a time, without anything shared."""
    return np.concatenate([model.scorer.rewards([e.ids], [e.type_ids]) for e in encoded])


def proof(model, samples):
    """What it proves, and the page's line on shared prompts."""
    proven = model.prove(model.encode(samples))
    return proven, next(item for item in proven.items if item.name == "shared_prefix")


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_give_the_same_reward_alone_padded_and_shared(kind, folders):
    """Seven architectures, windows and soft-caps included: sharing changes rounding only."""
    model = opened(folders(kind))
    encoded = model.encode(conversations())
    one_by_one = alone(model, encoded)

    padded = model.score(encoded)
    proven, item = proof(model, conversations())
    shared = model.scoring(proven)(encoded)

    assert item.status == "pass"
    assert proven.shares_prefixes
    assert one_by_one.std() > 0.3
    np.testing.assert_allclose(padded, one_by_one, rtol=0, atol=EXACT)
    np.testing.assert_allclose(shared, one_by_one, rtol=0, atol=EXACT)


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_prove_themselves_and_stay_padded(kind, folders):
    """Four encoders pass; they read in both directions, so nothing is shared."""
    settings = "" if kind != "bert" else "?template=pair"
    model = opened(folders(kind), settings)
    encoded = model.encode(conversations())
    one_by_one = alone(model, encoded)

    proven, item = proof(model, conversations())

    assert (item.status, proven.shares_prefixes) == ("pass", False)
    assert item.detail == "off: the model reads a text in both directions"
    assert [i.name for i in proven.items if i.status == "fail"] == []
    np.testing.assert_allclose(model.score(encoded), one_by_one, rtol=0, atol=EXACT)


def test_prompts_are_computed_once(folders, monkeypatch):
    """One packed row holds each prompt once and every response, and no padding."""
    model = opened(folders("llama"), "?prefix=shared")
    encoded = model.encode(conversations(prompts=2, responses=5))
    seen = []
    body = model.scorer._body.forward

    def counting(*args, **kwargs):
        seen.append(tuple(kwargs["input_ids"].shape))
        return body(*args, **kwargs)

    monkeypatch.setattr(model.scorer._body, "forward", counting)
    model.scoring(Proven(shares_prefixes=True))(encoded)

    prompts = {e.sample.prompt_id: e for e in encoded}
    common = {
        name: min(
            next(i for i, (a, b) in enumerate(zip(e.ids, f.ids, strict=False)) if a != b)
            for f in encoded
            if f.sample.prompt_id == name and f.key != e.key
        )
        for name, e in prompts.items()
    }
    expected = sum(e.length for e in encoded) - 4 * sum(common.values())
    assert seen == [(1, expected)]


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_half_precision_shares_within_its_tolerance(kind, folders):
    """In bfloat16 sharing moves rewards no more than a batch does, and the head stays float32."""
    model = opened(folders(kind), "?dtype=bfloat16")
    encoded = model.encode(conversations())
    one_by_one = alone(model, encoded)

    proven, item = proof(model, conversations())

    assert item.status == "pass"
    assert "allowed 0.25" in item.detail or "allowed 0." in item.detail
    assert model.scorer._last_layer.weight.dtype == torch.float32
    shared = model.scoring(proven)(encoded)
    assert np.abs(shared - one_by_one).max() < 0.25 * max(1.0, one_by_one.std())
    assert not np.allclose(shared * 32, np.round(shared * 32))


@pytest.mark.parametrize("position", ["last", "transformers"])
def test_the_reward_is_read_where_position_says(position, tmp_path):
    """With padding equal to EOS, both positions hold in packed rows as one by one (trap 4.4)."""
    config = tiny_models.decoder_config("llama", pad_token_id=tiny_models.END)
    words = tiny_models.tokenizer(pad_token="<|end|>")
    folder = tiny_models.save(config, tmp_path, words=words)
    model = opened(folder, f"?position={position}&prefix=shared")
    encoded = model.encode(conversations())

    shared = model.scoring(Proven(shares_prefixes=True))(encoded)
    np.testing.assert_allclose(shared, alone(model, encoded), rtol=0, atol=EXACT)


def spoil(monkeypatch, change):
    """Let packed attention go wrong by changing the arguments that it gets."""
    right = shared_prefix.attention

    def wrong(*args, **kwargs):
        return right(*args, **(kwargs | change(kwargs)))

    monkeypatch.setattr(shared_prefix, "attention", wrong)


def segments(kwargs):
    """Those of the packed row, of which all tokens are asked in all layers but the last."""
    return [queries.segment for queries in kwargs["asked"].of(None)]


def asking(changed):
    """All tokens of these segments, in every layer."""
    return LayerQueries(changed, None, np.zeros(0))


def without_prefixes(kwargs):
    """Responses that do not see their prompt."""
    cut = [shared_prefix.Segment(s.start, s.stop, s.start, s.start) for s in segments(kwargs)]
    return {"asked": asking(cut)}


def one_segment(kwargs):
    """Responses that see the responses before them."""
    stop = segments(kwargs)[-1].stop
    whole = (shared_prefix.Segment(0, stop, 0, 0),)
    return {"asked": asking(whole), "masks": shared_prefix.Masks(whole, tile=256)}


def no_window(kwargs):
    """Attention without its sliding window."""
    return {"sliding_window": None}


def no_softcap(kwargs):
    """Attention without its soft-cap."""
    return {"softcap": None}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("llama", without_prefixes),
        ("llama", one_segment),
        ("mistral", no_window),
        ("gemma3", no_window),
        ("gemma2", no_softcap),
    ],
)
def test_wrong_sharing_falls_back_loudly(kind, change, folders, monkeypatch):
    """Whatever is wrong about a packed row, the check sees it, says so, and pads instead."""
    spoil(monkeypatch, change)
    model = opened(folders(kind))
    encoded = model.encode(conversations())

    proven, item = proof(model, conversations())

    assert item.status == "note"
    assert item.detail.startswith("WARNING: prompts are not shared")
    assert "rewards with shared prompts differ from one by one" in item.detail
    assert not proven.shares_prefixes
    assert proven.described["prefix"] == "off"
    assert proven.described["warning"] in item.detail
    np.testing.assert_allclose(model.score(encoded), alone(model, encoded), rtol=0, atol=EXACT)


def test_code_that_cannot_be_packed_falls_back_loudly(folders, monkeypatch):
    """An architecture that refuses the packed row is scored in padded batches."""

    def refuse(*args, **kwargs):
        raise TypeError("forward() got an unexpected keyword argument 'asked'")

    monkeypatch.setattr(shared_prefix, "attention", refuse)
    model = opened(folders("llama"))

    proven, item = proof(model, conversations())

    assert item.status == "note"
    assert "it cannot be run packed (TypeError: forward() got" in proven.described["warning"]
    assert not proven.shares_prefixes


def test_forced_sharing_that_disagrees_stops_the_run(folders, monkeypatch):
    """`prefix=shared` never falls back: what it would give is wrong."""
    spoil(monkeypatch, without_prefixes)
    model = opened(folders("llama"), "?prefix=shared")

    with pytest.raises(ConformanceError, match=r"prefix=shared, but rewards .*use prefix=off"):
        model.prove(model.encode(conversations()))


def test_sharing_can_be_turned_off(folders):
    """`prefix=off` pads, says so, and is the same model: scores are interchangeable."""
    off = opened(folders("llama"), "?prefix=off")
    shared = opened(folders("llama"), "?prefix=shared")

    proven, item = proof(off, conversations())

    assert (item.status, item.detail) == ("pass", "off, as prefix=off says")
    assert not proven.shares_prefixes
    assert off.model.fingerprint == shared.model.fingerprint
    assert (off.description["prefix"], shared.description["prefix"]) == ("off", "shared")


def test_a_proof_leaves_the_model_as_it_was(folders):
    """What it finds is held by whoever asked; nothing about the model changes."""
    model = opened(folders("llama"))
    before = dict(vars(model))

    proven = model.prove(model.encode(conversations()))

    assert proven.shares_prefixes
    assert proven.described == {"prefix": "shared"}
    assert vars(model) == before


def test_encoders_refuse_forced_sharing(folders):
    """`prefix=shared` on an encoder is an error with its reason, when it is loaded."""
    model = open_model(f"hf:{folders('bert')}?template=pair&prefix=shared")

    with pytest.raises(ConformanceError, match=r"BertForSequenceClassification does not read"):
        model.load()


def test_unknown_values_are_refused(folders):
    """The setting's values are listed where another is given."""
    with pytest.raises(UsageError, match=r"auto, shared, off"):
        open_model(f"hf:{folders('llama')}?prefix=on")


def test_one_sample_proves_sharing_too(folders):
    """The check makes rows that begin alike from whatever samples there are."""
    model = opened(folders("llama"))

    _, item = proof(model, conversations(1, 1))

    assert item.status == "pass"
    assert "on 2 rows" in item.detail


def test_rows_longer_than_a_tile_agree(tmp_path):
    """Prompts and responses of several hundred tokens go through attention in pieces."""
    config = tiny_models.decoder_config(
        "gemma2", max_position_embeddings=2048, initializer_range=0.3, sliding_window=300
    )
    model = opened(tiny_models.save(config, tmp_path))
    rng = np.random.default_rng(0)
    prompt = rng.integers(3, 300, 400).tolist()
    rows = [prompt + rng.integers(3, 300, n).tolist() for n in (1, 300, 600)]

    shared = model.scorer.rewards(rows, way="packed")

    one_by_one = [float(model.scorer.rewards([row])[0]) for row in rows]
    np.testing.assert_allclose(shared, one_by_one, rtol=0, atol=EXACT)


@pytest.mark.parametrize("queries", [1, 7, 4096])
@pytest.mark.parametrize("kind", DECODERS)
def test_products_of_any_size_give_the_same_rewards(kind, queries, folders, monkeypatch):
    """In tiles of 1 and 7 queries and whole."""
    monkeypatch.setattr(shared_prefix, "_TILE", queries)
    monkeypatch.setattr(shared_prefix, "_SHORT", 0)
    model = opened(folders(kind))
    encoded = model.encode(conversations())

    together = model.scorer.rewards([e.ids for e in encoded], way="packed")

    np.testing.assert_allclose(together, alone(model, encoded), rtol=0, atol=EXACT)


def test_the_model_is_left_as_it_was(folders):
    """After a packed row the model's own attention runs again, also when the row failed."""
    model = opened(folders("llama"), "?prefix=shared")
    config = model.scorer._model.config
    model.scoring(Proven(shares_prefixes=True))(model.encode(conversations()))
    after = config._attn_implementation

    with pytest.raises(IndexError):
        model.scorer.rewards([[1, 2, 100_000]], way="packed")

    assert (after, config._attn_implementation) == ("sdpa", "sdpa")


def test_nan_is_an_error_in_packed_rows_too(folders, monkeypatch):
    """NaN is never a low score (trap 4.14)."""
    model = opened(folders("llama"), "?prefix=shared")
    with torch.no_grad():
        model.scorer._last_layer.weight.fill_(float("nan"))

    monkeypatch.setattr(model, "prove", lambda encoded: Proven(shares_prefixes=True))

    with pytest.raises(ScoringError, match=r"is nan; 12 of 12 rewards"):
        fill(model, conversations(), MemoryStore())


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("bert", "at token 0 of"),
        ("roberta", "at token 0 of"),
        ("deberta", "at token 0 of"),
        ("modernbert", "at token 0 of"),
    ],
)
def test_the_page_says_where_a_model_pools(kind, found, folders):
    """For heads that pool by themselves, the gradient shows which token they read."""
    model = opened(folders(kind), "" if kind != "bert" else "?template=pair")
    proven = model.prove(model.encode(conversations()))

    item = next(i for i in proven.items if i.name == "position")

    assert item.status == "pass"
    assert found in item.detail


def test_the_page_says_that_a_model_averages(tmp_path):
    """Mean pooling reads every token."""
    config = tiny_models.encoder_config("modernbert", classifier_pooling="mean")
    model = opened(tiny_models.save(config, tmp_path))
    encoded = model.encode(conversations())
    proven = model.prove(encoded)

    item = next(i for i in proven.items if i.name == "position")

    shortest = min(e.length for e in encoded)
    assert item.detail == f"pooled by the model itself over {shortest} of {shortest} tokens"


class HiddenHead(torch.nn.Module):
    """A head of another name behind the last token that is not the padding token."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.value = model.model, model.config, model.score

    def forward(self, input_ids, attention_mask):
        """The logit as transformers' own models for the last token compute it."""
        states = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        places = torch.arange(input_ids.shape[1])
        last = ((input_ids != self.config.pad_token_id) * places).argmax(-1)
        logits = self.value(states)[torch.arange(len(input_ids)), last]
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize(("setting", "status"), [("", "fail"), ("?position=transformers", "note")])
def test_pad_equal_to_eos_is_seen_behind_other_heads(tmp_path, setting, status):
    """A head not called `score` that skips a closing EOS as padding stops the run (trap 4.4)."""
    config = tiny_models.decoder_config("llama", pad_token_id=tiny_models.END)
    words = tiny_models.tokenizer(pad_token="<|end|>")
    model = opened(tiny_models.save(config, tmp_path, words=words), setting)
    model.scorer._model = HiddenHead(model.scorer._model)
    model.scorer.reads_last_token = False
    encoded = model.encode(conversations())

    if status == "fail":
        with pytest.raises(ConformanceError, match="closing token is also the padding token"):
            model.prove(encoded)
        return
    proven = model.prove(encoded)

    item = next(i for i in proven.items if i.name == "position")
    assert item.status == "note"
    assert item.detail.startswith("position=transformers: pooled by the model itself at token")


def test_nothing_warns(folders):
    """A packed forward pass gives no warning of torch or transformers."""
    model = opened(folders("gemma3"), "?prefix=shared")
    encoded = model.encode(conversations())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rewards = model.scoring(Proven(shares_prefixes=True))(encoded)

    assert np.isfinite(rewards).all()


def test_scoring_shares_prompts_from_end_to_end(folders):
    """`fill` proves the model, groups its batches by prompt, and says what that spared."""
    model = open_model(f"hf:{folders('llama')}")
    samples = conversations()
    store = MemoryStore()

    report = fill(model, samples, store, budget=200)

    assert report.batches > 1
    assert report.tokens - report.padded_tokens == report.shared_tokens > 0
    assert "shared prompts spared" in str(report)
    assert store.open(model.fingerprint).provenance.description["prefix"] == "shared"
    found = scores_of(model, samples, store).scores
    session = model.load()
    expected = alone(session, session.encode(samples))
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)


def test_what_does_not_fit_is_halved_with_shared_prompts_too(folders, monkeypatch):
    """A packed batch that does not fit in memory is cut and goes on with a smaller budget."""
    model = opened(folders("llama"), "?prefix=shared")
    numbers = model.scorer.numbers

    def crowded(rows, way="padded"):
        if way == "packed" and len(rows) > 3:
            raise MemoryError("no room")
        return numbers(rows, way)

    monkeypatch.setattr(model.scorer, "numbers", crowded)
    monkeypatch.setattr(model, "prove", lambda encoded: Proven(shares_prefixes=True))
    store, samples = MemoryStore(), conversations()
    expected = alone(model, model.encode(samples))

    report = fill(model, samples, store)

    assert (report.scored, report.halvings) == (12, 2)
    found = scores_of(model, samples, store).scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)
