"""A link that can be harmed: a proxy on 127.0.0.1 between a client and a device's sshd."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What happens to a link, once so many bytes have gone from the client to the device.

    Attributes:
        kind: `none`; `cut` closes both ends; `reset` does it with RST; `black hole` takes no byte
            more and says nothing; `half closed` ends the way there and not the way back; `flip`
            changes one bit and goes on; `sliced` sends single bytes for a while; `throttled` sends
            at `rate`.
        after: bytes.
        rate: bytes a second.
    """

    kind: str = "none"
    after: int = 0
    rate: float = 4e6


class Proxy:
    """Takes connections for a device and harms each as it was told last.

    Args:
        port: of the device on 127.0.0.1.

    Attributes:
        harm: for the next connection.
        sent: bytes that went to the device, all connections together.
        struck: harms that were done.
        turns_away: so many of the next connections are closed at once, `reset` or `cut`.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.harm = Harm()
        self.sent = self.struck = self.turns_away = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.turns_away:
                self.turns_away -= 1
                if self.harm.kind == "reset":
                    _end_by_reset(near)
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near, self.harm), daemon=True).start()

    def _carry(self, near: socket.socket, harm: Harm) -> None:
        # an sshd that has been stopped takes no connection: that is a cut link too
        far_end = ("127.0.0.1", self.to)
        with suppress(OSError), near, socket.create_connection(far_end) as far:
            gone, sources = 0, [near, far]
            while sources and not self.over.is_set():
                ready, _, _ = select.select(sources, [], [], 0.2)
                for source in ready:
                    piece = source.recv(PIECE)
                    if not piece:
                        return
                    if source is far:
                        near.sendall(piece)
                        continue
                    left = harm.after - gone
                    struck = harm.kind != "none" and left < len(piece)
                    if struck and left >= 0:
                        self.struck += 1
                        piece = self._strike(harm, piece, left, near, far)
                        if harm.kind in ("cut", "reset"):
                            return
                        if harm.kind in ("black hole", "half closed"):
                            sources.remove(near)
                    self._forward(piece, far, harm if struck else Harm())
                    gone += len(piece)
                    self.sent += len(piece)

    def _strike(
        self, harm: Harm, piece: bytes, left: int, near: socket.socket, far: socket.socket
    ) -> bytes:
        """Do it; returns what of the piece goes on."""
        if harm.kind == "flip":
            return piece[:left] + bytes([piece[left] ^ 1]) + piece[left + 1 :]
        if harm.kind in ("sliced", "throttled"):
            return piece
        far.sendall(piece[:left])
        if harm.kind == "reset":
            for end in (near, far):
                _end_by_reset(end)
        elif harm.kind == "half closed":
            far.shutdown(socket.SHUT_WR)
        return b""

    def _forward(self, piece: bytes, far: socket.socket, harm: Harm) -> None:
        if harm.kind == "sliced":
            for number in range(min(len(piece), 2000)):
                far.sendall(piece[number : number + 1])
            piece = piece[2000:]
        elif harm.kind == "throttled":
            time.sleep(len(piece) / harm.rate)
        if piece:
            far.sendall(piece)

    def close(self) -> None:
        self.over.set()
        self.listener.close()


def _end_by_reset(end: socket.socket) -> None:
    """Let closing it send RST."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
