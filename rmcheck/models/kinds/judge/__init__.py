"""Language models that are asked for a verdict: `judge:FILE.yaml`."""
