"""Servers that score over HTTP: one file for the wire format of each family."""
