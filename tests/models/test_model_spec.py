"""`scheme:location?setting=value`: what is understood, and what an error says."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from rmcheck.errors import MissingDependencyError, UnknownModelError, UsageError
from rmcheck.models import registry
from rmcheck.models.model import ReadyModel, RewardModel
from rmcheck.models.registry import model_schemes, open_model
from rmcheck.models.spec import parse_spec


class ThirdParty(ReadyModel):
    """What another package might bring."""

    scheme = "theirs"
    fingerprint = "0" * 64

    def __init__(self, spec):
        self.spec = spec.text

    @classmethod
    def from_spec(cls, spec):
        """The model of a spec."""
        return cls(spec)

    def score(self, batch):
        """Ones."""
        return np.ones(len(batch))


def test_a_spec_is_scheme_location_and_settings():
    """The first colon ends the scheme, the first question mark the location."""
    spec = parse_spec("hf:runs/a:b?head=is%26good&dtype=bfloat16", Path("/base"))

    assert spec.scheme == "hf"
    assert spec.path == Path("/base/runs/a:b")
    assert spec.settings == {"head": "is&good", "dtype": "bfloat16"}


def test_absolute_paths_stay_as_they_are():
    """Only relative paths are relative to the base."""
    assert parse_spec("hf:/runs/rm", Path("/base")).path == Path("/runs/rm")


def test_unknown_scheme_names_the_near_miss_and_all_schemes():
    """A misspelt scheme gets the right one and the list."""
    with pytest.raises(UnknownModelError) as caught:
        open_model("score:file.jsonl")

    message = str(caught.value)
    assert "no model has the scheme 'score'" in message
    assert "Did you mean 'scores'?" in message
    assert all(scheme in message for scheme in model_schemes())


def test_a_checkpoint_folder_without_scheme_is_told_the_scheme(llama_folder):
    """A bare path gets the whole spec to type."""
    with pytest.raises(UnknownModelError, match=rf"Did you mean 'hf:{llama_folder}'\?"):
        open_model(str(llama_folder))


def test_a_scores_file_without_scheme_is_told_the_scheme(tmp_path):
    """So does a bare file of scores."""
    (tmp_path / "s.jsonl").write_text("{}")

    with pytest.raises(UnknownModelError, match=r"Did you mean 'scores:s\.jsonl'\?"):
        open_model("s.jsonl", base=tmp_path)


def test_all_wrong_settings_are_named_at_once(llama_folder):
    """Unknown settings, impossible values, near misses and what is valid, in one error."""
    with pytest.raises(UsageError) as caught:
        open_model(f"hf:{llama_folder}?dtpe=bfloat16&eos=kepe&load_in_8bit=yes")

    message = str(caught.value)
    assert "no setting 'dtpe'. Did you mean 'dtype'?" in message
    assert "eos is 'kepe'. Did you mean 'keep'? Values: keep, append, strip." in message
    assert "no setting 'load_in_8bit'" in message
    assert "dtype=float32|bfloat16|float16" in message


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("dtype", "'dtype' is not a setting; write name=value"),
        ("dtype=", "dtype is ''"),
        ("dtype=float32&dtype=bfloat16", "setting 'dtype' is given twice"),
        ("max_length=0", "max_length is '0'; it is a whole number from 1 up"),
        ("max_length=9999", "max_length is 9999, but config.json gives the model 256 positions"),
        ("device=gpu", "device is 'gpu'; it is one of auto, cpu, cuda, cuda:N"),
        ("template=nowhere.jinja", "there is no template file"),
        ("template=pair&eos=strip", "template=pair leaves EOS to the tokenizer"),
        ("head=helpful", "no head 'helpful'"),
    ],
)
def test_each_wrong_setting_says_why(query, said, llama_folder):
    """Every setting is refused with its own sentence."""
    with pytest.raises(UsageError) as caught:
        open_model(f"hf:{llama_folder}?{query}")

    assert said in str(caught.value)


def test_third_parties_bring_schemes_by_entry_point(monkeypatch):
    """A class behind an entry point of the group rmcheck.models answers to the entry's name."""
    entry = EntryPoint("theirs", f"{__name__}:ThirdParty", "rmcheck.models")
    monkeypatch.setattr(EntryPoint, "load", lambda _: ThirdParty)
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group, name="theirs": [entry][: name == "theirs"]
    )

    assert "theirs" in model_schemes()
    assert open_model("theirs:anything").spec == "theirs:anything"


def test_a_missing_engine_says_the_pip_command(llama_folder, monkeypatch):
    """Without torch a model opens, and loading says what to install."""
    model = open_model(f"hf:{llama_folder}")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)

    with pytest.raises(MissingDependencyError, match=r'pip install "rmcheck\[hf\]"'):
        model.load()


def test_a_kind_that_says_nothing_of_loading_is_refused(monkeypatch):
    """What is missing is named, and the class that has nothing to load."""

    class Unfinished(RewardModel):
        """Has no `load`."""

    entry = EntryPoint("theirs", f"{__name__}:Unfinished", "rmcheck.models")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Unfinished)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [entry])

    with pytest.raises(UsageError, match=r"lacks load; .* derives from rmcheck\.ReadyModel"):
        open_model("theirs:anything")


@pytest.mark.parametrize("text", ["", "  "])
def test_no_model_at_all_is_a_variable_that_is_not_set(text):
    """`--rmcheck-model=$MODEL` where MODEL is empty."""
    with pytest.raises(UnknownModelError, match="is the variable set that should name it"):
        open_model(text)
