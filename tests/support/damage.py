"""Bytes that are nearly what they should be."""

from __future__ import annotations

import json
import random
from typing import Any

# what may stand in a JSON text where something else is expected
ODD = (
    *("null", "true", "-1", "0", "1e999", "-1e999", "NaN", "9" * 400, "1.5", '""', "[]", "{}"),
    *('"x"', '"\\ud800"', '"\\u0000"', '"../x"', '"' + "a" * 5000 + '"', "[" * 2000 + "]" * 2000),
    '{"a":' * 500 + "0" + "}" * 500,
)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """The bytes with some of them changed, lost, doubled or put in."""
    content = bytearray(whole)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(content)), rng.randint(1, 40)
        change = rng.randrange(4)
        if change == 0:
            content[at] = rng.randrange(256)
        elif change == 1 and len(content) > length:
            del content[at : at + length]
        elif change == 2:
            content[at:at] = rng.randbytes(length)
        else:
            content[at:at] = content[at : at + length]
    return bytes(content)


def twisted(whole: bytes, rng: random.Random) -> bytes:
    """A JSON text of which some values are others, or gone; one in four is damaged after that."""
    value = json.loads(whole)
    marks: dict[str, str] = {}
    for _ in range(rng.randint(1, 3)):
        _twist(value, rng, marks)
    text = json.dumps(value)
    for mark, odd in marks.items():
        text = text.replace(f'"{mark}"', odd)
    return damaged(text.encode(), rng) if rng.randrange(4) == 0 else text.encode()


def _twist(value: Any, rng: random.Random, marks: dict[str, str]) -> None:
    """Change one value somewhere in an object or list; an odd one is put in by its mark."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(value[key], dict | list) and value[key] and rng.randrange(3):
        _twist(value[key], rng, marks)
        return
    if rng.randrange(5) == 0:
        del value[key]
        return
    mark = f"odd value {len(marks)}"
    marks[mark] = rng.choice(ODD)
    value[key] = mark
