"""A suite whose model asks for columns of the pool."""

import json

import pytest

SUITE = """\
rmcheck: 1
name: sums
resamples: 200
min_prompts: 2
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.9}
"""


@pytest.fixture
def sums(pytester):
    """Forty sums, each with a right and a wrong answer and a verifier that needs the right one."""
    rows = [
        {
            "prompt": f"{i} + 1?",
            "responses": [str(i + 1), str(i)],
            "golden": [1, 0],
            "sum": i + 1,
            "metadata": {"level": "easy"},
            "reward_model": {"ground_truth": i + 1, "style": "rule"},
        }
        for i in range(40)
    ]
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    pytester.makepyfile(
        verifying="""
        def right(prompts, responses, sum):
            return [float(r == str(s)) for r, s in zip(responses, sum)]

        def misspelt(prompts, responses, summ):
            return [0.0] * len(responses)

        def cheating(prompts, responses, golden):
            return golden

        async def custom_rm(args, sample):
            assert sample.prompt.endswith(" + 1?"), sample
            assert sample.metadata == {"level": "easy"}, sample
            return {"acc": float(sample.response == str(sample.label)), "length": 1.0}

        def compute_score(data_source, solution_str, ground_truth, extra_info=None):
            return {"score": float(solution_str == str(ground_truth)), "source": data_source}

        def reward_func(queries, prompts, labels):
            return {"rewards": [float(q.endswith(f"?{l}")) for q, l in zip(queries, labels)]}
        """
    )
    return pytester


@pytest.mark.parametrize(
    "model",
    [
        "python:verifying:right",
        "slime:verifying:custom_rm?label_key=sum&reward_key=acc",
        "verl:verifying:compute_score?data_source=sums",
        "openrlhf:verifying:reward_func?label_key=sum",
    ],
)
def test_a_verifier_is_gated_with_its_ground_truth(sums, model):
    """As its trainer calls it, with what it needs from the pool."""
    result = sums.runpytest_inprocess("--rmcheck", f"--rmcheck-model={model}")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*accuracy*40*1.000*pass*"])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("misspelt", "python:verifying:misspelt reads columns: the pool has no column 'summ'. *"),
        ("cheating", "*column 'golden' is what rewards are judged by*"),
    ],
)
def test_a_column_that_is_missing_is_told_at_collection(sums, function, said):
    """With the place of the pool in the suite, before anything is scored."""
    result = sums.runpytest_inprocess(
        "--rmcheck", f"--rmcheck-model=python:verifying:{function}", "--collect-only"
    )

    assert result.ret != 0
    result.stdout.fnmatch_lines([f"demo.yaml:5:7: {said}"])
