"""What the texts look like that a model picks on a suite."""

import numpy as np

from rmcheck.run.load import load
from rmcheck.run.picks import picks


def test_a_model_of_length_picks_longer_texts_than_golden_does(bench):
    """On all responses, and on some prompts drawn from many."""
    loaded = load(bench.path / "demo.yaml")
    labels = loaded.labels
    rewards = loaded.rewards(loaded.lengths, labels)

    for most in (10_000, 300):
        found = {one.trait: one for one in picks(loaded, rewards, most=most)}
        assert found["words"].n == 10
        assert found["words"].beyond.lower > 0
        assert found["words"].golden.value > 0  # longer answers are better in this pool
    golden = picks(loaded, loaded.rewards(labels, labels))
    assert all(np.isclose(one.beyond.value, 0) for one in golden)
