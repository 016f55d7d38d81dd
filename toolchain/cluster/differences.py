"""In which words two keys differ: what a worker has that who asks has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MOST = 6


def between(here: Mapping[str, object], there: Mapping[str, object]) -> str:
    """A line for each value that differs, such as `recipe.tools.numpy: 2.3.0 there, 2.4.0 here`."""
    lines = list(_lines(here, there, ""))
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return "\n".join(lines[:MOST] + more)


def _lines(here: Mapping[str, object], there: Mapping[str, object], under: str) -> Iterator[str]:
    for name in sorted(here.keys() | there.keys()):
        mine, its = here.get(name), there.get(name)
        if isinstance(mine, Mapping) and isinstance(its, Mapping):
            yield from _lines(mine, its, f"{under}{name}.")
        elif mine != its:
            yield f"{under}{name}: {_short(its)} there, {_short(mine)} here"


def _short(value: object) -> str:
    return "nothing" if value is None else str(value)[:40]
