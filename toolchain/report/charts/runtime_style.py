"""What a runtime is called and which colour it has, the same in every table and plot.

A result may be of a runtime that this version doesn't know: it goes by the name in the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolchain import runtimes
from toolchain.core import plugins
from toolchain.runtimes import Runtime, all_runtimes


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A CSS colour on a light page and on a dark one."""

    light: str
    dark: str


# Of much the same contrast against the page, and apart from each other for most who don't see all
# colours; after the last it begins again.
COLOURS = (
    Colour(light="#b45309", dark="#f5a847"),
    Colour(light="#1d4ed8", dark="#7da7ff"),
    Colour(light="#0f766e", dark="#4fd1c0"),
    Colour(light="#a21caf", dark="#e58af0"),
    Colour(light="#4d7c0f", dark="#a8d957"),
    Colour(light="#475569", dark="#b6c2d1"),
    Colour(light="#be123c", dark="#fb8ba3"),
    Colour(light="#0369a1", dark="#62c3f5"),
    Colour(light="#6d28d9", dark="#b9a2ff"),
)

# What points are drawn as, from their middle, for whoever sees no colours and for paper; in the
# order of `COLOURS`.
SHAPES = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0",
    "m-3-3h6v6h-6z",
    "m0-4.5l4.5 4.5-4.5 4.5-4.5-4.5z",
    "m0-4.5l4.2 7.5h-8.4z",
    "m0 4.5l4.2-7.5h-8.4z",
    "m-4-4h8l-8 8h8z",
    "m-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",
    "m-4.5-2h9v4h-9z",
    "m-2-4.5h4v9h-4z",
)


@cache
def _known(folders: tuple[Path, ...]) -> Mapping[str, Runtime]:
    """The runtimes by name; a page asks tens of thousands of times. The folders are a user's."""
    del folders
    return all_runtimes()


def label(name: str) -> str:
    """A runtime's name in tables and plots."""
    known = _known(plugins.folders(runtimes.KIND)).get(name)
    return name if known is None else known.label


def title(name: str) -> str:
    """A runtime's name in prose."""
    known = _known(plugins.folders(runtimes.KIND)).get(name)
    return name if known is None else known.title


def in_order(names: Iterable[str]) -> list[str]:
    """Runtimes as they are compared: those of conversion and compilation, others, unknown ones."""
    known = all_runtimes()
    return sorted(
        names,
        key=lambda name: (name not in known, name in known and known[name].makes_artifacts, name),
    )


def shape(name: str) -> str:
    """The SVG path of a runtime's points, from their middle."""
    return _shapes(plugins.folders(runtimes.KIND)).get(name, SHAPES[-1])


@cache
def _shapes(folders: tuple[Path, ...]) -> dict[str, str]:
    del folders
    known = in_order(all_runtimes())
    return {name: SHAPES[number % len(SHAPES)] for number, name in enumerate(known)}


def legend(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """What the points of a plot's runtimes are: label, CSS colour, and SVG path from the middle."""
    return [(label(name), variable(name), shape(name)) for name in in_order(names)]


def variable(name: str) -> str:
    """The CSS colour of a runtime, for the page that defines `colours` of it."""
    return f"var(--runtime-{name})"


def colours(measured: Iterable[str]) -> dict[str, Colour]:
    """The colour of each runtime by the name of its CSS variable.

    Args:
        measured: runtimes of results; those that this version knows have theirs in any case.
    """
    known = in_order(all_runtimes())
    names = [*known, *sorted(set(measured) - set(known))]
    return {
        f"--runtime-{name}": COLOURS[number % len(COLOURS)] for number, name in enumerate(names)
    }
