"""What keeps several checks from being judged is told once, with the model that it is about."""

import pytest


@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_a_model_that_cannot_be_scored_is_told_once_and_by_its_role(gate_both_ways, role):
    """The first check of each process tells it in full, the others say where."""
    other = {"candidate": "baseline", "baseline": "candidate"}[role]
    models = {role: "fake:nan", other: "fake:random"}
    result = gate_both_ways(
        "-k", "accuracy or regression", model=models["candidate"], baseline=models["baseline"]
    )
    output = result.stdout.str()

    assert f"{role} fake:nan: the reward of prompt 'p" in output
    assert 1 <= output.count("rewards in this batch are not finite") <= 2


def test_the_others_name_the_check_that_tells_it(gate):
    """In their own section and in the summary."""
    result = gate(model="fake:nan")

    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(
        [
            "candidate fake:nan: the reward of prompt 'p*",
            "as demo.yaml::accuracy: candidate fake:nan: the reward of prompt *…",
        ]
    )
    assert result.stdout.str().count("rewards in this batch are not finite") == 1


def test_a_golden_model_that_fails_is_named_as_such(gate, bench):
    """The candidate is not to blame."""
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text() + "golden: {model: fake:nan}\n")
    result = gate("-k", "accuracy", model="fake:random")

    result.stdout.fnmatch_lines(["golden fake:nan: the reward of prompt *"])
