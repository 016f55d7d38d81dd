"""Runs on the device: a program whose input comes by ssh, and how much of it has been handed over.

Arguments: the program and its own. What it prints goes home untouched; on standard error stands,
besides its own messages, a line with the count of bytes handed over, again and again. Of what is
counted the program has all but a pipe's worth (64 KiB).

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

PIECE = 64 << 10


def hand_over(sink: int) -> None:
    """Give the program its input, to the end."""
    handed = 0
    try:
        while True:
            piece = memoryview(os.read(0, PIECE))
            if not piece:
                break
            while piece:
                written = os.write(sink, piece)
                piece = piece[written:]
                handed += written
            os.write(2, b"%d\n" % handed)
    except BrokenPipeError:
        pass  # it has ended, or nobody listens any more: its status says which
    os.close(sink)


def main() -> int:
    """Run the program; its exit status, whatever may still come in."""
    ear, sink = os.pipe()
    child = subprocess.Popen(sys.argv[1:], stdin=ear)
    os.close(ear)
    threading.Thread(target=hand_over, args=(sink,), daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    code = main()
    # not held up by the thread, which may wait for input
    os._exit(code if code >= 0 else 128 - code)
