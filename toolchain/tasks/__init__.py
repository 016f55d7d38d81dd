"""The tasks of this machine: parse, call, print."""
