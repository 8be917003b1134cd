"""Checkpoints that cannot be trusted are refused, each with a sentence that says what to do."""

import json
import shutil

import pytest
import tiny_models
import torch
import transformers
from safetensors.torch import load_file, save_file

from rmcheck.errors import ConformanceError, ModelError, UnknownModelError, UsageError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.safetensors_header import read_header
from rmcheck.models.registry import open_model

WEIGHTS = "model.safetensors"
SIZE = "original_max_position_embeddings"


def change_config(folder, **changes):
    """Write other values into config.json; None removes a key."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def change_weights(folder, change):
    """Apply a function to the dict of tensors."""
    tensors = load_file(folder / WEIGHTS)
    save_file(change(tensors), folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"rope_parameters": {"rope_type": "longrope", SIZE: 64}}, 64),
        ({"rope_scaling": {"type": "longrope"}, SIZE: 64}, 64),
        ({"text_config": {"rope_parameters": {"rope_type": "longrope", SIZE: 64}}}, 64),
        ({"rope_parameters": {"rope_type": "yarn", SIZE: 64}}, None),
        ({"rope_scaling": None}, None),
        ({}, None),
    ],
)
def test_the_original_context_of_longrope_is_read(config, size, llama_copy):
    """By its name of today and by those of checkpoints saved before."""
    change_config(llama_copy, rope_parameters=None)
    change_config(llama_copy, **config)

    assert Checkpoint(llama_copy).original_context == size


def refusal(folder, kind, query=""):
    """The message with which a checkpoint is refused when opened."""
    with pytest.raises(kind) as caught:
        open_model(f"hf:{folder}{query}")
    return str(caught.value)


def load_refusal(folder, kind):
    """The message with which a checkpoint is refused when loaded."""
    model = open_model(f"hf:{folder}")
    with pytest.raises(kind) as caught:
        model.load()
    return str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    """Nothing is looked up on a hub."""
    assert "does not exist" in refusal(tmp_path / "nope", UnknownModelError)
    assert "hf download" not in refusal(tmp_path / "nope", UnknownModelError)


def test_a_file_instead_of_a_folder(llama_folder):
    """The weights file alone is no checkpoint."""
    assert "is a file, not a folder" in refusal(llama_folder / WEIGHTS, UnknownModelError)


def test_no_config(llama_copy):
    """A folder without config.json; checkpoints inside it are named."""
    shutil.copytree(llama_copy, llama_copy / "step-200")
    (llama_copy / "config.json").unlink()

    message = refusal(llama_copy, UnknownModelError)

    assert "has no config.json; there are checkpoints inside it: step-200" in message


def test_damaged_config(llama_copy):
    """A config that is no JSON names the file."""
    (llama_copy / "config.json").write_text("{")

    assert "config.json cannot be read" in refusal(llama_copy, ModelError)


def test_no_weights(llama_copy):
    """A folder with a config only."""
    (llama_copy / WEIGHTS).unlink()

    assert "has no weights" in refusal(llama_copy, UnknownModelError)


def test_pickled_weights_are_never_read(llama_copy):
    """Only safetensors are read; the message says how to convert."""
    torch.save(load_file(llama_copy / WEIGHTS), llama_copy / "pytorch_model.bin")
    (llama_copy / WEIGHTS).unlink()

    message = refusal(llama_copy, ModelError)

    assert "pickled weights only (pytorch_model.bin)" in message
    assert "save_pretrained" in message


def test_missing_shards_are_named(llama_copy):
    """An index that names files which are not there."""
    (llama_copy / WEIGHTS).rename(llama_copy / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002.st"}}
    (llama_copy / "model.safetensors.index.json").write_text(json.dumps(index))

    assert "weights that are not there: model-00002.st" in refusal(llama_copy, UnknownModelError)


def test_sharded_weights_load(llama_copy, llama_folder, samples):
    """Shards with an index give the rewards of the single file."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(llama_folder)
    (llama_copy / WEIGHTS).unlink()
    model.save_pretrained(llama_copy, max_shard_size="20KB")
    whole, shards = open_model(f"hf:{llama_folder}"), open_model(f"hf:{llama_copy}")

    rewards = []
    for opened in (whole, shards):
        with opened.load() as session:
            rewards.append(session.score(session.encode(samples)).tolist())

    assert len(shards.checkpoint.weight_files) > 1
    assert rewards[0] == rewards[1]
    assert whole.fingerprint != shards.fingerprint


@pytest.mark.parametrize("size", [0, 7, 500, -1, -1000])
def test_damaged_weights_are_seen_without_loading(llama_copy, size):
    """A file cut short anywhere is refused when opened."""
    content = (llama_copy / WEIGHTS).read_bytes()
    (llama_copy / WEIGHTS).write_bytes(content[:size])

    assert "is damaged" in refusal(llama_copy, ModelError)


def test_a_header_that_is_no_json_is_damage(llama_copy):
    """Garbage of the right length is refused, too."""
    content = bytearray((llama_copy / WEIGHTS).read_bytes())
    content[8:40] = b"\xff" * 32
    (llama_copy / WEIGHTS).write_bytes(content)

    assert "header is unreadable" in refusal(llama_copy, ModelError)


def test_the_header_tells_names_types_and_shapes(llama_folder):
    """What the header says is what safetensors itself reads."""
    tensors = load_file(llama_folder / WEIGHTS)

    header = read_header(llama_folder / WEIGHTS)

    assert {n: t.shape for n, t in header.items()} == {n: t.shape for n, t in tensors.items()}
    assert header["score.weight"].dtype == "F32"


def test_a_language_model_has_no_reward_head(llama_copy):
    """A plain CausalLM is refused by its architecture (trap 4.9)."""
    change_config(llama_copy, architectures=["LlamaForCausalLM"])

    message = refusal(llama_copy, ConformanceError)

    assert "is a LlamaForCausalLM: a language model has no reward head" in message


def test_a_per_token_reward_model_is_refused_by_name(llama_copy):
    """Qwen2ForRewardModel would load with a random head (trap 4.9)."""
    change_config(llama_copy, architectures=["Qwen2ForRewardModel"])

    assert "is a Qwen2ForRewardModel" in refusal(llama_copy, ConformanceError)


def test_weights_without_a_head_are_refused_without_loading(llama_copy):
    """Weights of a language model under a classifier's config (trap 4.9)."""
    change_weights(llama_copy, lambda t: {n: v for n, v in t.items() if n != "score.weight"})

    assert "has no reward head among its" in refusal(llama_copy, ConformanceError)


def test_a_head_of_other_layers_is_refused_at_load(llama_copy):
    """Head tensors that the model does not know leave its own head random (trap 4.9)."""

    def two_layers(tensors):
        head = tensors.pop("score.weight")
        return tensors | {"score.0.weight": head.repeat(32, 1), "score.2.weight": head.clone()}

    change_weights(llama_copy, two_layers)

    message = load_refusal(llama_copy, ConformanceError)

    assert "score.weight: not in the weights, so newly initialised at random" in message
    assert "score.0.weight, score.2.weight: in the weights, but nowhere in the model" in message


def test_a_missing_inner_tensor_is_refused_at_load(llama_copy):
    """Any tensor that would start at random counts, not the head alone."""
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(llama_copy, lambda t: {n: v for n, v in t.items() if n != name})

    assert name in load_refusal(llama_copy, ConformanceError)


def test_a_left_over_language_model_head_is_harmless(llama_copy):
    """lm_head.* is not read by a reward model and does not disturb it."""
    change_weights(llama_copy, lambda t: t | {"lm_head.weight": torch.zeros(320, 32)})
    assert open_model(f"hf:{llama_copy}").load().scorer.reads_last_token


def test_a_head_of_another_shape_is_refused_without_loading(llama_copy):
    """The head's shape and the config's labels must agree."""
    change_weights(llama_copy, lambda t: t | {"score.weight": torch.zeros(3, 32)})

    assert "score.weight has shape [3, 32], but config.json names 1 logits" in refusal(
        llama_copy, ConformanceError
    )


def test_inner_tensors_of_another_shape_are_refused_at_load(llama_copy):
    """A mismatch inside is reported without pages of traceback."""
    change_config(llama_copy, intermediate_size=48)

    assert "transformers cannot load it" in load_refusal(llama_copy, ModelError)


@pytest.fixture(scope="module")
def ten_logits(tmp_path_factory):
    """A checkpoint with ten named logits."""
    labels = {i: f"helpsteer-{i}" for i in range(10)}
    config = tiny_models.decoder_config("llama", num_labels=10, id2label=labels)
    return tiny_models.save(config, tmp_path_factory.mktemp("ten"))


def test_ten_logits_need_a_named_head(ten_logits):
    """Several logits are never averaged or guessed (trap 4.10)."""
    message = refusal(ten_logits, ConformanceError)

    assert "has 10 logits (0 helpsteer-0, 1 helpsteer-1" in message
    assert "add head=NAME or head=INDEX" in message


def test_a_head_is_named_by_label_or_index(ten_logits, samples):
    """Both names give the same logit, and other logits are others."""
    rewards = {}
    for head in ("helpsteer-3", "3", "4"):
        model = open_model(f"hf:{ten_logits}?head={head}").load()
        rewards[head] = model.score(model.encode(samples)).tolist()

    assert rewards["helpsteer-3"] == rewards["3"]
    assert rewards["3"] != rewards["4"]


def test_an_unknown_head_names_the_near_miss(ten_logits):
    """A misspelt head gets the right one and the list."""
    message = refusal(ten_logits, UsageError, "?head=helpster-3")

    assert "Did you mean 'helpsteer-3'?" in message
    assert "Heads: 0 helpsteer-0, 1 helpsteer-1" in message


def test_labels_are_in_the_order_of_their_numbers(llama_copy):
    """JSON sorts "10" before "2"; logits do not."""
    labels = {str(i): f"label-{i}" for i in range(11)}
    change_config(llama_copy, id2label=dict(sorted(labels.items())))
    change_weights(llama_copy, lambda t: t | {"score.weight": torch.zeros(11, 32)})

    model = open_model(f"hf:{llama_copy}?head=label-2")

    assert model.head.terms == ((2, 1.0),)
    assert model.checkpoint.labels == tuple(labels.values())


def test_two_logits_by_default(llama_copy):
    """A config that names no labels has transformers' two."""
    change_config(llama_copy, id2label=None, label2id=None)
    change_weights(llama_copy, lambda t: t | {"score.weight": torch.zeros(2, 32)})

    assert "has 2 logits (0 LABEL_0, 1 LABEL_1)" in refusal(llama_copy, ConformanceError)


@pytest.mark.parametrize("name", ["num_labels", "num_hidden_layers"])
@pytest.mark.parametrize("value", [10**9, -1, 2.5, "many"])
def test_sizes_that_no_model_has_are_refused_unopened(llama_copy, name, value):
    """A line of config.json would fill the memory with names of labels, or with layers."""
    change_config(llama_copy, **{"id2label": None, name: value})

    with pytest.raises(ModelError, match=rf"config.json: {name} is .*a whole number"):
        open_model(f"hf:{llama_copy}")


def test_no_tokenizer(llama_copy):
    """Weights without a tokenizer say how to save one."""
    for path in llama_copy.glob("tokenizer*"):
        path.unlink()

    assert "tokenizer.save_pretrained" in refusal(llama_copy, ModelError)


def test_no_template_means_no_rewards(llama_copy):
    """There is no default template; both ways out are named (trap 4.25)."""
    (llama_copy / "chat_template.jinja").unlink()

    message = refusal(llama_copy, ConformanceError)

    assert "has no chat template" in message
    assert f"hf:{llama_copy}?template=FILE.jinja" in message
    assert "template=pair" in message


def test_own_code_needs_leave(llama_copy):
    """A folder that brings its own classes is not run unasked, nor is anybody prompted."""
    change_config(
        llama_copy,
        architectures=["MyRewardModel"],
        auto_map={"AutoModelForSequenceClassification": "mine.MyRewardModel"},
    )

    assert "trust_remote_code=yes" in refusal(llama_copy, ConformanceError)


def test_quantisation_is_recorded_and_never_chosen(llama_copy, llama_folder):
    """The page says how weights are quantised; no setting quantises (trap 4.13)."""
    change_config(llama_copy, quantization_config={"quant_method": "bitsandbytes"})

    assert open_model(f"hf:{llama_copy}").description["quantisation"] == "bitsandbytes"
    assert open_model(f"hf:{llama_folder}").description["quantisation"] == "none"


@pytest.mark.parametrize(
    ("config", "tokenizer_length", "expected"),
    [
        ({"max_position_embeddings": 64}, 10**30, 64),
        ({"max_position_embeddings": 256}, 100, 100),
        ({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}, 600, 512),
        ({"max_position_embeddings": None, "n_positions": 77}, 10**30, 77),
        ({"max_position_embeddings": None, "text_config": {"max_seq_len": 9}}, 10**30, 9),
        ({"max_position_embeddings": None}, 10**30, None),
    ],
)
def test_the_length_limit_comes_from_model_and_tokenizer(
    llama_copy, config, tokenizer_length, expected
):
    """The smaller of the model's positions and the tokenizer's limit, where they state one."""
    change_config(llama_copy, **config)
    path = llama_copy / "tokenizer_config.json"
    stated = json.loads(path.read_text()) | {"model_max_length": tokenizer_length}
    path.write_text(json.dumps(stated))

    assert open_model(f"hf:{llama_copy}").max_length == expected


def test_the_name_of_a_model_on_a_hub_is_answered_with_the_download(tmp_path):
    """Nothing is downloaded by itself: a name on a hub has a revision."""
    said = refusal(tmp_path / "Skywork" / "Skywork-Reward-V2-Llama-3.1-8B", UnknownModelError)

    name = "Skywork/Skywork-Reward-V2-Llama-3.1-8B"
    assert f"If it is a name on a hub, write {name}@main, or download" in said
    assert said.endswith(f"download it first: hf download {name} --local-dir {name}")
