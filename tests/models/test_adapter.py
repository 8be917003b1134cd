"""PEFT adapters as models: base and adapter together give the rewards of the merged twin."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import tiny_models
from safetensors.torch import load_file, save_file

from rmcheck.cli import main
from rmcheck.errors import ConformanceError, ModelError, UnknownModelError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.policies.policy import Decoding
from rmcheck.policies.registry import open_policy
from rmcheck.pool.pool import Message, Prompt

adapters = pytest.importorskip("adapters")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A language model without a reward head. Read only."""
    return tiny_models.causal(tmp_path_factory.mktemp("adapter") / "base")


@pytest.fixture(scope="module")
def adapter(base):
    """A reward model on it, saved as an adapter with its head. Read only."""
    folder = adapters.reward_adapter(base, base.parent / "adapter")
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(adapter, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(adapter, tmp_path / "adapter")


def rewards_of(spec, samples):
    """Of a model that proves itself, and its page."""
    model = open_model(spec).load()
    encoded = model.encode(samples)
    proven = model.prove(encoded)
    rewards = model.score(encoded)
    model.close()
    return rewards, {item.name: item for item in proven.items}


def refusal(path, kind):
    """The message with which a folder is refused when it is opened."""
    with pytest.raises(kind) as caught:
        open_model(f"hf:{path}")
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_rewards_are_those_of_the_merged_twin(base, samples, tmp_path, options):
    """To 1e-5 in float32, with the page whole; plain LoRA, rank-stabilised and DoRA."""
    folder = adapters.reward_adapter(base, tmp_path / "adapter", **options)
    tiny_models.tokenizer().save_pretrained(folder)
    expected, _ = rewards_of(f"hf:{adapters.twin(folder)}", samples)

    rewards, page = rewards_of(f"hf:{folder}", samples)

    assert expected.std() > 0.1
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-5)
    assert page["head"].detail.startswith("read from the weights; one logit")


def test_the_fingerprint_covers_adapter_and_base(adapter, base, tmp_path):
    """Other weights of either give another; where the base lies gives none."""
    shutil.copytree(base, tmp_path / "elsewhere" / "base")
    moved = shutil.copytree(adapter, tmp_path / "elsewhere" / "adapter")
    adapters.change(moved, base_model_name_or_path="../base")
    plain = open_model(f"hf:{adapter}")
    same = open_model(f"hf:{moved}")
    spoil(moved / "adapter_model.safetensors")
    other_adapter = open_model(f"hf:{moved}").fingerprint
    shutil.copy(adapter / "adapter_model.safetensors", moved)
    spoil(tmp_path / "elsewhere" / "base" / "model.safetensors")
    other_base = open_model(f"hf:{moved}").fingerprint

    assert plain.description["base"] == str(base)
    assert same.description["base"] == str(tmp_path / "elsewhere" / "base")
    assert same.fingerprint == plain.fingerprint
    assert len({plain.fingerprint, other_adapter, other_base}) == 3


def test_a_base_that_has_moved_is_named_in_the_model(adapter, copy, base, tmp_path, samples):
    """The model is the one that it was, and other weights there are another one."""
    moved = shutil.copytree(base, tmp_path / "moved")
    adapters.change(copy, base_model_name_or_path="/gone/base")

    gone = refusal(copy, UnknownModelError)
    found = open_model(f"hf:{copy}?base={moved}")
    rewards, _ = rewards_of(f"hf:{copy}?base={moved}", samples)
    expected, _ = rewards_of(f"hf:{adapter}", samples)
    spoil(moved / "model.safetensors")

    assert "names the base '/gone/base', which is not there" in gone
    assert "Name its folder in the model, base=DIR" in gone
    assert found.description["base"] == str(moved)
    assert found.fingerprint == open_model(f"hf:{adapter}").fingerprint
    np.testing.assert_array_equal(rewards, expected)
    assert open_model(f"hf:{copy}?base={moved}").fingerprint != found.fingerprint


def test_a_base_must_be_there_and_be_of_use(copy, llama_folder, tmp_path):
    """It is named where it is no folder, and refused where the model has none."""
    with pytest.raises(UnknownModelError, match=r"base= names .*nowhere, and there is no such"):
        open_model(f"hf:{copy}?base={tmp_path / 'nowhere'}")
    with pytest.raises(UsageError, match="is no PEFT adapter and has no base; remove base="):
        open_model(f"hf:{llama_folder}?base={copy}")


def spoil(file):
    """Change one tensor a little."""
    tensors = load_file(file)
    first = min(tensors)
    save_file({**tensors, first: tensors[first] * 1.01}, file, metadata={"format": "pt"})


def test_the_tokenizer_is_the_bases_where_the_adapter_has_none(copy, base):
    """Its chat template too."""
    for file in copy.glob("*tokenizer*"):
        file.unlink()
    (copy / "chat_template.jinja").unlink()

    assert open_model(f"hf:{copy}").checkpoint.text_path == base


def test_a_base_of_the_hub_is_taken_from_its_cache(copy, base, tmp_path, monkeypatch):
    """By name and revision, without network; one that is not there says how to get it."""
    adapters.change(copy, base_model_name_or_path="team/base", revision=None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    message = refusal(copy, UnknownModelError)
    folder = tmp_path / "hub" / "models--team--base"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c" * 40)
    snapshot = shutil.copytree(base, folder / "snapshots" / ("c" * 40))

    assert "names the base 'team/base', which is not there" in message
    assert "hf download" in message
    assert open_model(f"hf:{copy}").description["base"] == str(snapshot)


def test_a_base_of_another_size_is_refused(copy, tmp_path):
    """The layer and both sizes are told, before anything is loaded."""
    tiny_models.causal(tmp_path / "wide", hidden_size=128)
    adapters.change(copy, base_model_name_or_path=str(tmp_path / "wide"))

    message = refusal(copy, ConformanceError)

    assert f"was not trained on the base {tmp_path / 'wide'}" in message
    assert message.count("layers.0.self_attn.q_proj is 128 × 128 there, and the adapter's") == 1


def test_a_missing_head_is_refused(copy, policy, tmp_path):
    """One that the config promises, one that nobody has, and one that is not whole."""
    file = copy / "adapter_model.safetensors"
    tensors = {name: t for name, t in load_file(file).items() if "score" not in name}
    save_file(tensors, file, metadata={"format": "pt"})
    adapters.change(copy, modules_to_save=["score", "classifier", "score"])  # as peft writes them
    promised = refusal(copy, ConformanceError)
    shutil.copytree(policy, tmp_path / "policy")
    policy = tmp_path / "policy"
    shutil.copy(copy / "chat_template.jinja", policy)

    low_rank = {f"base_model.model.score.lora_{side}.weight": tensors.popitem()[1] for side in "AB"}
    save_file({**tensors, **low_rank}, file, metadata={"format": "pt"})

    assert "changes the head by LoRA" in refusal(copy, ConformanceError)
    assert "says that score or classifier was" in promised
    assert "the reward head is missing" in promised
    assert "a language model has no reward head" in refusal(policy, ConformanceError)


def test_what_cannot_be_merged_is_refused(copy):
    """Prompts that were learnt, pickled weights, a quantised base, and a config without a base."""
    adapters.change(copy, peft_type="PROMPT_TUNING")
    assert "learns a prompt and changes no weights" in refusal(copy, ModelError)
    adapters.change(copy, peft_type="LORA", base_model_name_or_path=None)
    assert "names no base" in refusal(copy, ModelError)


def test_a_quantised_base_is_refused(copy, base, tmp_path):
    """Merging would round again."""
    quantised = shutil.copytree(base, tmp_path / "quantised")
    config = json.loads((quantised / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (quantised / "config.json").write_text(json.dumps(config))
    adapters.change(copy, base_model_name_or_path=str(quantised))

    assert "is quantised (bitsandbytes)" in refusal(copy, ModelError)


def test_an_adapter_that_lacks_a_layer_is_refused_when_loaded(copy, base):
    """PEFT would start that layer at a change of nothing, with a warning."""
    file = copy / "adapter_model.safetensors"
    tensors = load_file(file)
    gone = next(name for name in tensors if "lora_B" in name)
    save_file({n: t for n, t in tensors.items() if n != gone}, file, metadata={"format": "pt"})

    with pytest.raises(ConformanceError, match=f"says of the base {base} .*or it was trained on"):
        open_model(f"hf:{copy}").load()


@pytest.fixture(scope="module")
def policy(base):
    """A language model on it, saved as an adapter. Read only."""
    return adapters.policy_adapter(base, base.parent / "policy")


@pytest.mark.parametrize("kind", ["implicit", "process", "judge"])
def test_adapters_of_language_models_are_read_as_their_twins(policy, base, samples, tmp_path, kind):
    """What DPO implies against the base, answers behind steps, and a judge's yes or no."""

    def spec(folder):
        if kind == "implicit":
            named = f"&base={base}" if folder == policy else ""
            return f"implicit:{folder},{base}?beta=1{named}"
        if kind == "process":
            return rf"process:{folder}?aggregate=mean&step=;&tag=|&good=f&bad=w"
        file = tmp_path / f"{folder.name}.yaml"
        file.write_text(
            f"engine: hf:{folder}\nprompt: '{{{{ prompt }}}}? {{{{ response }}}}'\n"
            "read: {yes: [f], no: [w]}\n"
        )
        return f"judge:{file}"

    expected, _ = rewards_of(spec(adapters.twin(policy)), samples)
    rewards, _ = rewards_of(spec(policy), samples)

    assert expected.std() > 1e-3
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-3)


def test_an_adapter_is_a_policy(policy, base):
    """It answers as its twin, and is another model than its base."""
    prompts = [Prompt("p", (Message("user", "what is four"),), (), {})]

    def texts(folder):
        with open_policy(f"hf:{folder}").load() as session:
            return session.sample(prompts, 4, 0, Decoding(max_tokens=8))

    assert texts(policy) == texts(adapters.twin(policy)) != texts(base)
    assert open_policy(f"hf:{policy}").fingerprint != open_policy(f"hf:{base}").fingerprint


def test_an_adapter_and_its_twin_are_one_model_to_the_gate(adapter, tmp_path, monkeypatch, capsys):
    """`rmcheck parity` finds no pair in another order."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"what is {text}",
            "responses": tiny_models.TEXTS[:4],
            "golden": [0, 1, 2, 3],
        }
        for i, text in enumerate(tiny_models.TEXTS)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)

    twin = adapters.twin(adapter)
    status = main(["parity", f"hf:{adapter}", f"hf:{twin}", "--pool=pool.jsonl"])
    shown = capsys.readouterr().out

    assert status == 0, shown
    assert "0 of 48 pairs flip inside prompts" in shown


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("modules_to_save", 3, "modules_to_save is 3; it is a list of names"),
        ("revision", 3, "revision is 3; it is a text"),
        ("base_model_name_or_path", "a" * 300, "it is too long"),
        ("base_model_name_or_path", "\0", "a zero byte stands in it"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(copy, field, value, said):
    """Before anything is made of it."""
    adapters.change(copy, **{field: value})

    assert said in refusal(copy, ModelError)
