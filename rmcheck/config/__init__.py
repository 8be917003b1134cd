"""YAML that a person writes, read with its lines and columns, all faults at once."""
