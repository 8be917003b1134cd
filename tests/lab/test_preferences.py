"""Preference pairs from pools: who is preferred, which pairs are left out, and shards."""

import json

import numpy as np
import pytest

from rmcheck.errors import UsageError
from rmcheck.lab.family.preferences import preference_data
from rmcheck.pool.reading import read_pool


def pool_of(tmp_path, rows):
    """A native pool."""
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_pool(path)


def row(name, labels):
    """A prompt whose responses have these labels."""
    texts = [f"answer {i} of {name}" for i in range(len(labels))]
    return {"prompt_id": name, "prompt": f"question {name}", "responses": texts, "golden": labels}


def test_the_response_with_the_larger_label_is_chosen(tmp_path):
    """Each pair with a difference is there once, in TRL's form; ties are counted and left out."""
    data = preference_data(pool_of(tmp_path, [row("a", [1.0, 3.0, 1.0])]), "golden", None, 0)

    assert [(p.chosen[0]["content"], p.rejected[0]["content"]) for p in data.pairs] == [
        ("answer 1 of a", "answer 0 of a"),
        ("answer 1 of a", "answer 2 of a"),
    ]
    assert data.pairs[0].prompt == [{"role": "user", "content": "question a"}]
    assert data.pairs[0].chosen[0]["role"] == "assistant"
    assert data.ties == 1


def test_chosen_and_rejected_of_a_pair_format_are_kept(tmp_path):
    """A file of chosen and rejected answers gives back its own pairs."""
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "why?", "chosen": "good", "rejected": "bad"}) + "\n")

    (pair,) = preference_data(read_pool(path), "golden", None, 0).pairs

    assert (pair.chosen[0]["content"], pair.rejected[0]["content"]) == ("good", "bad")
    assert pair.flipped().chosen == pair.rejected


def test_at_most_so_many_pairs_of_a_prompt_are_drawn(tmp_path):
    """The same seed draws the same pairs."""
    pool = pool_of(tmp_path, [row("a", [1, 2, 3, 4, 5]), row("b", [1, 2])])

    data = preference_data(pool, "golden", 3, 4)

    assert data.prompt_of.tolist() == [0, 0, 0, 1]
    assert data.pairs == preference_data(pool, "golden", 3, 4).pairs


def test_each_prompt_is_in_exactly_one_shard(tmp_path):
    """Shards part the prompts, not the pairs of a prompt."""
    pool = pool_of(tmp_path, [row(str(i), [1, 2, 3]) for i in range(10)])
    data = preference_data(pool, "golden", None, 0)

    shards = np.array([data.shard(k, 3, 5) for k in (1, 2, 3)])

    assert shards.sum(axis=0).tolist() == [1] * len(data.pairs)
    for shard in shards:
        assert not set(data.prompt_of[shard]) & set(data.prompt_of[~shard])


@pytest.mark.parametrize(
    ("column", "labels", "said"),
    [("gold", [1, 2], "no label column 'gold'; columns: golden"), ("golden", [1, 1], "no prompt")],
)
def test_a_pool_without_preferences_is_refused(tmp_path, column, labels, said):
    """A missing column is named beside those there are; ties alone teach nothing."""
    with pytest.raises(UsageError, match=said):
        preference_data(pool_of(tmp_path, [row("a", labels)]), column, None, 0)
