"""`vllm:DIR` as a policy: what `hf:` promises, and what only vLLM could get wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec

import pytest
from tiny_policies import chi_squared, save_policy, tiny_models

from rmcheck.cli import main
from rmcheck.errors import ConformanceError, ModelError, UsageError
from rmcheck.lab.sampling.sampled_pool import sample_pool
from rmcheck.models.engines.vllm.sampler import VllmSampler
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.policies.policy import Decoding, response_seed
from rmcheck.policies.registry import open_policy
from rmcheck.policies.text_policy import TextPolicy
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.reading import read_pool

HAS_VLLM = find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not HAS_VLLM, reason="vLLM is not installed; .ci/vllm runs these tests where it is"
)
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}
SHORT = Decoding(max_tokens=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Llama policy that vLLM runs on a CPU. Read only: copy it before changing anything."""
    return save_policy(tmp_path_factory.mktemp("wide-policy"), **WIDE)


@pytest.fixture(scope="module")
def shared(folder):
    """One policy for most tests; whoever closes it leaves it to be loaded again."""
    if not HAS_VLLM:
        pytest.skip("vLLM is not installed")
    with closing(TextPolicy(open_policy(f"vllm:{folder}"))) as policy:
        yield policy


@pytest.fixture
def policy(shared):
    """The same, loaded."""
    return shared.loaded()


@pytest.fixture
def long_prompts():
    """Prompts of more than one block of the prefix cache, which is 128 tokens on a CPU."""
    texts = [f"{i} " + "two plus two is four " * 40 for i in range(3)]
    return [Prompt(f"p{i}", (Message("user", t),), (), {}) for i, t in enumerate(texts)]


def loaded(spec):
    """A policy, opened and loaded."""
    return open_policy(spec).load()


# What needs no vLLM.


def test_opening_imports_nothing_heavy(folder):
    """A policy is opened without torch, transformers or vLLM."""
    code = (
        "import sys; from rmcheck.policies.registry import open_policy; "
        f"open_policy('vllm:{folder}?dtype=bfloat16'); "
        "print([m for m in ('vllm', 'torch', 'transformers') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_what_is_no_policy_is_refused_when_opened(folder, tmp_path):
    """A reward model, a folder without chat template, and impossible settings."""
    with pytest.raises(ConformanceError, match="a policy is a causal language model"):
        open_policy(f"vllm:{tiny_models.llama(tmp_path / 'rm')}")
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ConformanceError, match=r"has no chat template.*template=FILE.jinja"):
        open_policy(f"vllm:{bare}")
    with pytest.raises(UsageError, match=r"max_length is 2000, but config.json gives .* 1024"):
        open_policy(f"vllm:{folder}?max_length=2000")
    with pytest.raises(UsageError, match="gpu_memory is '2'; it is a share of the memory"):
        open_policy(f"vllm:{folder}?gpu_memory=2")
    with pytest.raises(UsageError, match=r"Values: float32, bfloat16, float16\."):
        open_policy(f"vllm:{folder}?dtype=auto")


def test_the_fingerprint_has_engine_and_type_and_not_the_memory(folder, tmp_path):
    """Other texts come from another engine, type or end token; memory and batch change none."""
    plain = open_policy(f"vllm:{folder}").fingerprint
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}))

    assert open_policy(f"vllm:{folder}?batch=8&gpu_memory=0.5&max_length=99").fingerprint == plain
    assert open_policy(f"hf:{folder}").fingerprint != plain
    assert open_policy(f"vllm:{folder}?dtype=bfloat16").fingerprint != plain
    assert open_policy(f"vllm:{copy}").fingerprint != plain


# What it samples.


@needs_vllm
def test_responses_do_not_depend_on_batch_order_or_cache(policy, long_prompts):
    """One by one, backwards, and with prompts that are in the cache: the same texts."""
    whole = policy.sample(long_prompts, 4, 3, SHORT)

    backwards = policy.sample(long_prompts[::-1], 4, 3, SHORT)[::-1]
    policy.writer.sampler.forget()
    single = [policy.sample([prompt], 4, 3, SHORT)[0] for prompt in long_prompts]

    assert backwards == whole
    assert single == whole
    assert len({response.text for responses in whole for response in responses}) > 8


@needs_vllm
def test_a_prompt_is_read_once_for_all_its_responses(policy, long_prompts):
    """All but the first response find the prompt's whole blocks in the cache."""
    generator = policy.writer.sampler
    generator.forget()
    (row,) = policy.writer.tokenizer.encode_prompts(long_prompts[:1])
    before = generator.cached_tokens

    policy.sample(long_prompts[:1], 4, 0, SHORT)
    blocks = len(row) // generator.block_size

    assert blocks >= 1
    assert generator.cached_tokens - before == 3 * blocks * generator.block_size


@needs_vllm
def test_fewer_responses_are_the_first_of_more(policy, prompts):
    """n=4 is a prefix of n=8; another seed gives other texts."""
    eight = policy.sample(prompts, 8, 1, SHORT)

    assert policy.sample(prompts, 4, 1, SHORT) == [responses[:4] for responses in eight]
    assert policy.sample(prompts, 8, 2, SHORT) != eight


@needs_vllm
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_follow_the_softmax_of_the_model(policy, folder, prompts, temperature):
    """Chi-squared of 2000 first tokens against transformers' forward: 99.9 % point of its law."""
    (row,) = policy.writer.tokenizer.encode_prompts(prompts[:1])
    seeds = [response_seed(0, "p", i) for i in range(2000)]
    drawn = policy.writer.sampler.sample([row] * 2000, seeds, temperature=temperature, max_tokens=1)

    statistic, most = chi_squared(folder, row, drawn, temperature)

    assert statistic < most


@needs_vllm
def test_almost_greedy_texts_are_those_of_transformers(policy, folder, prompts):
    """At temperature 0.01 only the likeliest token is left, and both engines see the same one."""
    greedy = Decoding(max_tokens=12, temperature=0.01)

    expected = loaded(f"hf:{folder}").sample(prompts, 2, 0, greedy)

    assert policy.sample(prompts, 2, 0, greedy) == expected


@needs_vllm
def test_cut_and_ended_responses_are_told_apart(policy, folder, prompts, tmp_path):
    """Of generation_config.json end tokens shorten texts; its top-k and penalty change none."""
    plain = policy.sample(prompts, 8, 0, SHORT)
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "generation_config.json"
    path.write_text(json.dumps({"top_k": 1, "repetition_penalty": 9.0, "max_new_tokens": 2}))
    same = loaded(f"vllm:{copy}")
    unchanged = same.sample(prompts, 8, 0, SHORT)
    same.close()
    path.write_text(json.dumps({"eos_token_id": [2, *range(100, 320)]}))
    other = loaded(f"vllm:{copy}")
    ended = other.sample(prompts, 8, 0, SHORT)
    other.close()

    assert unchanged == plain
    pairs = [pair for many in zip(ended, plain, strict=True) for pair in zip(*many, strict=True)]
    shorter = [pair for pair in pairs if not pair[0].cut]
    assert all(b.cut and b.text.startswith(a.text.rstrip("�")) for a, b in pairs)
    assert all(len(a.text) < len(b.text) for a, b in shorter)
    assert any(a.text for a, _ in shorter)


# What can go wrong.


@needs_vllm
def test_prompts_that_leave_too_few_tokens_are_named(policy, prompts):
    """The longest are named before anything is sampled; vLLM would cut their responses."""
    long = Decoding(max_tokens=1020)

    with pytest.raises(UsageError, match=r"4 of 4 prompts leave fewer than the 1020.*'p3': "):
        policy.check(prompts, long)
    with pytest.raises(UsageError, match="in the 1024 that the policy takes"):
        policy.sample(prompts, 1, 0, long)


@needs_vllm
def test_a_temperature_that_vllm_would_raise_is_refused(policy, prompts):
    """Below 0.01 vLLM samples at 0.01, whatever was asked for."""
    with pytest.raises(UsageError, match=r"temperature is 0\.001; vLLM samples at 0\.01 and more"):
        policy.check(prompts, Decoding(temperature=0.001))
    with pytest.raises(UsageError, match=r"temperature is 0\.001"):
        policy.sample(prompts, 1, 0, Decoding(temperature=0.001))


@needs_vllm
def test_rows_before_an_engine_died_are_kept(policy, prompts, tmp_path, monkeypatch):
    """The error is vLLM's in words; the next run loads again and ends with the whole file."""
    path, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    opened = policy.policy
    monkeypatch.setattr(opened, "at_once", 2)
    sample_pool(opened, prompts, whole, n=2, decoding=SHORT)
    generate, calls = VllmSampler.generate, iter("ab")

    def dying(sampler, *asked):
        if next(calls) == "b":
            os.kill(sampler.process.pid, signal.SIGKILL)
        return generate(sampler, *asked)

    died = r"vLLM cannot answer\. its process was ended by SIGKILL"
    with monkeypatch.context() as patched:
        patched.setattr(VllmSampler, "generate", dying)
        with pytest.raises(ModelError, match=died):
            sample_pool(opened, prompts, path, n=2, decoding=SHORT)
    kept = path.read_bytes().count(b"\n")
    found = sample_pool(opened, prompts, path, n=2, decoding=SHORT)

    assert 0 < kept == found.kept < 4
    assert path.read_bytes() == whole.read_bytes()


@needs_vllm
def test_logits_that_are_no_numbers_are_an_error(folder, prompts, tmp_path):
    """Weights that are finite and overflow float16 would give texts of one token over and over."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"] *= 3e4
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    policy = loaded(f"vllm:{copy}?dtype=float16")

    with pytest.raises(ModelError, match="logits are NaN or infinite; try dtype=float32"):
        policy.sample(prompts, 2, 0, SHORT)


# One process, many models.


@needs_vllm
def test_a_reward_model_loads_after_a_policy_and_the_other_way_round(policy, prompts, tmp_path):
    """They stand beside each other, and come back as they were."""
    before = policy.sample(prompts, 2, 0, SHORT)
    reward_model = open_model(f"vllm:{tiny_models.llama(tmp_path, **WIDE)}")
    samples = [Sample("p", 0, prompts[0].messages, "four")]
    session = reward_model.load()
    first = session.score(session.encode(samples))
    policy.close()
    with policy.policy.load() as other:
        again = other.sample(prompts, 2, 0, SHORT)
    session.close()
    with reward_model.load() as session:
        second = session.score(session.encode(samples))

    assert again == before
    assert first.tolist() == second.tolist()


@needs_vllm
def test_the_command_samples_from_a_text_file_and_says_so_in_a_line(
    folder, tmp_path, capfd, policy
):
    """Prompts a line each become a pool; a second run finds it whole."""
    policy.close()
    (tmp_path / "prompts.txt").write_text("What is two?\nWhat is four?\n")
    out = tmp_path / "sampled.jsonl"
    command = ["sample", str(tmp_path / "prompts.txt"), f"--policy=vllm:{folder}"]
    command += ["--responses=3", "--max-tokens=5", f"--out={out}"]
    capfd.readouterr()

    assert main(command) == 0
    said, errors = capfd.readouterr()
    assert main(command) == 0
    again, _ = capfd.readouterr()

    assert said.splitlines()[0].startswith(f"{out}: 2 prompts, 6 responses of ")
    assert len(said.splitlines()) == 1
    assert errors == f"rmcheck: sampling vllm:{folder}: 2 prompts, 3 responses each\n"
    assert "2 prompts (2 were there)" in again
    assert [len(p.responses) for p in read_pool(out).prompts] == [3, 3]


@needs_vllm
def test_texts_are_answered_as_by_the_policy_fixture(shared):
    """What the `policy` fixture gives: it loads when first asked, and a seed decides."""
    shared.close()

    four = shared.sample("How are you?", 4, seed=1, max_tokens=6)

    assert shared.sample(["How are you?"], 2, seed=1, max_tokens=6) == [four[:2]]


@needs_vllm
def test_bfloat16_samples_the_same_again(folder, prompts):
    """The same batch gives the same texts; in another batch a text may part from its twin."""
    policy = loaded(f"vllm:{folder}?dtype=bfloat16")

    first = policy.sample(prompts, 4, 0, SHORT)
    policy.writer.sampler.forget()
    again = policy.sample(prompts, 4, 0, SHORT)
    policy.close()

    assert again == first
