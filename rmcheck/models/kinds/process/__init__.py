"""Process reward models, which judge each step of a response: `process:DIR`."""
