"""Records what trainers' own clients send, into `trainers.json`; run by hand.

Each client is the trainer's own code, unchanged: verl and OpenRLHF as wheels from the package index
on the path, slime's `slime/rollout/rm_hub/__init__.py` as a file named in `SLIME` (it is in no
index). Beside them: torch, tensordict, ray, omegaconf, aiohttp. What is not there keeps what was
recorded before.
"""

import ast
import asyncio
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
import tiny_models
import transformers
from trainers_server import SAMPLES, TrainersServer

GOLDEN = Path(__file__).with_name("trainers.json")


def turns(sample: Any) -> list[dict[str, str]]:
    """The prompt, as a data set has it."""
    return [{"role": m.role, "content": m.content} for m in sample.messages]


def written(words: Any, sample: Any) -> list[int]:
    """What a policy writes when it gives this answer."""
    return [*words.encode(sample.response, add_special_tokens=False), words.eos_token_id]


def verl(words: Any, url: str, engine: str) -> None:
    """`RewardLoopWorker.compute_score`, from the ids of a rollout on."""
    import numpy as np
    import torch
    from omegaconf import OmegaConf
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.protocol import DataProto

    worker = RewardLoopWorker.__new__(RewardLoopWorker)
    model = {"enable": True, "model_path": "rm", "rollout": {"name": engine}}
    reward = {"custom_reward_function": {"path": None}, "reward_model": model}
    worker.config = OmegaConf.create({"reward": reward})
    worker.reward_router_address = url.removeprefix("http://")
    worker.input_tokenizer = worker.reward_model_tokenizer = words
    for sample in SAMPLES:
        ids = torch.tensor([written(words, sample)])
        prompt = np.empty(1, dtype=object)
        prompt[0] = turns(sample)
        data = DataProto.from_dict(
            {"responses": ids, "attention_mask": torch.ones_like(ids)}, {"raw_prompt": prompt}
        )
        asyncio.run(worker.compute_score(data))


def openrlhf(words: Any, url: str) -> None:
    """`preprocess_data` and `SingleTurnAgentExecutor.execute`, whose engine gives the answer."""
    for name in ("openrlhf", "openrlhf.utils", "openrlhf.datasets"):  # their __init__ want a GPU
        package = types.ModuleType(name)
        found = find_spec("openrlhf") if name == "openrlhf" else None
        root = found.submodule_search_locations[0] if found else sys.modules["openrlhf"].__path__[0]
        package.__path__ = [root] if found else [f"{root}/{name.split('.')[1]}"]
        sys.modules[name] = package
    from openrlhf.datasets.prompts_dataset import preprocess_data
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    class Engine:
        async def generate(self, ids: Any, params: Any, multi_modal_data: Any = None) -> Any:
            output = types.SimpleNamespace(token_ids=answer, finish_reason="stop", logprobs=None)
            return types.SimpleNamespace(outputs=[output])

    params = types.SimpleNamespace(max_tokens=64, logprobs=None)
    for sample in SAMPLES:
        row, answer = {"input": turns(sample), **sample.columns}, written(words, sample)
        key = "label" if "label" in row else None
        prompt, label = preprocess_data(row, None, "input", key, words.apply_chat_template)
        executor = SingleTurnAgentExecutor(f"{url}/get_reward")
        asyncio.run(executor.execute(prompt, label, params, 4096, words, Engine()))


def slime(words: Any, url: str) -> None:
    """`remote_rm` alone: what else its file imports are other rewards."""
    tree = ast.parse(Path(os.environ["SLIME"]).read_text("utf-8"))
    wanted = ("_get_shared_session", "remote_rm", "_shared_session")
    named = [getattr(n, "name", getattr(getattr(n, "target", None), "id", "")) for n in tree.body]
    tree.body = [
        node
        for node, name in zip(tree.body, named, strict=True)
        if name in wanted or (isinstance(node, ast.Import))
    ]
    scope: dict[str, Any] = {"Sample": object, "logger": None}
    exec(compile(tree, "slime", "exec"), scope)

    async def send() -> None:
        for sample in SAMPLES:
            prompt = words.apply_chat_template(
                turns(sample), tokenize=False, add_generation_prompt=True
            )
            # SGLang leaves the EOS in the text of an answer, as slime asks for it.
            response, label = sample.response + words.eos_token, sample.columns.get("label")
            one = types.SimpleNamespace(prompt=prompt, response=response, label=label)
            await scope["remote_rm"](types.SimpleNamespace(rm_url=f"{url}/rm"), one)
        await scope["_get_shared_session"]().close()

    asyncio.run(send())


def recorded(send: Callable[..., None], *arguments: Any) -> list[list[str]]:
    """Path and body of each request, as they came over the wire."""
    with TrainersServer() as server, tempfile.TemporaryDirectory() as folder:
        tiny_models.tokenizer().save_pretrained(folder)
        send(transformers.AutoTokenizer.from_pretrained(folder), server.url, *arguments)
        return [[path, body] for path, body in server.bodies]


def main() -> None:
    """Write what could be recorded over what was."""
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {}
    if find_spec("verl"):
        for engine in ("vllm", "sglang"):
            requests = recorded(verl, engine)
            golden[f"verl on {engine}"] = {"version": version("verl"), "requests": requests}
    if find_spec("openrlhf"):
        golden["openrlhf"] = {"version": version("openrlhf"), "requests": recorded(openrlhf)}
    if "SLIME" in os.environ:
        golden["slime"] = {"version": "0b420f1", "requests": recorded(slime)}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
