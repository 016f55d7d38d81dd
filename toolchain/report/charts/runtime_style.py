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
