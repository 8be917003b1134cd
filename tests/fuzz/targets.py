"""Everything that reads what others wrote, what it is fed here, and what it must give."""

import json
import math
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "fuzz"), str(TESTS / "pool")]

import parquet_rows
from pool_formats import ROWS

from rmcheck.errors import FileError, RmcheckError, UnknownModelError
from rmcheck.history.history import History
from rmcheck.history.record_reading import read_report, run_records
from rmcheck.history.record_text import written
from rmcheck.lab.file import read_laboratory
from rmcheck.lab.outcomes.logged import logged_rows, read_runs
from rmcheck.lab.study.rm_table import read_rm_table
from rmcheck.lab.study.study_file import load_study
from rmcheck.models.engines.http.unasked import asking
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.kinds.ensemble_file import read_ensemble_file
from rmcheck.models.kinds.functions.modules import read_parameters
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.model import Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.keys import as_keys
from rmcheck.pool.pool import Message, Pool
from rmcheck.pool.reading import read_pool, read_prompts
from rmcheck.probes.probe_file import read_probes
from rmcheck.probes.templates import filled
from rmcheck.rl_logs.training_log import read_training_log
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import ScoreStore
from rmcheck.suite.loader import load_suite
from rmcheck.wording import encodable

DEEP = "[" * 1100
DIGITS = "9" * 5000
HUGE = 10**400


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: Reads a file that was written into a folder of its own; raises `RmcheckError` or
            returns what it read, whose claims it has checked with `assert`.
        names: File names, which tell some readers the format.
        seeds: Right files, and cases that once ended in another exception.
        parquet: Whether column types of Parquet files are varied too.
    """

    read: Callable[[Path], object]
    names: Sequence[str]
    seeds: Sequence[bytes] = field(repr=False)
    parquet: bool = False


def lines(rows: Sequence[Any]) -> bytes:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


# -- pools and prompts ------------------------------------------------------------------------


def sound_pool(pool: Pool) -> None:
    """A pool that was accepted has nothing in it that a metric or a report could trip over."""
    ids = [prompt.prompt_id for prompt in pool.prompts]
    assert len(set(ids)) == len(ids)
    for prompt in pool.prompts:
        assert {m.role for m in prompt.messages} <= {"system", "user", "assistant", "tool"}
        for values in prompt.labels.values():
            assert len(values) == len(prompt.responses)
            assert all(value is None or math.isfinite(value) for value in values)
        texts = [prompt.prompt_id, *prompt.responses, *prompt.slices.values()]
        texts += [m.content for m in prompt.messages]
        assert encodable(texts) == texts


def pool(path: Path) -> None:
    """A pool of any format."""
    sound_pool(read_pool(path))


def prompts(path: Path) -> None:
    """What a policy is to answer."""
    sound_pool(read_prompts(path))


NATIVE = ROWS["native"]
POOLS = [
    *map(lines, ROWS.values()),
    *(json.dumps(rows).encode() for rows in ROWS.values()),
    parquet_rows.written(ROWS["native_rows"]),
    b"prompt,chosen,rejected\nWhy?,a,b\nHow?,c,d\n",
    b"prompt_id,prompt,response,golden,n\n1,Why?,a,0.5,1e999\n1,Why?,b,1_0," + b"9" * 5000 + b"\n",
    f'[{{"a":{DEEP}'.encode(),
    f'{{"a":{DEEP}'.encode(),
    b'{"prompt": "x", "responses": ["a", "b"], "golden": [0, %s]}' % DIGITS.encode(),
    b'[{"prompt": "x", "responses": ["a", "b"], "golden": [0, %s]}]' % DIGITS.encode(),
    lines([{**NATIVE[0], "responses": ["\ud800", "b"]}]),
    lines([{**NATIVE[0], "golden": [HUGE, 0]}]),
]
PROMPTS = [
    b"prompt,id\nWhy?,1\nHow?,2\n",
    b"Why?\nHow?\n",
    lines([{"prompt": "Why?"}, {"prompt": "How?"}]),
    DEEP.encode(),
    DIGITS.encode(),
    b'prompt\n"' + b"x" * 200_000 + b'"\n',
    *POOLS[:2],
]

# -- scores and specs -------------------------------------------------------------------------


def scores(path: Path) -> None:
    """A file of scores, loaded and asked for two of them."""
    model = open_model(f"scores:{path}")
    model.load()
    asked = (Message("user", "Why?"),)
    encoded = model.encode([Sample("p1", i, asked, text) for i, text in enumerate("ab")])
    assert np.isfinite(model.score(encoded)).all()


SCORE_ROWS = [{"prompt_id": "p1", "response": i, "score": i / 2} for i in range(2)]
SCORES = [
    lines(SCORE_ROWS),
    lines([{**row, "text_key": "0" * 31 + str(row["response"])} for row in SCORE_ROWS]),
    parquet_rows.written(SCORE_ROWS),
    DEEP.encode(),
    lines([{**SCORE_ROWS[0], "score": HUGE}]),
    b'{"prompt_id": "p1", "response": 0, "score": %s}' % DIGITS.encode(),
]


def spec(path: Path) -> None:
    """A model as a suite may name it; no server is asked, and no code of others is imported."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if "python" not in text and "trust_remote" not in text:
        with asking(False):
            open_model(text, base=path.parent, given=False)


SPECS = [
    text.encode("utf-8", "surrogatepass")
    for text in (
        "hf:runs/rm?dtype=bfloat16&max_length=12",
        "hf:~nobody/rm",
        "hf:" + "a" * 300,
        "hf:\x00",
        f"hf:x?max_length={DIGITS}",
        "~nobody",
        "a" * 300,
        "judge:judge.yaml",
        "judge:\x00",
        "scores:" + "a" * 300,
        "ensemble:fake:perfect,fake:random?combine=uwo&penalty=0.5",
        "ensemble:" + "a" * 300 + ".yaml",
        "implicit:a,b?beta=0.1",
        "process:dir?aggregate=min&tag=x",
        "fake:length_biased?noise=1",
        "http:http://[x",
        "http:http://localhost:80/ä?batch=2",
        "hf:a/b@../../x",
        "hf:a/b@main",
        "trl:rewards:f?timeout=3",
        "verl:rewards:compute_score",
        "verifiers:rewards:rubric?part=x",
        "openrlhf:rewards:f",
        "slime:a..b:f",
        "trl:" + "a." * 2000 + "b:f",
        "http:http://.x",
        "vllm:dir?gpu_memory=0.5",
    )
]

# -- suites, judges, ensembles ----------------------------------------------------------------


def suite(path: Path) -> None:
    """A suite file."""
    found = load_suite(path)
    names = [check.name for check in (*found.checks, *found.training)]
    assert names
    assert len(set(names)) == len(names)
    assert all(math.isfinite(check.criterion.bound) for check in found.checks)
    assert encodable(names) == names


SUITE = b"""\
rmcheck: 1
name: demo
pool: {path: pool.jsonl, slices: [kind]}
seed: 1
checks:
  - {name: a, metric: accuracy, at_least: 0.7, where: {kind: x}}
  - {name: b, metric: ece, bins: 10, at_most: 0.1}
"""
SUITES = [
    SUITE,
    *(path.read_bytes() for path in sorted((TESTS / "suite" / "valid").glob("*.yaml"))),
    *(path.read_bytes() for path in sorted((TESTS / "suite" / "invalid").glob("*.yaml"))[::8]),
    SUITE.replace(b"seed: 1", b"seed: " + DIGITS.encode()),
    SUITE.replace(b"bins: 10", b"bins: 1" + b"0" * 400),
    SUITE + b"<<: [&a {x: 1}, *a]\n",
]


def judge(path: Path) -> None:
    """A judge file."""
    found = read_judge_file(path)
    assert "{{" in found.question.source


JUDGE = b"""\
engine: hf:dir
prompt: "Is this good? {{ prompt }} {{ response }}"
system: Be strict.
read: {yes: [Yes], no: [No], top_logprobs: 20}
"""
SCORED = b"""\
engine: http:http://localhost:1
template: judge.jinja
read: {score: 'Score: (\\d+)', range: [1, 10], samples: 4, temperature: 1.0}
unparsed: {reward: 0}
"""
CHOOSING = rb"""\
engine: hf:dir
prompt: "{{ prompt }} {% for r in responses %}{{ loop.index }} {{ r }}{% endfor %}"
read: {choice: '\[\[([A-C])\]\]', tie: [C], of: 2}
unparsed: {verdict: tie, at_most: 0.05}
"""
RATING = rb"""\
engine: hf:dir
prompt: "{{ prompt }} {{ responses }}"
read: {scores: 'S: \[([^\]]*)\]', range: [1, 10], of: 4}
"""
RUBRIC = b"""\
engine: hf:dir
prompt: "{{ prompt }} {{ response }}"
read:
  criteria: {truth: {range: [1, 5], weight: 2}, tone: {range: [1, 5]}}
  repeat: 2
  samples: 2
  temperature: 1
"""
JUDGES = [
    JUDGE,
    SCORED,
    CHOOSING,
    RATING,
    RUBRIC,
    b"read: " + b"[" * 990,
    JUDGE.replace(b"20", DIGITS.encode()),
    JUDGE.replace(b'"Is this', b'"' + b"{{" * 60),
    SCORED.replace(b"judge.jinja", b"a" * 300),
    SCORED.replace(b"judge.jinja", b'"\\0"'),
    SCORED.replace(b"judge.jinja", b"~nobody/x"),
]


def ensemble(path: Path) -> None:
    """An ensemble file."""
    members, _ = read_ensemble_file(path, EnsembleRewardModel.settings)
    assert all(isinstance(member.spec, str) for member in members)


ENSEMBLES = [b"members: [hf:a, hf:b]\ncombine: uwo\npenalty: 0.5\n", b"members: " + b"[" * 990]


def probes(path: Path) -> None:
    """A file of probes, each of which gives texts."""
    for probe in read_probes(path).values():
        assert all(filled(text, {"response": "a", "prompt": "b"}) for text in probe.edits)
        for item in probe.items:
            assert [filled(text, item) for text in (*probe.prompt, *probe.honest, *probe.bad)]


SUITES_HERE = TESTS.parent / "suites"
PROBES = [
    (SUITES_HERE / "own_probes.yaml").read_bytes(),
    b"probes: {a: {about: b, must: not_raise, edits: '{response|bullets} {response}'}}",
    b"probes: " + b"[" * 990,
]

# -- the laboratory---------------------------------------------------------------------------


def laboratory(path: Path) -> None:
    """The file of a laboratory, beside what it names."""
    for file in (SUITES_HERE / "lab").iterdir():
        if file.name != path.name:
            (path.parent / file.name).symlink_to(file)
    names = [recipe.name for recipe in read_laboratory(path).family.recipes]
    assert len(set(names)) == len(names)


def study(path: Path) -> None:
    """The file of a study."""
    assert encodable([load_study(path).name])


def rm_table(path: Path) -> None:
    """A table of reward models."""
    found = read_rm_table(path, "regret", "kind")
    for values in (found.outcome, *found.numbers.values()):
        assert np.isfinite(values).all()


def runs(path: Path) -> None:
    """A list of RL runs, and their log."""
    (path.parent / "log.csv").write_text(CSV)
    assert all(row["rm"] for row in logged_rows(read_runs(path)))


LABORATORIES = [
    *((SUITES_HERE / "lab" / f"{name}.yaml").read_bytes() for name in ("lab", "small")),
    b"lab: 1\npreferences: " + b"[" * 990,
]
STUDIES = [(SUITES_HERE / "study-small.yaml").read_bytes(), b"study: 1\npool: " + b"[" * 990]
RM_TABLES = [
    b"rm,accuracy,regret,kind\n" + b"".join(b"%d,0.%d,0.%d,a\n" % (i, i, 9 - i) for i in range(8)),
    b"accuracy,regret,kind\n" + b"1e999,1,b\n" * 7,
    b"accuracy,regret,kind\n" + b"9" * 5000 + b",1,b\n",
]
RUNS = [
    b"rm,golden,optimizer,seed,log\na,g,ppo,1,log.csv\ng,g,ppo,1,log.csv\n",
    b"rm,golden,optimizer,seed,log,proxy_column\na,g,ppo,1,log.csv,proxy\n",
    b"rm,golden,optimizer,seed,log\na,g,ppo,1,\0\n",
    b"rm,golden,optimizer,seed,log\na,g,ppo,1," + b"x" * 300 + b"\n",
]

# -- records ----------------------------------------------------------------------------------

CHECK = {
    "name": "regret",
    "metric": "predicted_regret",
    "settings": {"n": 256},
    "signature": "s",
    "slice": "",
    "value": 0.3,
    "lower": 0.2,
    "upper": None,
    "confidence": 0.95,
    "n": 200,
    "facts": {"golden_gain": 1.0},
    "verdict": "pass",
    "path": "s.yaml",
}
MODEL = {"role": "candidate", "spec": "hf:x", "name": "rm", "fingerprint": "ffff"}
REPORT = {
    "report": 1,
    "rmcheck": "0.1.0",
    "checks": [CHECK],
    "suites": [
        {
            "name": "s",
            "path": "s.yaml",
            "golden": "column golden",
            "pool": {"path": "pool.jsonl", "fingerprint": "pppp"},
            "models": [MODEL],
        }
    ],
}


def report(path: Path) -> None:
    """A report, and the records that the history keeps of it."""
    for record in read_report(path):
        assert History(path.parent / "kept").add(record).is_file()


def history(path: Path) -> None:
    """A folder with a record."""
    found = History(path.parent).contents()
    assert len(found.runs) + len(found.regrets) + len(found.problems) <= 1 + len(found.problems)
    if found.problems:
        raise FileError(found.problems)


(RECORD,) = run_records(REPORT, time=datetime(2026, 11, 23, tzinfo=UTC))
RUN = RECORD.as_dict()
REGRET = {
    "record": 1,
    "kind": "regret",
    "run": "2026-11-23-rm-ffff",
    "rm": {"fingerprint": "ffff"},
    "regret": 0.3,
    "target": {"n": 256},
    "time": "2026-11-23T01:13:12Z",
    "note": "",
}
HISTORIES = [
    written(RUN),
    written(REGRET),
    json.dumps({**REGRET, "note": "\ud800"}).encode(),
    json.dumps({**RUN, "checks": [{**RUN["checks"][0], "settings": {"n": math.nan}}]}).encode(),
    json.dumps({**REGRET, "regret": HUGE}).encode(),
    b'{"record": %s}' % DIGITS.encode(),
    DEEP.encode(),
]
REPORTS = [
    json.dumps(REPORT).encode(),
    json.dumps({**REPORT, "rmcheck": "\ud800"}).encode(),
    json.dumps({**REPORT, "checks": [{**CHECK, "value": HUGE}]}).encode(),
    json.dumps({**REPORT, "checks": [{**CHECK, "settings": {"n": math.nan}}]}).encode(),
    DEEP.encode(),
]

# -- RL logs ----------------------------------------------------------------------------------


def training(path: Path) -> None:
    """The log of an RL run."""
    log = read_training_log(path)
    for values in (log.steps, log.proxy, log.golden):
        assert values.shape == log.steps.shape
        assert np.isfinite(values).all()
    # KL may be unmeasured, and is never below 0.
    assert (np.isnan(log.kl) | ((log.kl >= 0) & np.isfinite(log.kl))).all()


STEPS = [{"step": i, "kl": i / 2, "proxy": i, "golden": -i} for i in range(12)]
CSV = "step,kl,proxy,golden\n" + "".join(f"{i},{i / 2},{i},{-i}\n" for i in range(12))
LOGS = [
    lines(STEPS),
    json.dumps({"log_history": STEPS}).encode(),
    json.dumps(STEPS).encode(),
    CSV.encode(),
    CSV.replace("step", "x" * 200_000).encode(),
    lines([{**STEPS[0], "kl": HUGE}, *STEPS[1:]]),
    b'{"step": %s}' % DIGITS.encode(),
    DEEP.encode(),
    f'{{"a":{DEEP}'.encode(),
]

# -- checkpoints ------------------------------------------------------------------------------

CONFIG = {
    "architectures": ["LlamaForSequenceClassification"],
    "model_type": "llama",
    "id2label": {"0": "reward"},
    "num_labels": 1,
    "max_position_embeddings": 64,
    "type_vocab_size": 1,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default"},
    "text_config": {"max_position_embeddings": 32},
}
HEADER = {"score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}


def tensors(header: bytes) -> bytes:
    """A safetensors file with this header."""
    return struct.pack("<Q", len(header)) + header + b"\x00" * 8


def write_checkpoint(folder: Path, name: str, content: bytes) -> None:
    """A checkpoint folder of which one file is this."""
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": tensors(json.dumps(HEADER).encode()),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}", "model_max_length": 32}',
    }
    if name == "model.safetensors.index.json":
        files["a.safetensors"] = files.pop("model.safetensors")
    folder.mkdir()
    for each, default in {**files, name: b""}.items():
        (folder / each).write_bytes(content if each == name else default)


def checkpoint(folder: Path, name: str, content: bytes) -> None:
    """Such a folder, opened."""
    write_checkpoint(folder, name, content)
    model = open_model(f"hf:{folder}")
    assert model.fingerprint
    assert model.name


def config(path: Path) -> None:
    """config.json."""
    checkpoint(path.parent / "rm", "config.json", path.read_bytes())


def header(path: Path) -> None:
    """The header of the weights, without its length."""
    checkpoint(path.parent / "rm", "model.safetensors", tensors(path.read_bytes()))


def weight_index(path: Path) -> None:
    """The index of the weights."""
    checkpoint(path.parent / "rm", "model.safetensors.index.json", path.read_bytes())


def tokenizer_config(path: Path) -> None:
    """tokenizer_config.json."""
    checkpoint(path.parent / "rm", "tokenizer_config.json", path.read_bytes())


CONFIGS = [
    json.dumps(one).encode()
    for one in (
        CONFIG,
        {**CONFIG, "architectures": 1},
        {**CONFIG, "id2label": {"x": "a"}},
        {**CONFIG, "num_labels": None, "id2label": None},
        {**CONFIG, "text_config": 3},
        {**CONFIG, "pad_token_id": "x", "model_type": "roberta"},
    )
] + [b'{"architectures": ' + DEEP.encode()]
HEADERS = [
    json.dumps(HEADER).encode(),
    b'{"score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": "shape"}}',
    b'{"score.weight": {"dtype": 1, "shape": [1e999], "data_offsets": [0, 8]}}',
    DEEP.encode(),
]
INDICES = [
    json.dumps({"weight_map": {"score.weight": name}}).encode()
    for name in ("a.safetensors", "1" * 300, "\x00", "\ud800", 3)
] + [b'{"weight_map": 3}', DEEP.encode()]


def adapter_config(path: Path) -> None:
    """The adapter_config.json of an adapter, on a base beside it."""
    write_checkpoint(path.parent / "base", "config.json", json.dumps(CONFIG).encode())
    adapter = path.parent / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_bytes(path.read_bytes())
    (adapter / "adapter_model.safetensors").write_bytes(tensors(json.dumps(LORA).encode()))
    assert open_model(f"hf:{adapter}").fingerprint


LORA = {
    "base_model.model.score.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
}
ADAPTER = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "base_model_name_or_path": "../base",
    "modules_to_save": ["score"],
    "r": 2,
}
ADAPTERS = [
    json.dumps(one).encode()
    for one in (
        ADAPTER,
        {**ADAPTER, "modules_to_save": 3},
        {**ADAPTER, "modules_to_save": [3]},
        {**ADAPTER, "base_model_name_or_path": "a" * 300},
        {**ADAPTER, "base_model_name_or_path": "\x00"},
        {**ADAPTER, "base_model_name_or_path": "a/b", "revision": 3},
        {**ADAPTER, "base_model_name_or_path": "a/b", "revision": "../../x"},
        {**ADAPTER, "base_model_name_or_path": "."},
    )
] + [DEEP.encode()]


def module(path: Path) -> None:
    """The source of a module with a reward function; None where it does not tell."""
    if read_parameters(path, "reward") is None:
        raise UnknownModelError("the source does not say what the function takes")


MODULES = [
    b"def reward(prompts, completions, *, answer=None, **kwargs):\n    return [0.0]\n",
    b"async def reward(data_source, solution_str, ground_truth, extra_info=None): ...\n",
    b"x = " + b"(" * 300,
    b"x = " + b"-" * 100_000 + b"1",
    b"\0",
    b"reward = 1\n",
]

# -- the store --------------------------------------------------------------------------------

FINGERPRINT = "f" * 64


def store_part(path: Path) -> None:
    """A part of the store: whatever is left of it holds the scores that were written."""
    folder = path.parent / ".rmcheck"
    made = ScoreStore(folder).open(FINGERPRINT)
    made.check_writable()
    made.append(PART, Provenance(FINGERPRINT, "fake:x", {}, ()))
    (part,) = made.folder.glob("*.parquet")
    part.write_bytes(path.read_bytes())
    found = ScoreStore(folder).open(FINGERPRINT).lookup(PART.text_keys)
    known = np.asarray(found.scores)
    assert ((known == PART.scores) | np.isnan(known)).all()


PART = ScoreRows(
    as_keys([bytes([i]) * 16 for i in range(3)]),
    as_keys([bytes([i + 9]) * 16 for i in range(3)]),
    np.array([0.25, 0.5, 0.75]),
    np.array([1, 2, 3], dtype=np.int32),
    np.zeros(3, dtype=np.int32),
    ["", "", ""],
)


def part_bytes() -> bytes:
    """A part as the store writes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = ScoreStore(Path(folder)).open(FINGERPRINT)
        made.check_writable()
        made.append(PART, Provenance(FINGERPRINT, "fake:x", {}, ()))
        (part,) = made.folder.glob("*.parquet")
        return part.read_bytes()


TARGETS: dict[str, Target] = {
    "suite": Target(suite, ("suite.yaml",), SUITES),
    "pool": Target(
        pool, ("pool.jsonl", "pool.json", "pool.parquet", "pool.csv"), POOLS, parquet=True
    ),
    "prompts": Target(prompts, ("p.csv", "p.txt", "p.jsonl"), PROMPTS),
    "scores": Target(scores, ("scores.jsonl",), SCORES, parquet=True),
    "spec": Target(spec, ("spec.txt",), SPECS),
    "judge": Target(judge, ("judge.yaml",), JUDGES),
    "ensemble": Target(ensemble, ("ensemble.yaml",), ENSEMBLES),
    "history": Target(history, (f"{RECORD.id}.json",), HISTORIES),
    "report": Target(report, ("report.json",), REPORTS),
    "training": Target(training, ("log.csv",), LOGS),
    "config": Target(config, ("config.json",), CONFIGS),
    "tokenizer_config": Target(
        tokenizer_config,
        ("tokenizer_config.json",),
        [b'{"chat_template": "x", "model_max_length": 1e30}', DEEP.encode()],
    ),
    "header": Target(header, ("header.json",), HEADERS),
    "store": Target(store_part, ("part.parquet",), [part_bytes()], parquet=True),
    "adapter": Target(adapter_config, ("adapter_config.json",), ADAPTERS),
    "module": Target(module, ("rewards.py",), MODULES),
    "probes": Target(probes, ("probes.yaml",), PROBES),
    "laboratory": Target(laboratory, ("lab.yaml",), LABORATORIES),
    "study": Target(study, ("study.yaml",), STUDIES),
    "rm_table": Target(rm_table, ("table.csv",), RM_TABLES),
    "runs": Target(runs, ("runs.csv",), RUNS),
    "index": Target(weight_index, ("index.json",), INDICES),
}


def outcome(target: Target, path: Path) -> str:
    """`accepted`, or `own` for an error of rmcheck; any other exception comes out."""
    try:
        target.read(path)
    except RmcheckError as error:
        said = str(error)
        assert said.strip()
        assert encodable(said) == said
        return "own"
    return "accepted"
