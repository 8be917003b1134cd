"""Reward functions of trainers, called as their trainer calls them, and what they may do wrong."""

import json
import sys

import numpy as np
import pytest
import tiny_models
from tokenizers import normalizers

from rmcheck.errors import PoolError, ScoringError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.members import choose_store, fill_members, read_combined
from rmcheck.scoring.request import PoolSamples, Request
from rmcheck.store.scores import MemoryStore

SOURCE = """
import time
import asyncio
import torch

# TRL
def correct(prompts, completions, answer, **kwargs):
    assert prompts[0] == [{"role": "user", "content": "2 + 2?"}], prompts
    assert kwargs["trainer_state"].global_step == 0
    kwargs["log_metric"]("seen", 1.0)
    return [float(c[0]["content"] == str(a)) for c, a in zip(completions, answer)]

def plain(prompts, completions):
    assert prompts[0] == "2 + 2?", prompts
    return [float(len(c)) for c in completions]

def of_tokens(completions, completion_ids, **kwargs):
    return [float(len(ids)) for ids in completion_ids]

async def short(completions, **kwargs):
    await asyncio.sleep(0)
    return [-float(len(c[0]["content"])) for c in completions]

def some(completions, **kwargs):
    return [None if c[0]["content"] == "5" else True for c in completions]

def slow(completions, **kwargs):
    time.sleep(60)

def one_less(completions, **kwargs):
    return [1.0] * (len(completions) - 1)

# verl
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert (data_source, extra_info) == ("sums", {}), (data_source, extra_info)
    return {"score": float(solution_str == ground_truth), "acc": True}

async def judged(data_source, solution_str, ground_truth, extra_info=None):
    await asyncio.sleep(0)
    if solution_str == "5":
        raise ValueError("no five")
    return solution_str == ground_truth

def no_score(**arguments):
    return {"reward": 1.0}

def hangs(solution_str, **arguments):
    if solution_str == "5":
        time.sleep(60)
    return 1

# OpenRLHF
def reward_func(queries, prompts, labels):
    assert queries[0] in (prompts[0] + "4", prompts[0] + "5"), queries
    right = torch.tensor([float(q.endswith(l)) for q, l in zip(queries, labels)])
    return {"rewards": right, "scores": right, "extra_logs": {}}

# slime
async def custom_rm(args, sample, **kwargs):
    assert sample.prompt in ("2 + 2?", "2 + 3?"), sample
    return {"acc": int(sample.response == sample.label), "length": len(sample.response)}

# with a template
seen = []

def keeps(queries, prompts, labels):
    seen.append((queries, prompts, labels))
    return [0.0] * len(queries)

async def keeps_sample(args, sample, **kwargs):
    seen.append((sample.prompt, sample.response, sample.label))
    return 0.0

# verifiers
class Rubric:
    def __init__(self, funcs, weights, **objects):
        self.funcs, self.weights, self.class_objects = funcs, weights, objects

def exact(completion, answer, parser):
    return parser(completion[-1]["content"]) == str(answer)

async def brief(state, **kwargs):
    assert state["prompt"][0]["role"] == "user"
    return 1.0 / len(state["completion"][0]["content"])

def of_group(completions, answer):
    return [1.0] * len(completions)

def load_environment():
    class Environment:
        rubric = Rubric([exact, brief], [1.0, 0.5], parser=str.strip)
    return Environment()

groups = Rubric([of_group], [1.0])

# verifiers 0.4: `@vf.reward` marks methods of tasks
class TaskOf04:
    __module__ = "verifiers.v1.task"

class OurTask(TaskOf04):
    pass

def load_taskset():
    return OurTask()

async def marked(trace):
    return 1.0

marked._vf_weight = 1.0
nothing = 3
"""
ROWS = [
    {"prompt": "2 + 2?", "responses": ["4", "5"], "answer": 4, "label": "4", "data_source": "sums"},
    {"prompt": "2 + 3?", "responses": ["4", "5"], "answer": 5, "label": "5", "data_source": "sums"},
]
VERL = [{**row, "reward_model": {"ground_truth": row["label"], "style": "rule"}} for row in ROWS]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Scores a spec on a pool of these rows, in a folder with the module `trained`."""
    (tmp_path / "trained.py").write_text(SOURCE)
    store = MemoryStore()

    def scored(spec, rows=tuple(ROWS)):
        path = tmp_path / "pool.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        model = open_model(spec, base=tmp_path)
        request = Request(model, PoolSamples(read_pool(path)))
        fill_members([request], choose_store(store, store))
        return read_combined(request, choose_store(store, store))

    scored.store, scored.folder = store, tmp_path
    yield scored
    sys.modules.pop("trained", None)


@pytest.mark.parametrize(
    ("spec", "rewards"),
    [
        ("trl:trained:correct", [1, 0, 0, 1]),
        ("trl:trained:plain?prompts=text", [1, 1, 1, 1]),
        ("trl:trained:short", [-1, -1, -1, -1]),
        ("openrlhf:trained:reward_func", [1, 0, 0, 1]),
        ("slime:trained:custom_rm?reward_key=acc", [1, 0, 0, 1]),
    ],
)
def test_a_function_is_called_as_its_trainer_calls_it(bench, spec, rewards):
    """Its arguments, their form and its columns are those of training."""
    assert bench(spec).rewards.tolist() == rewards


def test_verl_finds_the_ground_truth_in_its_own_form(bench):
    """In the object `reward_model`; a mapping has the reward as `score`."""
    assert bench("verl:trained:compute_score", VERL).rewards.tolist() == [1, 0, 0, 1]


def test_the_data_source_may_be_named_for_all_rows(bench):
    """Where the pool has no such column."""
    rows = [{k: v for k, v in row.items() if k != "data_source"} for row in VERL]

    assert bench("verl:trained:compute_score?data_source=sums", rows).rewards[0] == 1
    with pytest.raises(PoolError, match="no column 'data_source'"):
        bench("verl:trained:compute_score", rows)


def test_what_only_a_trainer_makes_is_a_column_that_is_missing(bench):
    """Token ids of the policy, where the function cannot do without."""
    with pytest.raises(PoolError, match="no column 'completion_ids'"):
        bench("trl:trained:of_tokens")


@pytest.fixture
def policy(tmp_path):
    """A tokenizer that reads every letter as a small one."""
    words = tiny_models.tokenizer(chat_template=tiny_models.POLICY_TEMPLATE)
    words.backend_tokenizer.normalizer = normalizers.Lowercase()
    words.save_pretrained(tmp_path / "policy")
    return words


@pytest.mark.parametrize(
    ("spec", "batches"),
    [
        ("openrlhf:trained:keeps?tokenizer=policy", [1, 1]),
        ("openrlhf:trained:keeps?tokenizer=policy&batch=2", [2]),
    ],
)
def test_openrlhf_gives_the_text_that_was_read_and_the_one_that_was_written(
    bench, policy, spec, batches
):
    """A query is decoded from tokens, with its EOS; a prompt is what the template wrote."""
    bench(spec, [{**ROWS[0], "prompt": "Two + 2?"}])
    seen = sys.modules["trained"].seen

    turns = [{"role": "user", "content": "Two + 2?"}]
    prompt = policy.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert "Two + 2?" in prompt
    queries = [f"{prompt.lower()}{answer}<|end|>" for answer in "45"]
    assert [len(one[0]) for one in seen] == batches
    assert [query for one in seen for query in one[0]] == queries
    assert seen[0][1:] == ([prompt] * batches[0], ["4"] * batches[0])


@pytest.mark.parametrize(("eos", "end"), [("", "<|end|>"), ("&eos=strip", "")])
def test_slime_gives_a_response_with_the_eos_that_sglang_leaves_there(bench, policy, eos, end):
    """Unless training leaves special tokens out of texts."""
    bench(f"slime:trained:keeps_sample?tokenizer=policy{eos}", [{**ROWS[0], "prompt": "Two?"}])

    turns = [{"role": "user", "content": "Two?"}]
    prompt = policy.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert sys.modules["trained"].seen == [(prompt, f"4{end}", "4"), (prompt, f"5{end}", "4")]


def test_the_policys_template_is_part_of_the_function(bench, policy):
    """Another one gives other prompts, whatever the function's version."""
    spec = "slime:trained:custom_rm?tokenizer=policy&version=1"
    first = open_model(spec, base=bench.folder).fingerprint
    (bench.folder / "policy" / "chat_template.jinja").write_text("{{ messages[0].content }}")

    assert open_model(spec, base=bench.folder).fingerprint != first


def test_several_rewards_are_their_weighted_sum(bench):
    """Each is a column of its own, under its function's name."""
    found = bench("trl:trained:correct,trained:short?reward_weights=1,0.25")

    assert found.rewards.tolist() == [0.75, -0.25, -0.25, 0.75]
    assert found.columns["component correct"].tolist() == [1, 0, 0, 1]
    assert found.columns["component short"].tolist() == [-1, -1, -1, -1]


def test_a_rubric_is_its_functions_with_their_weights(bench):
    """They get by name what they ask for: messages, the answer, the state, the parser."""
    found = bench("verifiers:trained:load_environment")

    assert found.rewards.tolist() == [1.5, 0.5, 0.5, 1.5]
    assert found.columns["component exact"].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("verifiers:trained:groups", "of_group judges a group of completions at once"),
        ("verifiers:trained:nothing", "is int, which has no reward functions"),
        ("verifiers:trained:OurTask", r"is of verifiers 0.4 \(verifiers.v1\), where a reward is"),
        ("verifiers:trained:load_taskset", "reads the trace of a run in its harness, which no"),
        ("verifiers:trained:marked", "write what it says of an answer as a function"),
        ("trl:trained:correct,trained:short?reward_weights=1", "it is 2 numbers"),
        ("trl:trained:correct,trained:short?reward_weights=1,nan", "it is 2 numbers"),
        ("trl:trained:correct,trained:correct", "is named twice"),
        ("trl:trained:correct?timeout=0", "timeout is '0'"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_opened(bench, spec, said):
    """The value is named, and what it should be."""
    with pytest.raises(UsageError, match=said):
        open_model(spec, base=bench.folder)


@pytest.mark.parametrize(
    ("spec", "said", "kept"),
    [
        ("trl:trained:some", "returned None for prompt .* 2 of 4 responses", 2),
        ("trl:trained:slow?timeout=1", "did not return within 1 s; allow more with timeout=", 0),
        ("trl:trained:one_less", "returned 3 rewards for 4 responses", 0),
        ("verl:trained:no_score?data_source=sums", "a mapping without 'score'; it has: reward", 0),
        ("verl:trained:judged", r"raised ValueError: no five \(trained.py, line \d+\) for", 2),
        ("verl:trained:hangs?timeout=1", "did not return within 1 s", 1),
    ],
)
def test_each_fault_is_told_and_no_score_is_lost(bench, spec, said, kept):
    """The responses without a reward are named; what the others got is stored."""
    with pytest.raises(ScoringError, match=said):
        bench(spec, VERL)

    assert len(bench.store.open(open_model(spec, base=bench.folder).fingerprint)) == kept


def test_true_and_false_are_one_and_zero(bench):
    """A verifier may return them."""
    assert bench("trl:trained:some", [{**ROWS[0], "responses": ["4", "6"]}]).rewards.tolist() == [
        1,
        1,
    ]


def test_rewards_and_weights_are_in_the_fingerprint(bench):
    """Another weight or another trainer is another model; its members are the same."""
    specs = ["trl:trained:correct,trained:short?reward_weights=1,2", "verl:trained:correct"]
    specs += ["trl:trained:correct,trained:short", "trl:trained:correct"]
    models = [open_model(spec, base=bench.folder) for spec in specs]

    assert len({model.fingerprint for model in models}) == 4
    assert models[0].members[0].fingerprint == models[3].fingerprint
    assert models[0].members[0].fingerprint == models[2].members[0].fingerprint


def test_a_call_may_be_timed_beside_an_alarm_of_another(bench):
    """pytest-timeout's and others' alarms go on after the call."""
    import signal

    signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        bench("trl:trained:short")
        left, _ = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)

    assert 0 < left <= 500


def test_outside_of_the_main_thread_calls_are_timed_too(bench):
    """Where alarms do not reach, the call is left behind."""
    import threading

    caught = []

    def run():
        with pytest.raises(ScoringError) as error:
            bench("trl:trained:slow?timeout=1")
        caught.append(str(error.value))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "did not return within 1 s" in caught[0]


def test_rewards_are_floats(bench):
    """Whatever the function returned."""
    assert bench("trl:trained:correct").rewards.dtype == np.float64
