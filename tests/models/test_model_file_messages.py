"""Every message about the file of a judge or of an ensemble, word by word.

Beside each wrong file stands its message as `*.txt`. To add one, add the YAML and run this file:
the missing `.txt` is written and the test fails once, so that somebody reads it.
"""

from pathlib import Path

import pytest
import yaml

from rmcheck.errors import UsageError
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.kinds.ensemble_file import read_ensemble_file
from rmcheck.models.kinds.judge.file import read_judge_file

INVALID = Path(__file__).parent / "invalid"
NAMES = sorted(path.stem for path in INVALID.glob("*.yaml"))


def read(name):
    """Reads a file of the corpus as what its name says it is."""
    path = Path(f"{name}.yaml")
    if name.startswith("judge_"):
        return read_judge_file(path)
    return read_ensemble_file(path, EnsembleRewardModel.settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_file_of_a_model_is_refused_with_the_message_beside_it(name, monkeypatch):
    """Each file of the corpus gives exactly the text in its .txt."""
    if name.endswith("_is_no_yaml") and not yaml.__with_libyaml__:
        pytest.skip("PyYAML without libyaml words malformed YAML differently")
    monkeypatch.chdir(INVALID)

    with pytest.raises(UsageError) as caught:
        read(name)

    beside = INVALID / f"{name}.txt"
    message = f"{caught.value}\n"
    if not beside.exists():
        beside.write_text(message, encoding="utf-8")
        pytest.fail(f"{beside.name} was missing and is written; read it, then run again")
    assert message == beside.read_text(encoding="utf-8")


def test_every_message_belongs_to_a_file_of_a_model():
    """No .txt is left over from a file that is gone."""
    assert sorted(path.stem for path in INVALID.glob("*.txt")) == NAMES
