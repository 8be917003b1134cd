"""Which responses are to be labelled: each is drawn with the probability that its row states."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.cli import main
from rmcheck.errors import UsageError
from rmcheck.lab.sampling.annotation import LabelDesign, annotation
from rmcheck.lab.sampling.drawing import draw_at_random, draw_by_weight, in_proportion
from rmcheck.lab.sampling.sampled_pool import sample_pool
from rmcheck.metrics.best_of_n import tied_bon_weights
from rmcheck.policies.fake import FakePolicy
from rmcheck.pool.pool import Message, Prompt
from rmcheck.pool.reading import read_pool


@given(st.integers(2, 40), st.data())
def test_probabilities_add_up_to_the_draws_and_follow_the_weights(size, data):
    """None is above 1; they add up to the draws, or to what has a weight where that is less."""
    draws = data.draw(st.integers(1, size))
    weights = np.array(data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)), float)

    chance = in_proportion(weights, draws)

    assert chance.sum() == pytest.approx(min(draws, (weights > 0).sum()))
    assert ((chance >= 0) & (chance <= 1)).all()
    assert (np.diff(chance[np.argsort(weights, kind="stable")]) >= -1e-12).all()


def test_each_response_is_drawn_with_its_own_probability():
    """Over many draws the share is the probability, and there are never more labels than asked."""
    rng = np.random.default_rng(0)
    proxy = rng.standard_normal(12)

    draws = [draw_by_weight(proxy, (4, 12), 5, rng) for _ in range(5_000)]
    to_label = np.array([marks.to_label for marks in draws])

    assert to_label.sum(axis=1).max() == 5
    assert {int(marks.random.sum()) for marks in draws} == {3}
    assert to_label.mean(axis=0) == pytest.approx(draws[0].inclusion, abs=0.03)
    assert draws[0].inclusion.min() >= 3 / 12
    assert draws[0].inclusion.argmax() == proxy.argmax()


def test_what_was_drawn_stands_for_all():
    """The labelled responses, each over its probability, add up to the best of n of all."""
    rng = np.random.default_rng(1)
    proxy, golden = rng.standard_normal((2, 16))
    weights = tied_bon_weights(proxy[None], 8)[0]

    draws = [draw_by_weight(proxy, (8,), 4, rng) for _ in range(8_000)]
    found = [((weights * golden / marks.inclusion)[marks.to_label]).sum() for marks in draws]

    assert np.mean(found) == pytest.approx(weights @ golden, abs=0.05)


@pytest.mark.parametrize("labels", [1, 5])
def test_too_few_or_too_many_labels_are_refused(labels):
    """Two are the least from which anything is told, and no more than there are responses."""
    with pytest.raises(UsageError, match="labels"):
        draw_at_random(4, labels, np.random.default_rng(0))


def prompts(path, number=30, responses=8):
    """A pool of responses that nobody has judged."""
    rows = [
        {
            "prompt": f"q{i}",
            "topic": "t",
            "responses": [f"{'x' * (j + 1)} {i}" for j in range(responses)],
        }
        for i in range(number)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_row_keeps_all_responses_and_says_which_to_label(tmp_path):
    """Labels that are known already stay where they were drawn, and nowhere else."""
    pool = read_pool(prompts(tmp_path / "pool.jsonl"))

    found = annotation(pool, None, LabelDesign(3, seed=4))
    row = found.rows[0]

    assert len(row["responses"]) == len(row["golden"]) == len(row["inclusion"]) == 8
    assert sum(row["to_label"]) == 3
    assert row["inclusion"] == [3 / 8] * 8
    assert (row["topic"], found.to_label, found.left_out) == ("t", 90, 0)


def test_the_command_draws_at_random_or_by_weight(tmp_path, capsys):
    """`--design random` needs no model; `weighted` labels what the model would pick."""
    pool = str(prompts(tmp_path / "pool.jsonl"))
    even, heavy = tmp_path / "even.jsonl", tmp_path / "heavy.jsonl"

    assert main(["sample", pool, "--design=random", "--labels=3", f"--out={even}"]) == 0
    weighted = ["--design=weighted", "--labels=3", "--n=8", "--model=fake:length_biased"]
    assert main(["sample", pool, *weighted, f"--out={heavy}"]) == 0

    assert "even.jsonl: 30 prompts, 90 responses to label" in capsys.readouterr().out
    longest = [json.loads(line)["to_label"][-1] for line in heavy.read_text().splitlines()]
    first = json.loads(heavy.read_text().splitlines()[0])
    assert first["inclusion"][-1] == pytest.approx(1.0)
    assert sum(first["random"]) == 2
    assert longest == [1] * 30
    assert 3 < sum(json.loads(line)["to_label"][-1] for line in even.read_text().splitlines()) < 20


def test_a_policy_marks_what_to_label_while_it_answers(tmp_path):
    """Marks depend on the seed and the prompt alone, so a stopped run goes on alike."""
    asked = [Prompt(f"p{i}", (Message("user", f"q{i}"),), ("",), {}) for i in range(200)]
    policy = FakePolicy(["a", "b"])

    sample_pool(policy, asked, tmp_path / "out.jsonl", n=8, labels=2)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    marks = np.array([row["to_label"] for row in rows])

    assert (marks.sum(axis=1) == 2).all()
    assert marks.mean(axis=0) == pytest.approx([0.25] * 8, abs=0.1)
    assert rows[0]["golden"] == [None] * 8
    assert rows[0]["inclusion"] == [0.25] * 8


def test_more_labels_than_responses_are_refused(tmp_path):
    """In one line, before anything is sampled."""
    with pytest.raises(UsageError, match="3 labels a prompt are asked for; it is 2 to 2"):
        sample_pool(FakePolicy(["a"]), [], tmp_path / "out.jsonl", n=2, labels=3)
