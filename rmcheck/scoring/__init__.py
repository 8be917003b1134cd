"""From texts to rewards: plan, batches, forward passes, and what is read back."""
