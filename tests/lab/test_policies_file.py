"""The part of the file about policies: what it means, and what is said about a wrong one."""

import pytest

from rmcheck.lab.rl.settings import Ensemble, FromPool

GOOD = """\
lab: 1
preferences: {path: pairs.jsonl}
training: {base: base}
reward_models:
  - {name: a, flip: 0, seed: 1}
  - {name: b, flip: 0.3, seed: 1}
golden: {model: "hf:golden"}
policy: {model: base, prompts: p.jsonl, test_prompts: t.jsonl, max_tokens: 16}
ensembles:
  - {name: both, members: [a, b], combine: worst}
optimizers:
  - {name: bon, kind: best_of_n, n: [2, 16]}
  - {name: ppo, kind: ppo, seeds: [1, 2], steps: 50, kl_penalty: 0.1}
  - {name: grpo, kind: grpo, seeds: [1], steps: 50, group: 4}
"""


def test_the_file_says_what_is_optimised_and_how(read, tmp_path):
    """Paths are relative to the file; each optimiser is of its kind."""
    found = read(GOOD).optimization

    assert found.from_pool == (FromPool("bon", "best_of_n", (2.0, 16.0)),)
    assert [(rl.kind, rl.seeds, rl.group) for rl in found.rl] == [
        ("ppo", (1, 2), 8),
        ("grpo", (1,), 4),
    ]
    assert found.rl[0].kl_penalty == 0.1
    assert found.policy.prompts == tmp_path / "p.jsonl"
    assert found.ensembles == (Ensemble("both", ("a", "b"), "worst"),)
    assert (found.golden, found.diverged) == ("hf:golden", "fail")


def test_a_family_alone_has_no_policies(read):
    """What `rmcheck lab train` needs is enough for it."""
    assert read(GOOD[: GOOD.index("golden:")]).optimization is None


@pytest.mark.parametrize(
    ("wrong", "right", "line", "said"),
    [
        ("kind: ppo", "kind: pppo", 13, "unknown word 'pppo'"),
        ("seeds: [1, 2], ", "", 13, "'ppo' has no 'seeds'"),
        ("seeds: [1, 2]", "seeds: []", 13, "must be a list, such as [1, 2, 3], not an empty list"),
        ("seeds: [1, 2]", "seeds: [1, 1]", 13, "'seeds' in 'ppo' has 1 twice"),
        ("kl_penalty: 0.1", "group: 4", 13, "unknown key 'group' in 'ppo'"),
        ("group: 4", "group: 5", 14, "batch is no multiple of group"),
        ("members: [a, b]", "members: [a, c]", 10, "'both': no reward model 'c'"),
        ("name: both", "name: golden", 4, "the name 'golden' stands for two rewards"),
        ("model: base", "model: bass", 8, "no config.json in the folder"),
        ("n: [2, 16]", "n: [1]", 12, "must be at least 2, not 1"),
        ('{model: "hf:golden"}', "{modell: x}", 7, "unknown key 'modell' in golden"),
    ],
)
def test_a_wrong_value_about_policies_is_named_where_it_stands(problems, wrong, right, line, said):
    """Line, value, and what instead."""
    assert wrong in GOOD
    found = problems(GOOD.replace(wrong, right))

    assert any(at >= line - 1 and said in message for at, message in found), found
