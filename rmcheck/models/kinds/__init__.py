"""What makes a reward: how a sample is written, what is asked of an engine, and a formula."""
