"""A checkpoint folder, judged without loading it."""
