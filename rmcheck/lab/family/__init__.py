"""Families of reward models: preference data, label flips, and their training by TRL."""
