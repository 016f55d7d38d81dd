"""Writes one file over SFTP, with so many bytes under way and each answer read.

Of what is under way when a link drops, the device may have nothing: the bound is what a resumed
transfer sends again. Paramiko's own pipelining has no bound, and drops the answers that say no.
A part of the seam `deploy.ssh.connection`, which alone uses it.
"""

from __future__ import annotations

from typing import Any

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY, CMD_STATUS, CMD_WRITE, int64

UNDER_WAY = 512 << 10
# With its request's head a piece fills messages of SSH, 32 KiB each, and spills no few bytes into
# another one. The large one is for servers that say that they take it: a third less work here.
PIECE, SMALL = 127 << 10, 31 << 10


def piece_bytes(sftp: paramiko.SFTPClient) -> int:
    """How many bytes to write at a time: as many as the server says that it takes, up to `PIECE`.

    Raises:
        EOFError: the link dropped.
    """
    try:
        # OpenSSH's extension, since 8.5: lengths of a packet, of a read, of a write, open handles
        kind, answer = sftp._request(  # noqa: SLF001 (see below)
            CMD_EXTENDED, "limits@openssh.com"
        )
    except OSError:
        return SMALL
    if kind != CMD_EXTENDED_REPLY:
        return SMALL
    _packet, _read, write = (int(answer.get_int64()) for _ in range(3))
    # 0: it has no limit, or does not say
    return min(write, PIECE) or SMALL


class SftpWrites:
    """The writes of one open file.

    Args:
        sftp: the session; nothing else may use it meanwhile.
        sink: the file, open for writing.
        offset: where the first byte goes.
    """

    # paramiko documents no way to have several writes under way and hear of each: these calls are
    # what its own prefetching uses

    def __init__(self, sftp: paramiko.SFTPClient, sink: paramiko.SFTPFile, offset: int) -> None:
        self._sftp, self._sink, self._offset = sftp, sink, offset
        self._sizes: dict[int, int] = {}
        self._under_way = 0
        self._refusal: OSError | None = None

    def write(self, piece: bytes) -> None:
        """Send some bytes, at most `piece_bytes` of them.

        Raises:
            OSError: the device refused this or an earlier write.
        """
        self._wait(UNDER_WAY - len(piece))
        number = self._sftp._async_request(  # noqa: SLF001 (see above)
            self, CMD_WRITE, self._sink.handle, int64(self._offset), piece
        )
        self._sizes[number] = len(piece)
        self._under_way += len(piece)
        self._offset += len(piece)

    def finish(self) -> None:
        """Wait until all is written, and on the disk where the server can say so.

        Raises:
            OSError: the device refused.
        """
        self._wait(0)
        try:
            # OpenSSH's extension; servers without it sync when they rename, or not at all
            self._sftp._request(  # noqa: SLF001 (see above)
                CMD_EXTENDED, "fsync@openssh.com", self._sink.handle
            )
        except OSError as error:
            if "nsupported" not in str(error):
                raise

    def _wait(self, most: int) -> None:
        while self._under_way > most:
            self._sftp._read_response()  # noqa: SLF001 (see above)
        if self._refusal is not None:
            raise self._refusal

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        """Called by paramiko with each answer."""
        self._under_way -= self._sizes.pop(number)
        try:
            if kind != CMD_STATUS:
                raise OSError(f"an answer of kind {kind} to a write")
            self._sftp._convert_status(message)  # noqa: SLF001 (see above)
        except OSError as error:
            self._refusal = self._refusal or error
