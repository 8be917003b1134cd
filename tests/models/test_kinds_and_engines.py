"""Every kind of reward on every engine that can answer it, as the table in docs/models.md says."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import process_models
import pytest
import tiny_models
from failing_server import FailingServer
from judging_server import JudgingServer

from rmcheck.errors import UsageError
from rmcheck.models.registry import open_model

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
ENGINES = ("torch", "vLLM", "server")
HAS_VLLM = find_spec("vllm") is not None
# vLLM's attention on a CPU takes heads of 32 dimensions and more.
WIDE = {"hidden_size": 128, "max_position_embeddings": 1024}
STEPS = r"aggregate=min&step=\n&tag=|&between=\n"
READS = {
    "yes or no": "read: {yes: [f], no: [w]}\n",
    "number": "read: {score: '([0-9])', range: [0, 9], max_tokens: 8}\n"
    "unparsed: {reward: -1, at_most: 1}\n",
}
# The same of a server, which shows and writes other words.
SERVED = {
    READS["yes or no"]: 'read: {yes: [Yes, " Yes"], no: [No]}\n',
    READS["number"]: "read: {score: 'Score: (\\d+)', range: [0, 999]}\n",
}
REFUSED = {
    "vLLM": r"engine=vllm|no setting 'engine'",
    "server": "a checkpoint is a folder of this machine",
}


def cells():
    """(kind, engine, what stands there) of the table."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = lines.index("| reward | torch | vLLM | server |")
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        kind, *written = (cell.strip() for cell in line.strip("|").split("|"))
        found += [(kind, engine, text) for engine, text in zip(ENGINES, written, strict=True)]
    return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Addresses on this machine: of a reward model, and of a language model that judges."""
    words = tmp_path_factory.mktemp("words")
    tiny_models.tokenizer().save_pretrained(words)
    with FailingServer("vllm") as rewards, JudgingServer() as judge:
        yield f"{rewards.url}?tokenizer={words}", judge.url


@pytest.fixture(scope="module")
def spec_of(tmp_path_factory, servers):
    """The spec of a kind on an engine: on a tiny model of that kind, or on a server."""
    root = tmp_path_factory.mktemp("kinds")
    causal = tiny_models.causal(root / "policy", **WIDE)
    reference = tiny_models.causal(root / "reference", seed=7, **WIDE)
    folders = {
        "a classifier's logit": tiny_models.llama(root / "classifier", **WIDE),
        "steps, by labels": process_models.labelled(root / "labels", **WIDE),
    }

    def judge(kind, engine, answers):
        file = root / f"judge-{engine}-{kind}.yaml"
        read = next(text for name, text in READS.items() if name in kind)
        if engine == "server":
            read = SERVED[read]
        file.write_text(
            f"engine: {answers}\nprompt: '{{{{ prompt }}}}? {{{{ response }}}}'\n{read}"
        )
        return f"judge:{file}"

    def served(kind):
        if kind == "a classifier's logit":
            return f"http:{servers[0]}"
        if "judge" in kind:
            return judge(kind, "server", f"http:{servers[1]}")
        if kind == "what DPO implies":
            return f"implicit:{servers[1]},{servers[1]}"
        return f"process:{servers[1]}?aggregate=min&tag=x"

    def spec(kind, engine):
        if engine == "server":
            return served(kind)
        on_vllm = "&engine=vllm" if engine == "vLLM" else ""
        if kind == "a classifier's logit":
            return f"{'vllm' if on_vllm else 'hf'}:{folders[kind]}"
        if kind == "steps, by labels":
            return rf"process:{folders[kind]}?aggregate=min&step=\n&tag=\n{on_vllm}"
        if kind == "steps, by answer tokens":
            return f"process:{causal}?{STEPS}&good=f&bad=w{on_vllm}"
        if kind == "what DPO implies":
            return f"implicit:{causal},{reference}?beta=1{on_vllm}"
        return judge(kind, engine, f"{'vllm' if on_vllm else 'hf'}:{causal}")

    return spec


def test_the_table_names_every_kind_that_a_language_model_can_be():
    """Six kinds, each on torch; what else answers them is a matter of the engine."""
    kinds = [kind for kind, engine, _ in cells() if engine == "torch"]

    assert len(kinds) == len(set(kinds)) == 6
    assert all(text for _, engine, text in cells() if engine == "torch")


@pytest.mark.parametrize(
    ("kind", "engine", "text"), cells(), ids=lambda part: str(part)[:24] or "none"
)
def test_a_cell_is_true(kind, engine, text, spec_of):
    """Where there is a spec such a model proves itself and scores; elsewhere it is refused."""
    if not text:
        with pytest.raises(UsageError, match=REFUSED[engine]):
            open_model(spec_of(kind, engine))
        return
    if engine == "vLLM" and not HAS_VLLM:
        pytest.skip("vLLM is not installed; .ci/vllm runs these tests where it is")
    samples = process_models.samples() if kind.startswith("steps") else tiny_models.samples()
    model = open_model(spec_of(kind, engine)).load()
    try:
        encoded = model.encode(samples[:6])
        proven = model.prove(encoded)
        rewards = model.score(encoded)
    finally:
        model.close()

    assert np.isfinite(rewards).all()
    assert proven.items
