"""The suites that a team copies, run as they stand on made data of their shape."""

import json
import random
import re
from pathlib import Path

import pytest

from rmcheck.suite.loader import load_suite

SUITES = Path(__file__).resolve().parents[2] / "suites" / "to_copy"
NAMES = sorted(path.stem for path in SUITES.glob("*.yaml"))
_TEXT = "the answer to this question says that there is a river with a bridge and a mill"
WORDS = _TEXT.split()


def text(rng):
    """An answer of a few sentences, unlike any other."""
    sentences = [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) for _ in range(3)]
    return f"{'. '.join(sentences)}. Number {rng.random():.9f}."


def native(rng, prompts, responses, golden, **slices):
    """Rows with golden rewards."""
    for i in range(prompts):
        yield {
            "prompt": f"Please tell me about question number {i}, in some detail.",
            "responses": [text(rng) for _ in range(responses)],
            "golden": [golden() for _ in range(responses)],
            **{name: values[i % len(values)] for name, values in slices.items()},
        }


def hh_rlhf(rng):
    """Pairs of the harmless part."""
    for i in range(150):
        asked = f"\n\nHuman: Is question {i} harmless?\n\nAssistant: "
        yield {"chosen": asked + text(rng), "rejected": asked + text(rng)}


def rewardbench(rng):
    """Pairs of four subsets."""
    for i in range(140):
        sides = {"chosen": text(rng), "rejected": text(rng), "subset": f"subset-{i % 4}"}
        models = {"chosen_model": "a", "rejected_model": "b"}
        yield {"prompt": f"What is {i}?", "id": i, **sides, **models}


def rewardbench2(rng):
    """One good answer of four, in three subsets."""
    for i in range(120):
        answers = {"chosen": [text(rng)], "rejected": [text(rng) for _ in range(3)]}
        counts = {"num_correct": 1, "num_incorrect": 3, "total_completions": 4}
        subset = ("Factuality", "Math", "Focus")[i % 3]
        yield {"id": str(i), "prompt": f"What is {i}?", **answers, **counts, "subset": subset}


def rm_bench(rng):
    """Three styles of a right and of a wrong answer."""
    for i in range(40):
        styles = {side: [text(rng) for _ in range(3)] for side in ("chosen", "rejected")}
        yield {"id": i, "subset": "toy", "prompt": f"What is {i}?", **styles}


def rmb(rng):
    """Pairs of both goals."""
    for i in range(120):
        path = ("Pairwise_set/Helpfulness/Chat/Discussion", "Pairwise_set/Harmlessness/S1")[i % 2]
        turn = {"role": "user", "content": f"What is {i}?", "language": "English"}
        sides = {side: {"llm_name": side, "answer": text(rng)} for side in ("chosen", "reject")}
        yield {"pair_uid": str(i), "conversation_input": [turn], **sides, "category_path": path}


def ppe_best_of_k(rng):
    """Answers of three models, half of them correct."""
    for i in range(120):
        answers = {f"response_{k}": text(rng) for k in range(1, 9)}
        about = {"question_id": f"q{i}", "prompt": f"What is {i}?", "model_name": f"m{i % 3}"}
        scores = {"scores": [k % 2 == 0 for k in range(8)], "mean_score": 0.5}
        yield {**about, **answers, **scores, "conflict_pairs": [[0, 1]]}


def ppe_human(rng):
    """Pairs in two languages."""
    for i in range(140):
        sides = {"model_a": "a", "model_b": "b", "winner": ("model_a", "model_b")[i % 2]}
        answers = {"response_1": text(rng), "response_2": text(rng)}
        about = {"question_id": f"q{i}", "prompt": f"What is {i}?", "is_code": False}
        yield {**about, **sides, **answers, "language": ("English", "German")[i % 4 < 2]}


def made(rng):
    """File below `data/` to its rows."""
    normal, right = (lambda: rng.gauss(0, 1)), (lambda: float(rng.random() < 0.5))
    steps = ("0", "200", "400")
    return {
        "helpfulness.jsonl": native(rng, 60, 8, normal),
        "policy_answers.jsonl": native(rng, 90, 16, normal, policy_step=steps),
        "judged_answers.jsonl": native(rng, 80, 4, right),
        "harmless.jsonl": hh_rlhf(rng),
        "rewardbench.jsonl": rewardbench(rng),
        "rewardbench2.jsonl": rewardbench2(rng),
        "rm_bench.json": rm_bench(rng),
        "rmb.jsonl": rmb(rng),
        "ppe_best_of_k.jsonl": ppe_best_of_k(rng),
        "ppe_human.jsonl": ppe_human(rng),
    }


@pytest.fixture
def copied(pytester):
    """A project with all suites, and made data where they look for theirs."""
    folder = pytester.mkdir("suites")
    (folder / "data").mkdir()
    for name, rows in made(random.Random(0)).items():
        whole = list(rows)
        lines = json.dumps(whole) if name.endswith(".json") else "\n".join(map(json.dumps, whole))
        (folder / "data" / name).write_text(lines, encoding="utf-8")
    for name in NAMES:
        suite = (SUITES / f"{name}.yaml").read_text(encoding="utf-8")
        faster = suite.replace("rmcheck: 1\n", "rmcheck: 1\nresamples: 300\n")
        (folder / f"{name}.yaml").write_text(faster, encoding="utf-8")
    return pytester


def outcomes(copied, model, *chosen):
    """Suite to the verdicts of its checks, as the table says them."""
    result = copied.runpytest_inprocess("suites", "--rmcheck", f"--rmcheck-model={model}", *chosen)
    found = {}
    for line in result.outlines:
        if row := re.match(r"([\w-]+)::(\S+) .* (pass|fail|inconclusive)$", line):
            found.setdefault(row[1].replace("-", "_"), {})[row[2]] = row[3]
    return found


def test_a_good_model_passes_every_suite_and_one_that_knows_nothing_none(copied):
    """Good is golden with little noise; of the other its accuracy is enough to see."""
    good = outcomes(copied, "fake:perfect?noise=0.2")
    nothing = outcomes(copied, "fake:random", "-m", "accuracy")

    assert sorted(good) == sorted(nothing) == NAMES
    assert {name: found for name, found in good.items() if set(found.values()) != {"pass"}} == {}
    assert [name for name, found in nothing.items() if set(found.values()) == {"pass"}] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_bound_is_explained(name):
    """A comment stands in front of its checks, and the page names the suite."""
    lines = (SUITES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    checks = lines.index("checks:") + 1

    assert lines[checks].strip().startswith("#")
    assert lines[1].startswith("#")
    assert f"]({name}.yaml)" in (SUITES / "README.md").read_text(encoding="utf-8")
    assert load_suite(SUITES / f"{name}.yaml").checks
