"""Judges in this process, on a tiny language model."""

import pytest
import tiny_models
from asking import WORDS

from rmcheck.models.registry import open_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny language model. Read only."""
    return tiny_models.causal(tmp_path_factory.mktemp("judge") / "model")


@pytest.fixture
def opened(folder, tmp_path):
    """Opens judges of this model, or of another folder, and closes them."""
    sessions = []

    def open_it(text=WORDS, settings="", model=None, *, load=True):
        file = tmp_path / f"judge-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(f"engine: hf:{model or folder}{settings}\n{text}")
        model = open_model(f"judge:{file}")
        if not load:
            return model
        sessions.append(model.load())
        return sessions[-1]

    yield open_it
    for session in sessions:
        session.close()
