"""Predicted regret: what optimising a policy against the proxy would lose."""
