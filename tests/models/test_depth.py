"""How deep calls of ours go: a traceback out of a model is one that a person can read."""

import json
import sys
from pathlib import Path

import rmcheck
from rmcheck.models.libraries import engine
from rmcheck.run.runner import Runner

OURS = str(Path(rmcheck.__file__).parent)
SUITE = """\
rmcheck: 1
name: depth
pool: {path: pool.jsonl}
checks: [{name: accuracy, metric: accuracy, at_least: 0.01}]
"""
# Calls of ours above a layer of the model: while it proves itself, and while it scores.
MOST = 14


def test_a_layer_of_a_model_is_few_calls_away_from_the_check(llama_folder, tmp_path):
    """Fourteen at most from the check to any layer, in the proof as in a batch."""
    torch, _ = engine()
    rows = [{"prompt": f"why {i}", "chosen": f"four {i}", "rejected": "five"} for i in range(12)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "suite.yaml").write_text(SUITE)
    stacks = []

    def note(module, inputs):
        frame, found = sys._getframe(), []
        while frame is not None:
            if frame.f_code.co_filename.startswith(OURS):
                found.append(frame.f_code.co_qualname)
            frame = frame.f_back
        stacks.append(found)

    runner = Runner(
        candidate=f"hf:{llama_folder}",
        store=tmp_path / ".rmcheck",
        session_folder=tmp_path / "session",
        shown_relative_to=tmp_path,
    )
    (planned,) = runner.add(tmp_path / "suite.yaml").planned
    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        runner.record(planned, node="suite.yaml::accuracy")
    finally:
        hook.remove()

    deepest = max(stacks, key=len)
    assert any("Forward.run" in stack or "TorchModel.numbers" in stack for stack in stacks)
    assert len(deepest) <= MOST, deepest
