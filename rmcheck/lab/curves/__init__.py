"""What a policy becomes as best-of-n or a KL budget goes on."""
