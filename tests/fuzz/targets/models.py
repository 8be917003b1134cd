"""Models: specs, scores, judges, ensembles, modules of reward functions."""

from pathlib import Path

import numpy as np
import parquet_rows

from rmcheck.errors import UnknownModelError
from rmcheck.models.engines.http.unasked import asking
from rmcheck.models.kinds.ensemble import EnsembleRewardModel
from rmcheck.models.kinds.ensemble_file import read_ensemble_file
from rmcheck.models.kinds.functions.modules import read_parameters
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message
from targets.target import DEEP, DIGITS, HUGE, Target, lines


def scores(path: Path) -> None:
    """A file of scores, loaded and asked for two of them."""
    model = open_model(f"scores:{path}").load()
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


TARGETS = {
    "scores": Target(scores, ("scores.jsonl",), SCORES, parquet=True),
    "spec": Target(spec, ("spec.txt",), SPECS),
    "judge": Target(judge, ("judge.yaml",), JUDGES),
    "ensemble": Target(ensemble, ("ensemble.yaml",), ENSEMBLES),
    "module": Target(module, ("rewards.py",), MODULES),
}
