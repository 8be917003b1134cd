"""A LoRA reward model that TRL trained, and its merged twin: one model to the gate."""

import json

import pytest
import tiny_models

peft = pytest.importorskip("peft")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

SUITE = """\
rmcheck: 1
name: town
resamples: 200
pool: {path: pool.jsonl, slices: [taught]}
checks:
  - {name: taught, metric: accuracy, where: {taught: this}, at_least: 0.9}
  - {name: other, metric: accuracy, where: {taught: other}, at_least: 0.9}
  - {name: drift, metric: score_drift, at_most: 0.00001}
  - {name: flips, metric: rank_flips, at_most: 0}
"""
WORDS = ("fox", "dog", "answer", "truth", "model", "two", "four", "five", "some", "long")
RIGHT, WRONG = "two plus two is four", "some say five and some say four"


def turn(role, content):
    """One turn, as a list."""
    return [{"role": role, "content": content}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with `adapter`, trained with its head on a language model, and its `twin`."""
    folder = tmp_path_factory.mktemp("trained")
    base = tiny_models.causal(folder / "base")
    words = tiny_models.tokenizer()
    pairs = [
        {
            "prompt": turn("user", f"what is {word}"),
            "chosen": turn("assistant", f"{word} {RIGHT}"),
            "rejected": turn("assistant", f"{word} {WRONG}"),
        }
        for word in WORDS
    ]
    trainer = trl.RewardTrainer(
        model=str(base),
        args=trl.RewardConfig(
            output_dir=str(folder / "run"),
            max_steps=20,
            per_device_train_batch_size=5,
            learning_rate=3e-2,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            model_init_kwargs={"dtype": "float32"},
        ),
        processing_class=words,
        train_dataset=datasets.Dataset.from_list(pairs),
        peft_config=peft.LoraConfig(
            task_type="SEQ_CLS",
            r=4,
            target_modules=["q_proj", "v_proj"],
            modules_to_save=["score"],
        ),
    )
    trainer.train()
    trainer.save_model(folder / "adapter")
    trainer.model.merge_and_unload().save_pretrained(folder / "twin")
    words.save_pretrained(folder / "twin")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_the_gate_cannot_tell_a_trained_adapter_from_its_twin(trained, pytester):
    """The same verdicts and numbers; rewards that are equal to 1e-5, whichever is served."""
    rows = [  # the better answer is the one that was taught, or the other one
        {
            "prompt": f"what is {word} and {i}",
            "responses": [f"{word} {RIGHT}", f"{word} {WRONG}"],
            "golden": [1 - i % 2, i % 2],
            "taught": ("this", "other")[i % 2],
        }
        for i, word in enumerate(WORDS * 10)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (pytester.path / "pool.jsonl").write_text(lines)
    (pytester.path / "town.yaml").write_text(SUITE)

    found = {}
    for name, served in (("adapter", "twin"), ("twin", "adapter")):
        pytester.runpytest_inprocess(
            "--rmcheck",
            f"--rmcheck-model=hf:{trained / name}",
            f"--rmcheck-serving=hf:{trained / served}",
            f"--rmcheck-report={name}",
        )
        report = json.loads((pytester.path / name / "report.json").read_text())
        found[name] = {check["name"]: check for check in report["checks"]}
    adapter, twin = found.values()
    verdicts = {name: check["verdict"] for name, check in adapter.items()}

    assert verdicts == {"taught": "pass", "other": "fail", "drift": "pass", "flips": "pass"}
    assert {name: check["verdict"] for name, check in twin.items()} == verdicts
    for name in ("taught", "other"):
        assert [adapter[name][end] for end in ("value", "lower", "upper")] == [
            twin[name][end] for end in ("value", "lower", "upper")
        ]
