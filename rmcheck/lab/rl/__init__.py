"""Policies optimised against reward models: PPO by torchrl, GRPO and RLOO by TRL."""
