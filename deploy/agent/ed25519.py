"""Runs on the device: checks an Ed25519 signature with nothing but Python's standard library.

RFC 8032, section 5.1: verification alone, so no secret is ever handled here and its time may depend
on its input. A device need not have OpenSSH (Dropbear's has no ssh-keygen), nor a Python package.
Python 3.8 or newer.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


class Point(NamedTuple):
    """A point of the curve in extended coordinates: its x is x/z, its y y/z, and x*y t/z."""

    x: int
    y: int
    z: int
    t: int


def _recovered(y: int, sign: int) -> int | None:
    """The x of a point, from its y and the lowest bit of x; None when there is no such point."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(encoded: bytes) -> Point | None:
    """A point from its 32 bytes; None when they are not the one encoding of one."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    x = _recovered(y, sign) if y < P else None
    return None if x is None else Point(x, y, 1, x * y % P)


def _sum(p: Point, q: Point) -> Point:
    a, b = (p.y - p.x) * (q.y - q.x) % P, (p.y + p.x) * (q.y + q.x) % P
    c, d = 2 * p.t * q.t * D % P, 2 * p.z * q.z % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return Point(e * f % P, g * h % P, f * g % P, e * h % P)


def _times(number: int, p: Point) -> Point:
    found = Point(0, 1, 1, 0)
    while number:
        if number & 1:
            found = _sum(found, p)
        p = _sum(p, p)
        number >>= 1
    return found


def _same(p: Point, q: Point) -> bool:
    return (p.x * q.z - q.x * p.z) % P == 0 and (p.y * q.z - q.y * p.z) % P == 0


def _of_small_order(p: Point) -> bool:
    """Whether a point is one of the eight of which 8 times the point is the neutral one."""
    return _same(_times(8, p), Point(0, 1, 1, 0))


_Y = 4 * pow(5, P - 2, P) % P
_X = _recovered(_Y, 0) or 0
BASE = Point(_X, _Y, 1, _X * _Y % P)


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key signed a message.

    Args:
        key: 32 bytes.
        message: what was signed.
        signature: 64 bytes; anything else was not made by the key.
    """
    if len(key) != 32 or len(signature) != 64:
        return False
    owner, commitment = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if owner is None or commitment is None or s >= ORDER:
        return False
    if _of_small_order(owner):
        return False  # such a key has no owner: it fits signatures that anyone can make
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    h = int.from_bytes(digest, "little") % ORDER
    return _same(_times(s, BASE), _sum(commitment, _times(h, owner)))
