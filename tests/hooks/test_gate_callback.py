"""A gate inside of training: real runs of TRL's RewardTrainer and GRPOTrainer on a CPU."""

import gzip
import json
from pathlib import Path

import pytest

from rmcheck.errors import UsageError
from rmcheck.hooks.checkpoint_gate import CheckpointGate
from rmcheck.hooks.gate_callback import gate_checkpoints
from rmcheck.hooks.kept_samples import keep_samples
from rmcheck.pool.reading import read_pool

QUICKSTART = Path(__file__).resolve().parents[2] / "suites" / "quickstart"
SUITE = """\
rmcheck: 1
name: town
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.99}
  - {name: best, metric: bon_drop_ratio, n: 3, at_most: 5}
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A suite over forty prompts of the quickstart, with three answers each."""
    folder = tmp_path_factory.mktemp("hooks")
    with gzip.open(QUICKSTART / "pool.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(40), strict=False)]
    with (folder / "pool.jsonl").open("w") as out:
        for row in rows:
            short = {"responses": row["responses"][:3], "golden": row["golden"][:3]}
            out.write(json.dumps({**row, **short}) + "\n")
    (folder / "town.yaml").write_text(SUITE)
    return folder


def trained(folder, output, gated=None, steps=2):
    """A reward trainer that saves every step, after its training."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    pairs = [
        {
            "prompt": [{"role": "user", "content": p.messages[-1].content}],
            "chosen": [{"role": "assistant", "content": p.responses[0]}],
            "rejected": [{"role": "assistant", "content": p.responses[1]}],
        }
        for p in read_pool(folder / "pool.jsonl").prompts[:8]
    ]
    config = trl.RewardConfig(
        output_dir=str(output),
        max_steps=steps,
        save_steps=1,
        save_total_limit=1,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    trainer = trl.RewardTrainer(
        model=str(QUICKSTART / "models" / "baseline"),
        args=config,
        train_dataset=datasets.Dataset.from_list(pairs),
    )
    gate = gated(trainer) if gated else None
    trainer.train()
    return trainer, gate


@pytest.mark.filterwarnings("ignore")
def test_a_reward_trainer_is_gated_at_each_checkpoint(bench, tmp_path):
    """Checks are logged, the best checkpoint is kept, and training goes on as without a gate."""

    def gated(trainer):
        return gate_checkpoints(
            trainer, bench / "town.yaml", keep="town::accuracy", store=tmp_path / "store"
        )

    trainer, gate = trained(bench, tmp_path / "gated", gated)
    plain, _ = trained(bench, tmp_path / "plain")

    logged = [e for e in trainer.state.log_history if "rmcheck/town/accuracy" in e]
    assert [e["step"] for e in logged] == [1, 2]
    assert all(e["rmcheck/town/accuracy/lower"] <= e["rmcheck/town/accuracy"] for e in logged)
    assert logged[0]["rmcheck/town/best/passed"] == 1.0
    values = [one.records["town::accuracy"].value for one in gate.gated]
    best = values.index(max(values)) + 1
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{best}")
    assert Path(trainer.state.best_model_checkpoint).is_dir()
    found, other = (dict(t.model.named_parameters()) for t in (trainer, plain))
    assert all((found[name] == other[name]).all() for name in found)


@pytest.mark.filterwarnings("ignore")
def test_a_failing_check_stops_training(bench, tmp_path):
    """After two checkpoints in a row, of the twenty that were to come."""

    def gated(trainer):
        return gate_checkpoints(
            trainer,
            bench / "town.yaml",
            stop_on=["town::accuracy"],
            patience=2,
            store=tmp_path / "store",
        )

    trainer, gate = trained(bench, tmp_path / "out", gated, steps=20)

    assert trainer.state.global_step == 2
    assert [one.passed for one in gate.gated] == [False, False]
    assert "accuracy" in str(gate.gated[0])


def test_a_checkpoint_that_cannot_be_gated_stops_nothing(bench, tmp_path):
    """What is wrong with it is told, and no check has failed."""
    gate = CheckpointGate(
        [bench / "town.yaml"], stop_on=["town::accuracy"], store=tmp_path / "store"
    )

    found = gate.gate(tmp_path / "nothing", 1)

    assert not found.passed
    assert "nothing" in found.errors["model"]
    assert not gate.should_stop


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"keep": "town::acuracy"}, "Did you mean 'town::accuracy'"),
        ({"patience": 0}, "patience is 0"),
        ({"model": "hf:runs"}, "names the checkpoint as {checkpoint}"),
    ],
)
def test_a_mistake_is_told_before_training(bench, how, said):
    """Not after the first checkpoint."""
    with pytest.raises(UsageError, match=said):
        CheckpointGate([bench / "town.yaml"], **how)


@pytest.mark.filterwarnings("ignore")
def test_samples_of_grpo_become_a_pool(tmp_path):
    """Whole groups with their rewards and columns, one prompt a row, ready to be labelled."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")

    def longer(prompts, completions, wanted, **kwargs):
        return [float(len(c[0]["content"]) - w) for c, w in zip(completions, wanted, strict=True)]

    rows = [
        {"prompt": [{"role": "user", "content": f"Question {i}?"}], "wanted": i} for i in range(4)
    ]
    config = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=2,
        num_generations=2,
        per_device_train_batch_size=2,
        max_completion_length=4,
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        model_init_kwargs={"dtype": "float32"},
    )
    trl.GRPOTrainer(
        model=str(QUICKSTART.parent / "lab" / "policy"),
        reward_funcs=keep_samples(longer, tmp_path / "samples", share=1.0),
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
    ).train()

    pool = read_pool(tmp_path / "samples")
    assert [len(p.responses) for p in pool.prompts] == [2, 2]
    assert {p.slices["policy_step"] for p in pool.prompts} == {"0", "1"}
    for prompt in pool.prompts:
        asked = int(prompt.slices["wanted"])
        assert prompt.labels["reward"] == tuple(float(len(r) - asked) for r in prompt.responses)
        assert prompt.labels["golden"] == (None, None)


def test_a_share_of_prompts_is_kept(tmp_path):
    """The same ones for a seed, whatever the batches; the function is called as before."""

    async def zero(prompts, completions, **kwargs):
        return [0.0] * len(completions)

    import asyncio

    prompts = [f"question {i}" for i in range(400) for _ in range(2)]
    for name in ("a", "b"):
        function = keep_samples(zero, tmp_path / name, share=0.25)
        found = asyncio.run(function(prompts=prompts, completions=["yes", "no"] * 400))
        assert found == [0.0] * 800
        assert function.__name__ == "zero"

    kept = [read_pool(tmp_path / name) for name in ("a", "b")]
    assert 70 < len(kept[0].prompts) < 130
    assert kept[0].fingerprint() == kept[1].fingerprint()
    with pytest.raises(UsageError, match="share is 0"):
        keep_samples(zero, tmp_path, share=0)
