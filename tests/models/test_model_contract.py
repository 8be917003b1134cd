"""What every reward model promises, whatever stands behind it."""

import json
import subprocess
import sys

import numpy as np
import process_models
import pytest
import tiny_models
from failing_server import FailingServer
from judging_server import JudgingServer

from rmcheck.errors import ScoringError
from rmcheck.models.model import Proven, ReadyModel, RewardModel
from rmcheck.models.registry import open_model

# Largest change by batch composition: rounding of the type that the model computes in.
TOLERANCE = {"hf-bfloat16": 0.1, "hf-float32": 1e-5, "hf-encoder": 1e-5, "hf-shared": 1e-5}
TOLERANCE |= {"implicit": 1e-5, "process-head": 1e-5, "process-causal": 1e-5}
TOLERANCE |= {"judge-hf": 1e-5}
BACKENDS = [
    "fake",
    "python",
    "scores",
    "hf-float32",
    "hf-bfloat16",
    "hf-shared",
    "hf-encoder",
    "http",
    "implicit",
    "process-head",
    "process-causal",
    "judge-hf",
    "judge-http",
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a user's module and a file of scores for the samples."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "my_judge.py").write_text(
        "def score(prompts, responses):\n"
        "    return [len(r) + len(p[-1]['content']) / 7 for p, r in zip(prompts, responses)]\n"
    )
    rows = [
        {"prompt_id": s.prompt_id, "response": s.index, "score": 0.5 * i}
        for i, s in enumerate(tiny_models.samples())
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def reward_server():
    """A server on this machine."""
    with FailingServer("vllm") as running:
        yield running


@pytest.fixture(scope="module")
def labelled_folder(tmp_path_factory):
    """A model with two labels a token."""
    return process_models.labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def judge_files(tmp_path_factory, policy_pair):
    """A folder with a judge of this process, and one of a server."""
    folder = tmp_path_factory.mktemp("judges")
    ask = "prompt: '{{ prompt }}? {{ response }}'\n"
    policy = policy_pair.partition(",")[0]
    (folder / "local.yaml").write_text(f"engine: hf:{policy}\n{ask}read: {{yes: [f], no: [w]}}\n")
    with JudgingServer() as running:
        read = "read: {yes: [Yes, ' Yes'], no: [No]}"
        (folder / "server.yaml").write_text(f"engine: http:{running.url}\n{ask}{read}\n")
        yield folder


@pytest.fixture(scope="module", params=BACKENDS)
def model(
    request,
    workplace,
    llama_folder,
    bert_folder,
    reward_server,
    policy_pair,
    labelled_folder,
    judge_files,
):
    """Each backend, loaded."""
    policy = policy_pair.partition(",")[0]
    spec = {
        "fake": "fake:random?noise=0.5",
        "python": "python:my_judge:score",
        "scores": "scores:scores.jsonl",
        "hf-float32": f"hf:{llama_folder}",
        "hf-bfloat16": f"hf:{llama_folder}?dtype=bfloat16",
        "hf-shared": f"hf:{llama_folder}?prefix=shared",
        "hf-encoder": f"hf:{bert_folder}?template=pair",
        "http": f"http:{reward_server.url}?tokenizer={llama_folder}",
        "implicit": f"implicit:{policy_pair}",
        "process-head": f"process:{labelled_folder}?aggregate=product&step=%20&tag=\\n",
        "process-causal": f"process:{policy}?aggregate=mean&step=%20&tag=\\n",
        "judge-hf": f"judge:{judge_files}/local.yaml",
        "judge-http": f"judge:{judge_files}/server.yaml",
    }[request.param]
    opened = open_model(spec, base=workplace).load()
    if request.param == "hf-shared":  # as it scores once it is proved
        packed = opened.scoring(Proven(shares_prefixes=True))
        opened.score = lambda batch: packed(batch) if batch else np.zeros(0)
    yield opened
    opened.close()


@pytest.fixture
def tolerance(request):
    """How far two computations of one reward may lie apart."""
    return TOLERANCE.get(request.node.callspec.params["model"], 0.0)


def test_n_samples_give_n_finite_rewards(model, samples):
    """Rewards come one for each sample, as float64, none NaN or infinite."""
    rewards = model.score(model.encode(samples))

    assert rewards.shape == (len(samples),)
    assert rewards.dtype == np.float64
    assert np.isfinite(rewards).all()


def test_no_samples_give_no_rewards(model):
    """An empty batch is an empty array, and nothing is computed or asked."""
    rewards = model.score([])

    assert rewards.shape == (0,)
    assert rewards.dtype == np.float64


def test_rewards_differ_between_texts(model, samples):
    """The reward depends on the text, so that the other tests of this file can fail."""
    rewards = model.score(model.encode(samples))

    assert len(np.unique(rewards.round(6))) == len(samples)


def test_same_text_same_reward(model, samples, tolerance):
    """The same text gets the same reward: bit for bit when asked again, to rounding in a batch."""
    encoded = model.encode([samples[3], samples[3]])

    first, second = model.score(encoded)
    again = model.score(encoded)

    assert abs(first - second) <= tolerance
    assert again.tolist() == [first, second]
    assert encoded[0].key == encoded[1].key


def test_order_does_not_matter(model, samples, tolerance):
    """Reversing the batch reverses the rewards."""
    encoded = model.encode(samples)

    rewards = model.score(encoded)
    reverse = model.score(encoded[::-1])

    np.testing.assert_allclose(reverse[::-1], rewards, rtol=0, atol=tolerance)


def test_batch_size_does_not_matter(model, samples, tolerance):
    """One at a time gives what one batch gives."""
    encoded = model.encode(samples)

    together = model.score(encoded)
    alone = np.concatenate([model.score([e]) for e in encoded])

    np.testing.assert_allclose(alone, together, rtol=0, atol=tolerance)


def test_proves_itself(model, samples):
    """A sound model passes its own proof."""
    proven = model.prove(model.encode(samples))

    assert [item for item in proven.items if item.status == "fail"] == []


def test_each_load_gives_a_session_of_its_own(model, samples, tolerance):
    """Its rewards are the same, and closing it leaves the others as they are."""
    before = model.score(model.encode(samples))

    with model.model.load() as other:
        assert other is not model or isinstance(model, ReadyModel)
        again = other.score(other.encode(samples))

    np.testing.assert_allclose(again, before, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(model.score(model.encode(samples)), before)


def test_nothing_of_a_model_changes_when_it_scores(model, samples):
    """Loading, proving and scoring leave what was opened as it was."""
    opened = model.model
    before = {name: (value, repr(value)) for name, value in vars(opened).items()}

    with opened.load() as session:
        encoded = session.encode(samples)
        session.scoring(session.prove(encoded))(encoded)

    assert {name: (value, repr(value)) for name, value in vars(opened).items()} == before


def test_fingerprint_is_64_hex_digits_and_stable(model, workplace):
    """Opening the same model again gives the same fingerprint."""
    opened = model.model
    again = open_model(opened.spec, base=workplace)

    assert len(bytes.fromhex(opened.fingerprint)) == 32
    assert again.fingerprint == opened.fingerprint


def test_names_and_descriptions_are_texts(model):
    """Name and description are short texts for tables."""
    assert isinstance(model.model, RewardModel)
    assert model.model.name
    assert model.model.description.keys() <= model.description.keys()
    assert all(isinstance(v, str) for v in model.description.values())


@pytest.mark.parametrize(
    ("spec", "heavy"),
    [
        ("hf:{llama}?dtype=bfloat16", ["torch", "transformers", "pyarrow"]),
        ("scores:{work}/scores.jsonl", ["torch", "transformers", "pyarrow"]),
        ("python:my_judge:score", ["torch", "transformers", "pyarrow", "my_judge"]),
        ("fake:perfect", ["torch", "transformers", "pyarrow"]),
        ("http:{server}?tokenizer={llama}", ["torch", "transformers", "pyarrow"]),
        ("implicit:{pair}", ["torch", "transformers", "pyarrow"]),
        ("process:{labelled}?aggregate=min&tag=x", ["torch", "transformers", "pyarrow"]),
        ("judge:{judges}/local.yaml", ["torch", "transformers", "pyarrow"]),
        ("judge:{judges}/server.yaml", ["torch", "transformers", "pyarrow"]),
    ],
)
def test_opening_imports_nothing_heavy(
    spec,
    heavy,
    workplace,
    llama_folder,
    reward_server,
    policy_pair,
    labelled_folder,
    judge_files,
):
    """A model is opened without torch, transformers, pyarrow, or the user's own module."""
    named = spec.format(
        llama=llama_folder,
        work=workplace,
        server=reward_server.url,
        pair=policy_pair,
        labelled=labelled_folder,
        judges=judge_files,
    )
    code = (
        "import sys; from rmcheck.models.registry import open_model; "
        f"open_model({named!r}); print([m for m in {heavy} if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_wrong_counts_and_nan_are_refused(samples):
    """`checked_rewards`, which every backend can rely on, names the model, prompt and value."""
    from rmcheck.models.sample import checked_rewards

    encoded = open_model("fake:constant").encode(samples)
    rewards = np.zeros(len(samples))
    rewards[2] = np.nan

    with pytest.raises(ScoringError, match=r"m: the reward of prompt 'p1', response 0 is nan"):
        checked_rewards(rewards, encoded, "m")
    with pytest.raises(ScoringError, match=r"8 samples, but rewards of shape \(7,\)"):
        checked_rewards(rewards[1:], encoded, "m")
