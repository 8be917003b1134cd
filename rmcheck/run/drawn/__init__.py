"""What the page of a run draws and shows of a suite, as plain numbers and texts."""
