"""A process of its own: what rsync takes for ssh. Joins rsync's streams to a socket of ours.

Arguments: the socket's path, a host's name that means nothing, and the command for the device. The
connection to the device is the process's that started rsync: there is one, and it is verified.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

PIECE = 256 << 10


def main() -> None:
    """Send the command as a line of JSON, then carry bytes both ways until either end closes."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(sys.argv[1])
    link.sendall(json.dumps(sys.argv[3:]).encode() + b"\n")
    threading.Thread(target=_outward, args=(link,), daemon=True).start()
    while piece := link.recv(PIECE):
        _write(piece)


def _outward(link: socket.socket) -> None:
    try:
        while piece := os.read(0, PIECE):
            link.sendall(piece)
        link.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other end is gone, which the inward way sees too


def _write(piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    main()
