"""What predicts an outcome, over many reward models; behind the gate, which never imports it."""
