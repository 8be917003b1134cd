"""The YAML format: typed objects, the loader that keeps line and column, and the JSON Schema."""
