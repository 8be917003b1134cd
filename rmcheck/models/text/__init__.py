"""From a conversation to token ids, in one place."""
