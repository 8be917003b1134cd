"""What the log of an RL run says: whether golden rose, stopped or fell."""
