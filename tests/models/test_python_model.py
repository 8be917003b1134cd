"""`python:module:function`: a user's own function, and what it may do wrong."""

import sys

import numpy as np
import pytest
from stored_scores import fill, scores_of

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.store.scores import MemoryStore

SOURCE = """
import numpy as np
import torch

def seen(prompts, responses):
    return [len(prompts[0]), len(responses)] if False else [float(len(r)) for r in responses]

CALLS = []

def counted(prompts, responses):
    CALLS.append(len(responses))
    return [float(len(r)) for r in responses]

def as_array(prompts, responses):
    return np.arange(len(responses), dtype=np.float32)

def as_tensor(prompts, responses):
    return torch.arange(len(responses), dtype=torch.bfloat16, requires_grad=True)

def as_scalars(prompts, responses):
    return tuple(torch.tensor(float(i)) for i in range(len(responses)))

def conversations(prompts, responses):
    assert prompts[0] == [{"role": "user", "content": "what is four"}], prompts[0]
    assert responses[0] == "four"
    return [1.0] * len(responses)

def raises(prompts, responses):
    return {}["missing"]

def out_of_memory(prompts, responses):
    raise MemoryError("too big")

def too_few(prompts, responses):
    return [1.0]

def texts(prompts, responses):
    return ["good"] * len(responses)

def nothing(prompts, responses):
    return None

def one_number(prompts, responses):
    return np.float64(3)

def nan(prompts, responses):
    return [float("nan")] * len(responses)

def column(prompts, responses):
    return np.zeros((len(responses), 1))

CONSTANT = 3
"""
RAISING_LINE = SOURCE[: SOURCE.index('["missing"]')].count("\n") + 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the module `users_rewards`, forgotten afterwards."""
    (tmp_path / "users_rewards.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("users_rewards", None)


def loaded(folder, function):
    """The model of a function, loaded."""
    return open_model(f"python:users_rewards:{function}", base=folder).load()


@pytest.mark.parametrize("function", ["as_array", "as_tensor", "as_scalars"])
def test_arrays_and_tensors_are_fine(folder, samples, function):
    """Whatever holds numbers: an array, a tensor with gradients, a tuple of scalars."""
    model = loaded(folder, function)

    assert model.score(model.encode(samples)).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_prompts_are_conversations(folder, samples):
    """The function gets lists of role and content, and the responses as texts."""
    model = loaded(folder, "conversations")

    assert model.score(model.encode(samples)).tolist() == [1.0] * 8


def test_the_folder_is_importable_only_meanwhile(folder, samples):
    """sys.path is as before, afterwards."""
    before = list(sys.path)

    model = loaded(folder, "seen")
    model.score(model.encode(samples))

    assert sys.path == before


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("raises", f"raised KeyError: 'missing' (users_rewards.py, line {RAISING_LINE})"),
        ("too_few", "the function returned 1 rewards for 8 responses (prompts 'p0', 'p1'"),
        ("texts", "returned 'good' (str) for prompt 'p0', response 0"),
        ("nothing", "returned NoneType, not a sequence of 8 numbers"),
        ("one_number", "returned one number for 8 responses"),
        ("column", "returned [0.0] (list) for prompt 'p0', response 0"),
        ("nan", "the reward of prompt 'p0', response 0 is nan"),
    ],
)
def test_each_fault_of_the_function_has_its_sentence(folder, samples, function, said):
    """The spec is named, and what the function did."""
    model = loaded(folder, function)

    with pytest.raises(ScoringError) as caught:
        model.score(model.encode(samples))

    assert f"python:users_rewards:{function}" in str(caught.value)
    assert said in str(caught.value)


def test_the_users_traceback_is_kept(folder, samples):
    """The original exception is the cause, so that its line can be found."""
    model = loaded(folder, "raises")

    with pytest.raises(ScoringError) as caught:
        model.score(model.encode(samples))

    assert isinstance(caught.value.__cause__, KeyError)


def test_memory_errors_pass_through(folder, samples):
    """The caller halves the batch on a MemoryError, so it must see one."""
    model = loaded(folder, "out_of_memory")

    with pytest.raises(MemoryError):
        model.score(model.encode(samples))


@pytest.mark.parametrize("spec", ["python:module", "python::f", "python:m:", "python:"])
def test_a_location_is_module_and_function(spec):
    """Both parts are needed."""
    with pytest.raises(UsageError, match="is not python:module:function"):
        open_model(spec)


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module"])
def test_a_module_that_is_not_there(module, tmp_path):
    """The places looked in are named."""
    with pytest.raises(UnknownModelError, match=f"no module '{module}'"):
        open_model(f"python:{module}:f", base=tmp_path)


@pytest.mark.parametrize("function", ["raisse", "CONSTANT"])
def test_a_function_that_is_not_there(folder, function):
    """A near miss and the functions there are."""
    with pytest.raises(UnknownModelError) as caught:
        loaded(folder, function)

    assert f"has no function '{function}'" in str(caught.value)
    assert "too_few" in str(caught.value)
    assert ("Did you mean 'raises'?" in str(caught.value)) == (function == "raisse")


def test_a_module_that_fails_to_import(folder):
    """The module's own error is named and kept."""
    (folder / "users_rewards.py").write_text("1 / 0")

    with pytest.raises(UnknownModelError, match="cannot be imported: ZeroDivisionError") as caught:
        loaded(folder, "f")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_scores_are_kept_only_with_a_version(folder):
    """Without a version rmcheck cannot know when rewards change; with one the author says so."""
    plain = open_model("python:users_rewards:seen", base=folder)
    first = open_model("python:users_rewards:seen?version=1", base=folder)
    second = open_model("python:users_rewards:seen?version=2", base=folder)
    (folder / "users_rewards.py").write_text(SOURCE + "# edited")
    edited = open_model("python:users_rewards:seen", base=folder)
    same = open_model("python:users_rewards:seen?version=1", base=folder)

    assert [m.kept for m in (plain, first, second)] == [False, True, True]
    assert len({m.fingerprint for m in (plain, first, second, edited)}) == 4
    assert same.fingerprint == first.fingerprint


def test_a_batch_is_as_large_as_its_author_says(folder, samples):
    """`batch=2`: three responses are two calls; the same model for the store."""
    model = open_model("python:users_rewards:counted?batch=2&version=1", base=folder)
    unlimited = open_model("python:users_rewards:counted?version=1", base=folder)
    store = MemoryStore()
    fill(model, samples[:3], store)
    scores = scores_of(model, samples[:3], store).scores

    assert sys.modules["users_rewards"].CALLS == [2, 1]
    assert scores.tolist() == [len(sample.response) for sample in samples[:3]]
    assert model.fingerprint == unlimited.fingerprint


@pytest.mark.parametrize("batch", ["0", "-1", "many", "2.5"])
def test_a_batch_is_a_whole_number(folder, batch):
    """Anything else is told with the spec."""
    with pytest.raises(UsageError, match=rf"batch is '{batch}'; it is a whole number from 1 up"):
        open_model(f"python:users_rewards:seen?batch={batch}", base=folder)


def test_rewards_are_float64(folder, samples):
    """Whatever the function's own type."""
    model = loaded(folder, "as_array")

    assert model.score(model.encode(samples)).dtype == np.float64
