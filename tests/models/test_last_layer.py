"""The last layer at the tokens that are read: less computed, and the same states there."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.models.engines.torch import shared_prefix
from rmcheck.models.engines.torch.last_layer import LastLayer, LayerQueries, last_layer
from rmcheck.models.engines.torch.packing import Segment, packed_rows
from rmcheck.models.engines.torch.shared_prefix import PackedBody

CPU = torch.device("cpu")
WITH_PARTS = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3"]
# A prompt of 40 tokens and responses of 30, 7 and 1.
ROWS = [[1, *range(5, 44), *range(a, a + n)] for a, n in ((50, 30), (85, 7), (95, 1))]

# A decoder of any family; what a family does not know it ignores.
TINY = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "sliding_window": 24,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
}


@pytest.fixture(scope="module")
def body_of():
    """A model without its head for an architecture; its weights spread, so attention decides."""
    import transformers

    built = {}

    def body(kind):
        if kind not in built:
            torch.manual_seed(0)
            wide = {} if kind == "gpt2" else {"initializer_range": 0.3}
            windowed = kind in {"mistral", "gemma2", "gemma3"}
            wide |= {"sliding_window": 24} if windowed else {}
            config = tiny_models.decoder_config(kind, **wide)
            built[kind] = transformers.AutoModel.from_config(config).eval()
        return built[kind]

    return body


def states(body, packed):
    """What is read of the packed row."""
    with torch.inference_mode():
        return PackedBody(body, body.config.get_text_config(), CPU).states(packed)


def read_at(*places):
    """The packed row of ROWS, read at these tokens of it."""
    packed = packed_rows(ROWS, [len(row) - 1 for row in ROWS])
    assert [s.length for s in packed.segments] == [40, 30, 7, 1]
    return (
        packed
        if not places
        else type(packed)(packed.ids, packed.positions, packed.segments, np.array(places))
    )


@pytest.mark.parametrize("places", [(), (39, 3), (50, 45, 69, 50), (0, 77)])
@pytest.mark.parametrize("kind", WITH_PARTS)
def test_states_that_are_read_are_those_of_a_whole_layer(kind, places, body_of, monkeypatch):
    """At the ends of rows, in the prompt, several in a response in any order, and twice."""
    body, packed = body_of(kind), read_at(*places)
    spared = states(body, packed)

    monkeypatch.setattr(shared_prefix, "last_layer", lambda body: None)
    whole = states(body, packed)

    assert last_layer(body) is not None
    assert spared.shape == (len(packed.read_at), body.config.get_text_config().hidden_size)
    torch.testing.assert_close(spared, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("Mixtral", "Qwen2Moe", "Qwen3Moe", "Olmo2", "Phi3", "Cohere2", "Glm4", "Granite"),
        *("Starcoder2", "SmolLM3", "Exaone4", "Ernie4_5"),
    ],
)
def test_other_decoders_share_prompts_too(name):
    """Experts, norms and projections of a dozen more families: rows packed are rows alone."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**TINY)
    torch.manual_seed(0)
    body = transformers.AutoModel.from_config(config).eval()
    with torch.inference_mode():
        alone = [body(torch.tensor([row])).last_hidden_state[0, -1] for row in ROWS]

    assert last_layer(body) is not None
    torch.testing.assert_close(states(body, read_at()), torch.stack(alone), rtol=0, atol=2e-5)


def test_what_a_router_says_beside_its_output_is_kept():
    """Some layers of experts put out a tuple; its first part is what a token becomes."""

    class Routed(torch.nn.Module):
        def forward(self, states):
            return 2 * states, "scores"

    routed = Routed()
    with LastLayer(None, (routed,)).computed_at(torch.tensor([1, 3]), 4):
        output, said = routed(torch.ones(1, 4, 2))

    assert output[0, :, 0].tolist() == [0, 2, 0, 2]
    assert said == "scores"


def test_the_last_mlp_and_projection_see_only_what_is_read(body_of):
    """Earlier layers compute all 78 tokens; the last one the ends of the three rows."""
    body = body_of("llama")
    parts = [part for layer in body.layers for part in (layer.self_attn.o_proj, layer.mlp)]
    seen = []
    handles = [
        part.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
        for part in parts
    ]
    states(body, read_at())
    for handle in handles:
        handle.remove()

    assert seen == [78] * (len(parts) - 2) + [3, 3]


def test_the_last_attention_computes_only_the_queries_that_are_read(body_of, monkeypatch):
    """On a CPU: one query a response there, all 78 in the layers before."""
    body, found = body_of("llama"), {}
    of = LayerQueries.of

    def noting(asked, attention):
        found[attention.layer_idx] = [q.stop - q.start for q in of(asked, attention)]
        return of(asked, attention)

    monkeypatch.setattr(LayerQueries, "of", noting)
    states(body, read_at())

    last = body.config.num_hidden_layers - 1
    assert found[last] == [1, 1, 1]
    assert {sum(found[layer]) for layer in range(last)} == {78}


def test_architectures_of_other_parts_are_computed_whole(body_of):
    """GPT-2 names its layers otherwise; so may any code."""
    assert last_layer(body_of("gpt2")) is None
    assert last_layer(torch.nn.Linear(2, 2)) is None


def test_afterwards_layers_compute_all_tokens_again():
    """Also when what ran inside failed."""
    part = torch.nn.Identity()
    last = LastLayer(None, (part,))

    with pytest.raises(ZeroDivisionError), last.computed_at(torch.tensor([0]), 2):
        raise ZeroDivisionError

    assert part(torch.ones(1, 3, 2)).sum() == 6


def test_each_thread_reads_its_own_tokens():
    """What one thread leaves out, another that is in the same layer computes."""
    part = torch.nn.Identity()
    last = LastLayer(None, (part,))

    def read_alone(place):
        with last.computed_at(torch.tensor([place]), 3):
            inside.wait()
            return part(torch.ones(1, 3, 1)).flatten().tolist()

    inside = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(read_alone, (0, 2)))

    assert found == [[1, 0, 0], [0, 0, 1]]
    assert part(torch.ones(1, 3, 1)).sum() == 3


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.data())
def test_queries_reach_from_the_first_to_the_last_that_is_read(lengths, data):
    """Every read token is asked in its own segment, nothing outside of what is read there."""
    ends = np.cumsum(lengths).tolist()
    segments = [Segment(b - n, b, 0, 0) for n, b in zip(lengths, ends, strict=True)]
    tokens = st.integers(0, ends[-1] - 1)
    read = sorted(data.draw(st.sets(tokens, min_size=1)))
    attention = object()
    asked = LayerQueries(segments, LastLayer(attention, ()), np.array(read))

    expected = [
        (segment, inside[0], inside[-1] + 1)
        for segment in segments
        if (inside := [t for t in read if segment.start <= t < segment.stop])
    ]
    assert [(q.segment, q.start, q.stop) for q in asked.of(attention)] == expected
    assert [(q.start, q.stop) for q in asked.of(object())] == [(s.start, s.stop) for s in segments]
