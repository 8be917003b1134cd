"""What optimises a policy, and what may be said of it."""

from typing import Literal

Optimizer = Literal["best_of_n", "rl"]

# Over the 17 reward models of RewardBench 2 (arXiv 2506.01937, Tables 9 and 10) best-of-16 and the
# best PPO checkpoint have a Spearman correlation of .13, and the order of lineages turns round.
UNKNOWN_RL = (
    "what RL makes of a reward model does not follow from its rewards on a pool (over 17 published "
    "ones best-of-16 ranks PPO by .13). It is known from RL runs of past reward models of the same "
    "lineage: say `lineage` in the suite, and attach their regrets to its history (rmcheck history "
    "add-regret --optimizer=rl)"
)
