"""Runs on the device: takes one file from its standard input, where there is no sftp-server.

Arguments: what it is called while it comes, its name when it is whole, its size, and 1 to go on
where an earlier try left it. Says on a line each where it begins and, again and again, how many
bytes are written. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import os
import sys

PIECE = 256 << 10


def receive(part: str, whole: str, size: int, *, resume: bool) -> int:
    """Take the file; 1 when the input ended before all of it had come."""
    sink = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        offset = os.fstat(sink).st_size
        if not resume or offset > size:
            offset = 0
            os.ftruncate(sink, 0)
        os.lseek(sink, offset, os.SEEK_SET)
        tell(offset)
        while offset < size:
            piece = memoryview(os.read(0, PIECE))
            if not piece:
                return 1
            while piece:
                written = os.write(sink, piece)
                piece = piece[written:]
                offset += written
            tell(offset)
        os.fsync(sink)
    finally:
        os.close(sink)
    os.replace(part, whole)
    return 0


def tell(offset: int) -> None:
    """How far it is. One write: it is heard at once."""
    os.write(1, b"%d\n" % offset)


if __name__ == "__main__":
    try:
        sys.exit(receive(sys.argv[1], sys.argv[2], int(sys.argv[3]), resume=sys.argv[4] == "1"))
    except OSError as error:
        sys.exit(str(error))
