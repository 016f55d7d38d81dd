"""Faults put at every mutating system call of the agent.

The counts are in docs/explanation/reliability.md.
"""
