"""The tasks that talk to devices: parse, call, print."""
