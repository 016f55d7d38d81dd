"""Results over time: the history of each configuration, and the files that show it."""
