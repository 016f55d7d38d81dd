"""The space that tuning searches: the tiles that a function's schedule may have.

A tile is legal when it divides the function's extents; whether it fits the registers decides only
how fast it is. The first of a function is the one that `schedules` chooses without tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import tvm
from tvm import tirx
from tvm_ffi import structural_hash

from toolchain.compile.tir.default_schedule import ScheduleRule
from toolchain.compile.tir.register_blocking import (
    Extents,
    Tile,
    by_instructions,
    divisors,
)
from toolchain.targets.instruction_sets import Registers

# A tile's sums may be somewhat more than the registers hold: what is spilled costs less than the
# model says where loads are free. Beyond that only code grows.
SPILLED = 1.5
LARGEST = 96  # positions times vectors: each is written out

Choose = Callable[[Registers, Extents], Tile]


def workload(function: tirx.PrimFunc) -> str:
    """The hash of what a function computes, whatever it is called; 16 hexadecimal digits."""
    return f"{structural_hash(function.without_attr('global_symbol')) & (2**64 - 1):016x}"


def extents(function: tirx.PrimFunc, registers: Registers) -> Extents | None:
    """What a tile of a function divides; None for one that has no tile.

    Args:
        function: not scheduled, with at most one reduction, whose output is [..., rows, columns].
        registers: of the target.
    """
    found: list[Extents] = []

    def noting(registers: Registers, of: Extents) -> Tile:
        found.append(of)
        return by_instructions(registers, of)

    fits = ScheduleRule(registers=registers, tiled=True, choose=noting).apply(function) is not None
    return found[0] if fits and found else None


def tiles(of: Extents, registers: Registers) -> list[Tile]:
    """Every legal tile: our own choice first, then by the instructions that the model counts.

    Args:
        of: what tiles divide.
        registers: of the target; with longer vectors, of its short ones.
    """
    sliding = of.stride is not None
    found = {
        Tile(rows=rows, vectors=vectors, width=width, columns_first=first)
        for width in _widths(registers, of.columns)
        for vectors in divisors(1 if sliding else of.columns // width, registers.count)
        for rows in divisors(of.rows, LARGEST // vectors)
        if rows * vectors * registers.grouped(width) <= SPILLED * registers.count
        for first in ((False,) if sliding or width * vectors == of.columns else (False, True))
    }
    own = by_instructions(registers, of)
    others = sorted(
        found - {own}, key=lambda t: (-_rate(t, registers), t.columns_first, -t.width, -t.rows)
    )
    return [own, *others]


def legal(tile: Tile, of: Extents) -> bool:
    """Whether a tile divides the extents."""
    return of.rows % tile.rows == 0 and of.columns % (tile.vectors * tile.width) == 0


def stretched(tile: Tile, of: Extents, registers: Registers, longer: Registers) -> Tile:
    """What a tile is where vectors are longer: our own choice there for our own here.

    Args:
        tile: of the function on `registers`.
        of: the extents of the function.
        registers: those that the tile is for.
        longer: the same, of a CPU with longer ones.
    """
    if tile == by_instructions(registers, of):
        return by_instructions(longer, of)
    wider = replace(tile, width=tile.width * longer.lanes // registers.lanes)
    return wider if legal(wider, of) else tile


def chosen(tuned: Mapping[str, Tile], function: tirx.PrimFunc, registers: Registers) -> Choose:
    """How a function's tile is chosen: the tuned one, where there is one that fits.

    Args:
        tuned: tiles by workload.
        function: without a schedule.
        registers: those that tiles were tuned for; on longer ones they are stretched.
    """
    better = tuned.get(workload(function)) if tuned else None

    def choose(here: Registers, of: Extents) -> Tile:
        if better is None or not legal(better, of):
            return by_instructions(here, of)
        return better if here == registers else stretched(better, of, registers, here)

    return choose


def count(tuned: Mapping[str, Tile], module: tvm.IRModule) -> int:
    """How many of a module's functions have a tuned tile.

    Args:
        tuned: tiles by workload.
        module: from `pipeline.lower`, not scheduled: a workload is the hash of plain loops.
    """
    functions = [f for _, f in module.functions_items() if isinstance(f, tirx.PrimFunc)]
    return sum(workload(function) in tuned for function in functions) if tuned else 0


def _rate(tile: Tile, registers: Registers) -> float:
    """Multiply-adds an instruction, by the model of `Tile.of`; sums beyond the registers spill."""
    work = tile.rows * tile.vectors
    spilled = max(0, work * registers.grouped(tile.width) - registers.count)
    besides = registers.besides(tile.width)
    inputs = tile.rows / registers.lanes if registers.indexed else tile.rows
    return work * tile.width / (work + inputs + tile.vectors + besides + 2 * spilled)


def _widths(registers: Registers, columns: int) -> list[int]:
    """Vectors of whole registers that divide an axis, else the largest that fits in one.

    Where an instruction may work on any number of lanes, all that don't fit in a smaller register.
    """
    widest = registers.lanes * max(2, registers.group)
    if registers.resized is not None:
        any_width = divisors(columns, widest)
        return [width for width in any_width if width >= registers.lanes] or any_width[-1:]
    powers = [registers.lanes << n for n in range(8) if registers.lanes << n <= widest]
    whole = [width for width in powers if registers.lanes > 1 and columns % width == 0]
    return whole or divisors(columns, registers.lanes)[-1:]
