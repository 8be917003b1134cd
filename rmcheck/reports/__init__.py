"""Records of checks in the forms that people and programs read. Nothing is decided here."""
