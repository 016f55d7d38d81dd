"""This machine: its Docker engine, its emulators, and what only some users need."""
