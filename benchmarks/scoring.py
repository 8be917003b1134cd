"""How fast texts become rewards, against the ways people do it without rmcheck.

    python benchmarks/scoring.py                    # writes benchmarks/results/scoring.json
    python benchmarks/scoring.py --rounds 1 --prompts 4 --stored 1000     # a quick look

Three parts, on a small random Llama made here (4 layers, hidden 256) and made-up texts whose
lengths spread as people's do. `answers`: as on AlpacaEval (mean 353 tokens, median 320, p90 654);
`short answers`: chat of a line or two, four times as many.

1. scoring: rmcheck with its default token budget (`fill`, store included) against one sample at a
   time and batches of 8 and 16 in the order of the data, all through the same engine, in
   interleaved rounds; CPU seconds of one thread, medians, and the median of the rounds' ratios;
2. budgets: the same samples with other token budgets, which is where the CPU's default is from;
3. warm: 100,000 stored scores read back in a new process, which must not import torch.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.model import Encoded, RewardModel, Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.pool import Message
from rmcheck.scoring.batches import batches, default_budget
from rmcheck.scoring.request import scores_of
from rmcheck.scoring.scorer import fill
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import ScoreStore

RESULTS = Path(__file__).parent / "results" / "scoring.json"
BUDGETS = (256, 512, 1024, 2048, 4096)
WORDS = (
    *("a", "be", "can", "dog", "even", "from", "give", "have"),
    *("into", "just", "know", "long", "more", "never", "only", "people"),
)


def made_up_samples(
    prompts: int, responses: int, *, asked: int, answered: int, seed: int = 0
) -> list[Sample]:
    """Prompts and responses with lognormal word counts.

    Args:
        prompts: How many.
        responses: To each prompt.
        asked: Median words of a prompt.
        answered: Median words of a response.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)

    def text(median: int, spread: float) -> str:
        count = min(1700, int(rng.lognormal(np.log(median), spread)) + 1)
        return " ".join(rng.choice(WORDS, count))

    samples = []
    for prompt in range(prompts):
        question = (Message("user", text(asked, 0.8)),)
        samples += [
            Sample(f"p{prompt}", i, question, text(answered, 0.65)) for i in range(responses)
        ]
    return samples


def save_model(folder: Path) -> None:
    """A random Llama with one logit, and a tokenizer that knows the words above."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=special[4:],
    )
    tokenizer.chat_template = (
        "{{ bos_token }} {% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
        "{{ eos_token }}"
    )
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        num_labels=1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    model = transformers.LlamaForSequenceClassification(config)
    # Rewards of a standard deviation near one, so that differences can be read as such.
    torch.nn.init.normal_(model.score.weight, std=0.06)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def scored_in(
    model: RewardModel, encoded: Sequence[Encoded], groups: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Rewards computed in these batches, in the order of the samples."""
    rewards = np.full(len(encoded), np.nan)
    for group in groups:
        rewards[list(group)] = model.score([encoded[i] for i in group])
    return rewards


def waste(lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> float:
    """Share of the computed tokens that are padding."""
    padded = sum(len(group) * max(lengths[i] for i in group) for group in groups)
    return 1 - sum(lengths) / padded


def in_order(count: int, size: int) -> list[list[int]]:
    """Batches of a fixed size in the order of the data."""
    return [list(range(i, min(i + size, count))) for i in range(0, count, size)]


Contender = Callable[[], NDArray[np.float64]]


def race(contenders: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """CPU and wall seconds of each contender, in interleaved rounds; the first is the baseline."""
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    rewards: dict[str, NDArray[np.float64]] = {}
    for _ in range(rounds):
        for name, contender in contenders.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            rewards[name] = contender()
            cpu[name].append(time.process_time() - started_cpu)
            wall[name].append(time.perf_counter() - started)
    first = next(iter(contenders))
    exact = rewards["one by one"]
    return {
        name: {
            "cpu_seconds": statistics.median(cpu[name]),
            "wall_seconds": statistics.median(wall[name]),
            "speed_up": statistics.median(
                a / b for a, b in zip(cpu[first], cpu[name], strict=True)
            ),
            "max_abs_difference": float(np.abs(rewards[name] - exact).max()),
        }
        for name in contenders
    }


def scoring_race(model: RewardModel, samples: list[Sample], rounds: int) -> dict[str, Any]:
    """Parts 1 and 2: the model is loaded before the clock runs, for all contenders alike."""
    import torch

    torch.set_num_threads(1)
    model.load()
    # `fill` closes what it loaded; loading is not what is measured here.
    model.close = lambda: None  # type: ignore[method-assign]
    model.prove = lambda encoded: None  # type: ignore[method-assign]
    encoded = model.encode(samples)
    lengths = [e.length for e in encoded]
    budget = default_budget(model.description["device"])
    groups = {
        "batches of 8 in order": in_order(len(samples), 8),
        "batches of 16 in order": in_order(len(samples), 16),
        "one by one": in_order(len(samples), 1),
        f"rmcheck, budget {budget}": list(batches(lengths, budget)),
    }
    groups |= {f"batches only, budget {b}": list(batches(lengths, b)) for b in BUDGETS}

    def with_encoding(name: str) -> Contender:
        return lambda: scored_in(model, model.encode(samples), groups[name])

    def with_store() -> NDArray[np.float64]:
        with tempfile.TemporaryDirectory() as place:
            store = ScoreStore(Path(place) / ".rmcheck")
            fill(model, samples, store)
            return scores_of(model, samples, store).scores

    contenders = {name: with_encoding(name) for name in groups}
    contenders[f"rmcheck, budget {budget}"] = with_store
    with_encoding("one by one")()
    results = race(contenders, rounds)
    for name, result in results.items():
        result["padding_waste"] = waste(lengths, groups[name])
        result["tokens_per_cpu_second"] = sum(lengths) / result["cpu_seconds"]
    tokens = {"total": sum(lengths), "mean": sum(lengths) / len(lengths), "longest": max(lengths)}
    return {
        "samples": len(samples),
        "tokens": tokens,
        "reward_std": float(with_encoding("one by one")().std()),
        "contenders": results,
    }


WARM = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from rmcheck.models.model import Sample
from rmcheck.pool.pool import Message
from rmcheck.store.scores import ScoreStore
import numpy
imported = time.perf_counter()
making = time.process_time()
count, folder = int(sys.argv[1]), Path(sys.argv[2])
words = "word " * 300
samples = [
    Sample(f"p{i // 64}", i % 64, (Message("user", f"{i // 64} {words[:250]}"),), f"{i} {words}")
    for i in range(count)
]
made = time.perf_counter()
making = time.process_time() - making
keys = [sample.text_key for sample in samples]
keyed = time.perf_counter()
scores = ScoreStore(folder).open("ab" * 32)
opened = time.perf_counter()
found = scores.lookup(keys)
read = time.perf_counter()
cpu = time.process_time() - making
assert len(found.scores) == count and not found.missing.any()
print(json.dumps({
    "imports": imported - started,
    "text_keys": keyed - made,
    "open_store": opened - keyed,
    "lookup": read - opened,
    "total_without_making_up_texts": read - started - (made - imported),
    "total_cpu_with_start_of_python": cpu,
    "heavy_modules": [m for m in ("torch", "transformers", "scipy") if m in sys.modules],
}))
"""


def warm_run(count: int, rounds: int) -> dict[str, Any]:
    """Part 3: medians over new processes."""
    words = "word " * 300
    samples = [
        Sample(
            f"p{i // 64}", i % 64, (Message("user", f"{i // 64} {words[:250]}"),), f"{i} {words}"
        )
        for i in range(count)
    ]
    keys = [sample.text_key for sample in samples]
    sizes = np.full(count, 350, dtype=np.int32)
    rows = ScoreRows(keys, keys, np.arange(count) / 7, sizes, 0 * sizes, [""] * count)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / ".rmcheck"
        scores = ScoreStore(folder).open("ab" * 32)
        scores.check_writable()
        scores.append(rows, Provenance("ab" * 32))
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        runs = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", WARM, str(count), str(folder)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(rounds)
        ]
    heavy = sorted({module for run in runs for module in run.pop("heavy_modules")})
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {"scores": count, "bytes": size, "seconds": medians, "heavy_modules": heavy}


def small_parts(count: int = 200) -> float:
    """Seconds to store one batch of 8 rows safely: median of `count`."""
    seconds = []
    sizes = np.full(8, 350, dtype=np.int32)
    with tempfile.TemporaryDirectory() as place:
        scores = ScoreStore(Path(place) / ".rmcheck").open("ab" * 32)
        scores.check_writable()
        for batch in range(count):
            keys = [(8 * batch + i).to_bytes(16, "big") for i in range(8)]
            rows = ScoreRows(keys, keys, np.arange(8) / 7, sizes, 0 * sizes, [""] * 8)
            started = time.perf_counter()
            scores.append(rows, Provenance("ab" * 32))
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((n.partition(":")[2].strip() for n in names if n.startswith("model name")), "")
    packages = ("rmcheck", "torch", "transformers", "numpy", "pyarrow")
    return {
        "cpu": cpu or platform.processor(),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{x:.1f}" for x in os.getloadavg()),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def report(results: dict[str, Any]) -> str:
    """The results as tables."""
    warm = results["warm"]
    lines = ["  ".join(f"{name} {value}" for name, value in results["machine"].items())]
    for texts, scoring in results["scoring"].items():
        lines += [
            "",
            f"{texts}: {scoring['samples']} samples, {scoring['tokens']['total']:,} tokens "
            f"(mean {scoring['tokens']['mean']:.0f}), 1 thread, {results['rounds']} rounds; "
            f"rewards' standard deviation {scoring['reward_std']:.2f}",
            f"{'':28}{'CPU s':>8}{'wall s':>8}{'x':>7}{'padding':>9}{'max diff':>10}",
        ]
        lines += [
            f"{name:28}{r['cpu_seconds']:8.2f}{r['wall_seconds']:8.2f}{r['speed_up']:7.2f}"
            f"{r['padding_waste']:9.1%}{r['max_abs_difference']:10.1e}"
            for name, r in scoring["contenders"].items()
        ]
    lines += ["", f"storing a batch: {1000 * results['store_batch_seconds']:.2f} ms", ""]
    lines += [f"{warm['scores']:,} stored scores, {warm['bytes'] / 2**20:.1f} MiB, new process:"]
    lines += [f"  {name:32}{seconds:8.3f} s" for name, seconds in warm["seconds"].items()]
    lines += [f"  heavy modules imported: {', '.join(warm['heavy_modules']) or 'none'}"]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    texts = {
        "answers": made_up_samples(arguments.prompts, arguments.responses, asked=35, answered=270),
        "short answers": made_up_samples(
            4 * arguments.prompts, arguments.responses, asked=10, answered=15
        ),
    }
    results: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as place:
        save_model(Path(place) / "llama")
        model = open_model(f"hf:{place}/llama")
        results["scoring"] = {
            name: scoring_race(model, samples, arguments.rounds) for name, samples in texts.items()
        }
    results["store_batch_seconds"] = small_parts()
    results["warm"] = warm_run(arguments.stored, arguments.rounds)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
