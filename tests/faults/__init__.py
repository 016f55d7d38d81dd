"""Faults put at every mutating system call of the agent; counts are in docs/reliability.md."""
