"""From a file of prompts to a verdict: sampled by a policy, gated by a suite."""

from rmcheck.cli import main

SUITE = """\
rmcheck: 1
name: sampled
resamples: 500
pool: {path: POOL, slices: [category, policy]}
golden: {model: "fake:length_biased"}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.70}
  - {name: by-category, metric: accuracy, over: category, at_least: 0.60}
"""


def prompts_and_suite(bench, pool):
    """A table of eighty prompts, and a suite on a pool."""
    rows = [f"What is {i}?,{('code', 'chat')[i % 2]}" for i in range(80)]
    bench.path.joinpath("prompts.csv").write_text("\n".join(["prompt,category", *rows]) + "\n")
    bench.path.joinpath("sampled.yaml").write_text(SUITE.replace("POOL", pool))


def test_prompts_are_sampled_and_gated(gate, bench):
    """The new file is a pool whose slices are the columns of the table and the policy."""
    prompts_and_suite(bench, "pool-of-policy.jsonl")
    sample = ["sample", "prompts.csv", "--policy=fake:yes|no|maybe%20so|it%20all%20depends"]

    status = main([*sample, "--responses=6", "--out=pool-of-policy.jsonl"])
    bench.makepyfile(rules="def length(prompts, responses): return [len(r) for r in responses]")
    bench.syspathinsert()
    result = gate("sampled.yaml", model="python:rules:length", baseline=None)

    assert status == 0
    result.assert_outcomes(passed=3)
    assert "by-category" in result.stdout.str()


def test_a_suite_on_prompts_is_refused_with_the_command(gate, bench):
    """Prompts alone are no pool: nothing runs, and the message says how they become one."""
    prompts_and_suite(bench, "prompts.csv")

    result = gate("sampled.yaml", model="fake:length_biased", baseline=None)

    assert result.ret != 0
    assert "prompts.csv --policy=hf:DIR --responses=16 --out=pool.jsonl" in result.stdout.str()
