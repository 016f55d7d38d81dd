"""Programs that run on the device, sent there over the link and never installed.

They use os and os.path, not pathlib: a call is a system call, and faults are tested call by call.
"""
