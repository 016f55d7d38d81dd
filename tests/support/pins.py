"""A pin of bytes that a test has."""

from __future__ import annotations

import hashlib

from toolchain.lock.pins import Pinned


def pin(content: bytes, path: str = "pool/main/x/x_1.orig.tar.gz") -> Pinned:
    return Pinned(
        origin="debian",
        path=path,
        version="1",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
