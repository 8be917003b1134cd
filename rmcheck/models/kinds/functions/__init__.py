"""Rewards that are functions of a user's own, in the forms in which trainers call them."""
