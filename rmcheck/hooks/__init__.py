"""What runs inside of a trainer: a gate at each saved checkpoint, and samples kept for labels."""
