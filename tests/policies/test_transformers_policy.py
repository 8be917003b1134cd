"""`hf:DIR` as a policy, on tiny random models."""

import json
import shutil

import pytest
from tiny_policies import chi_squared, save_policy, tiny_models

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.policies.policy import Decoding, response_seed
from rmcheck.policies.registry import open_policy

SHORT = Decoding(max_tokens=12)


@pytest.fixture
def opened(policy_folder):
    """Opens the tiny policy with settings, loaded."""

    def open_loaded(folder=policy_folder, settings=""):
        return open_policy(f"hf:{folder}{settings}").load()

    return open_loaded


def test_responses_do_not_depend_on_batch_or_order(opened, prompts):
    """The same seed gives the same texts one by one, four at a time, together, and backwards."""
    whole = opened().sample(prompts, 5, 3, SHORT)

    assert opened(settings="?batch=1").sample(prompts, 5, 3, SHORT) == whole
    assert opened(settings="?batch=4").sample(prompts, 5, 3, SHORT) == whole
    assert opened().sample(prompts[::-1], 5, 3, SHORT)[::-1] == whole
    assert len({response.text for responses in whole for response in responses}) > 15


@pytest.mark.parametrize("kind", ["qwen3", "gemma2", "gpt2"])
def test_batches_agree_on_other_architectures(kind, opened, prompts, tmp_path):
    """Padding on the left changes nothing with sliding windows, soft caps or learnt positions."""
    folder = save_policy(tmp_path / kind, kind)

    one, many = (opened(folder, f"?batch={size}").sample(prompts, 3, 0, SHORT) for size in (1, 12))

    assert one == many


def test_fewer_responses_are_the_first_of_more(opened, prompts):
    """n=4 is a prefix of n=8, and fewer tokens are the beginning of more."""
    policy = opened()
    eight = policy.sample(prompts, 8, 1, SHORT)
    short = policy.sample(prompts, 8, 1, Decoding(max_tokens=4))

    assert policy.sample(prompts, 4, 1, SHORT) == [responses[:4] for responses in eight]
    assert all(
        b.text.startswith(a.text.rstrip("�"))
        for few, more in zip(short, eight, strict=True)
        for a, b in zip(few, more, strict=True)
    )


def test_another_seed_gives_other_responses(opened, prompts):
    """The seed counts."""
    policy = opened()

    assert policy.sample(prompts, 4, 1, SHORT) != policy.sample(prompts, 4, 2, SHORT)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_follow_the_softmax_of_the_model(opened, policy_folder, prompts, temperature):
    """Chi-squared of 4000 first tokens against the model's own forward: 99.9 % point of its law."""
    policy = opened(settings="?batch=1000")
    (row,) = policy.writer.tokenizer.encode_prompts(prompts[:1])
    seeds = [response_seed(0, "p", i) for i in range(4000)]
    drawn = policy.writer.sampler.sample([row] * 4000, seeds, temperature=temperature, max_tokens=1)

    statistic, most = chi_squared(policy_folder, row, drawn, temperature)

    assert statistic < most


def test_the_prompt_is_written_once_with_the_opening_of_the_answer(opened, prompts):
    """One BOS, the user's turn, and the generation prompt."""
    tokenizer = opened().writer.tokenizer

    texts = [tokenizer.text(ids) for ids in tokenizer.encode_prompts(prompts[:1])]

    assert texts == ["<s><|user|>what is four<|end|><|assistant|>"]


def test_the_generation_config_of_the_folder_gives_end_tokens_alone(
    opened, policy_folder, prompts, tmp_path
):
    """Top-k 1 and a penalty in it change no text; one more end token shortens texts."""
    folder = shutil.copytree(policy_folder, tmp_path / "copy")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"top_k": 1, "do_sample": True, "repetition_penalty": 9.0}))
    plain = opened().sample(prompts, 4, 0, SHORT)
    same = opened(folder).sample(prompts, 4, 0, SHORT)
    path.write_text(json.dumps({"eos_token_id": [2, *range(10, 200)]}))
    ended = opened(folder).sample(prompts, 4, 0, SHORT)

    assert same == plain
    assert all(not response.cut for responses in ended for response in responses)
    assert any(response.cut for responses in plain for response in responses)
    assert open_policy(f"hf:{folder}").fingerprint != open_policy(f"hf:{policy_folder}").fingerprint


def test_prompts_that_leave_too_few_tokens_are_named(opened, prompts):
    """The longest are named with their tokens before anything is sampled; the model has 256."""
    policy = opened()

    with pytest.raises(UsageError, match=r"4 of 4 prompts leave fewer than the 250 tokens.*'p3': "):
        policy.check(prompts, Decoding(max_tokens=250))
    with pytest.raises(UsageError, match=r"Lower max_tokens"):
        policy.sample(prompts, 1, 0, Decoding(max_tokens=250))


def test_tied_embeddings_are_no_missing_tensor(opened, prompts, tmp_path):
    """A folder without lm_head that is tied to its embeddings loads and answers."""
    folder = save_policy(tmp_path / "tied", tie_word_embeddings=True)

    (responses,) = opened(folder).sample(prompts[:1], 2, 0, SHORT)

    assert len(responses) == 2


def test_what_is_no_policy_is_refused_when_opened(policy_folder, tmp_path):
    """A reward model, a folder without chat template, and schemes and devices that are none."""
    reward_model = tiny_models.llama(tmp_path / "rm")
    with pytest.raises(ConformanceError, match="a policy is a causal language model"):
        open_policy(f"hf:{reward_model}")
    bare = shutil.copytree(policy_folder, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ConformanceError, match=r"has no chat template.*template=FILE.jinja"):
        open_policy(f"hf:{bare}")
    with pytest.raises(UsageError, match=r"no policy has the scheme 'fak'\. Did you mean 'fake'"):
        open_policy("fak:yes")
    with pytest.raises(UsageError, match="device is 'gpu'; it is one of auto, cpu, cuda, cuda:N"):
        open_policy(f"hf:{policy_folder}?device=gpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"max_tokens": 0}, "max_tokens is 0"), ({"temperature": 0.0}, "temperature is 0.0")],
)
def test_decoding_refuses_numbers_out_of_range(changes, message):
    """At least one token, and a temperature above zero."""
    with pytest.raises(UsageError, match=message):
        Decoding(**changes)
