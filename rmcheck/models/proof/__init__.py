"""What a model must prove before its rewards count."""
