"""Loop schedules for one fused CPU function: one rule, for whatever has at most one reduction.

The reduction (convolution, depthwise convolution, dense, pooling, mean) is computed tile by tile
into a small local array that LLVM keeps in registers, under the loops of the function's last
elementwise block. Vectors run along the last axis, which is the channels in NHWC. What the rule
doesn't fit (softmax, sort, ...) keeps TVM's own loops: correct, slow, and named in the log.

Nothing here is measured or searched for; tile sizes follow from the target's vectors alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.target.codegen import target_has_features

SPATIAL, REDUCTION = 0, 2  # tirx.IterVar.iter_type: DataPar, CommReduce


@dataclass(frozen=True, kw_only=True)
class Registers:
    """What a tile must fit in.

    Attributes:
        lanes: float32 in one vector; 1 where the target has none.
        columns: values of the last axis in a tile.
        rows: values of the axis before it.
    """

    lanes: int
    columns: int
    rows: int

    @classmethod
    def of(cls, target: tvm.target.Target) -> Registers:
        """Tiles for a target: two vectors wide, seven or eight high.

        Seven rows fill x86-64's 16 registers (before AVX-512) with the two of weights, and divide
        most images' width; elsewhere there are 32. Without vectors two wide and up to 14 high: of
        the shapes tried on rv64gc the one with the fewest instructions (MobileNetV3-Large, one
        inference: 0.52e9; 4 by 4 0.70e9; TVM's own loops 1.26e9).
        """
        triple = str(target.attrs.get("mtriple", ""))
        if triple.startswith("x86_64"):
            if target_has_features("avx512f", target):
                return cls(lanes=16, columns=32, rows=8)
            return cls(
                lanes=8 if target_has_features("avx", target) else 4,
                columns=16 if target_has_features("avx", target) else 8,
                rows=7,
            )
        if triple.startswith("riscv") and not target_has_features("v", target):
            return cls(lanes=1, columns=2, rows=14)
        return cls(lanes=4, columns=8, rows=8)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How far to go.

    Attributes:
        registers: of the target.
        tiled: compute reductions in register tiles; else only vectorise them.
    """

    registers: Registers
    tiled: bool

    def apply(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """The function with new loops, or None where the rule doesn't fit."""
        schedule = s_tir.Schedule(function, error_render_level="none")
        try:
            self._apply(schedule)
        except (s_tir.ScheduleError, NotFittingError):
            return None
        return schedule.mod["main"].with_attr("tirx.is_scheduled", True)

    def _apply(self, sch: s_tir.Schedule) -> None:
        blocks = sch.get_child_blocks(sch.get_sblock("root"))
        reductions = [b for b in blocks if _is_reduction(sch, b)]
        if len(reductions) > 1:
            raise NotFittingError
        if not reductions:
            _inline(sch, blocks[:-1])
            self._elementwise(sch, blocks[-1])
            return
        at = next(i for i, b in enumerate(blocks) if _is_reduction(sch, b))
        anchor, before, after = blocks[at], blocks[:at], blocks[at + 1 :]
        for block in before:
            if _pads(sch, block):
                self._elementwise(sch, block)
            else:
                sch.compute_inline(block)
        _inline(sch, after[:-1])
        last = after[-1] if after else sch.cache_write(anchor, 0, "global")
        self._reduction(sch, anchor, last)

    def _elementwise(self, sch: s_tir.Schedule, block: Any) -> None:
        *outer, inner = sch.get_loops(block)
        _, vector = sch.split(
            inner, [None, self._width(_extent(sch, inner), 4 * self.registers.columns)]
        )
        if self.registers.lanes > 1:
            sch.vectorize(vector)
        if outer:
            # The loop next to the innermost stays whole: no division an element, and work enough.
            sch.parallel(sch.fuse(*(outer[:-1] or outer)))

    def _reduction(self, sch: s_tir.Schedule, anchor: Any, last: Any) -> None:
        registers = self.registers
        loops = sch.get_loops(last)
        if len(loops) < 2:
            raise NotFittingError
        *outer, rows, columns = loops
        width = self._width(_extent(sch, columns), registers.columns)
        vectors = -(-width // registers.lanes)
        room = registers.rows * registers.columns // registers.lanes // vectors
        height = _divisor(_extent(sch, rows), room) if self.tiled else 1
        row_tiles, row = sch.split(rows, [None, height])
        column_tiles, column = sch.split(columns, [None, width])
        sch.reorder(*outer, row_tiles, column_tiles, row, column)
        tile = sch.fuse(*outer, row_tiles, column_tiles)
        sch.parallel(tile)
        # The tile's buffer stays in scope "global": TVM puts small ones of these on the stack,
        # where LLVM finds them, and asks the runtime for each "local" one.
        sch.compute_at(anchor, tile, preserve_unit_loops=True)
        self._innermost(sch, [row, column])
        kinds = _kinds(sch, anchor)
        inner = sch.get_loops(anchor)[1:]
        if len(inner) != len(kinds):
            raise NotFittingError
        spatial = [loop for loop, kind in zip(inner, kinds, strict=True) if kind == SPATIAL]
        reduced = [loop for loop, kind in zip(inner, kinds, strict=True) if kind != SPATIAL]
        sch.reorder(*reduced, *spatial)
        self._innermost(sch, spatial)
        zero = sch.decompose_reduction(anchor, reduced[0])
        self._innermost(sch, sch.get_loops(zero)[1:])

    def _innermost(self, sch: s_tir.Schedule, tile: list[Any]) -> None:
        """Unroll a tile's loops, so that LLVM can name its values; the last becomes vectors."""
        for loop in tile[:-1]:
            sch.unroll(loop)
        if self.registers.lanes > 1:
            sch.vectorize(tile[-1])
        else:
            sch.unroll(tile[-1])

    def _width(self, extent: int, largest: int) -> int:
        """How much of the last axis at once: whole vectors where it divides so."""
        lanes = self.registers.lanes
        if extent % lanes == 0:
            return lanes * _divisor(extent // lanes, largest // lanes)
        return _divisor(extent, largest)


class NotFittingError(Exception):
    """The function is not of the form that the rule is for."""


def _kinds(sch: s_tir.Schedule, block: Any) -> list[int]:
    return [int(v.iter_type) for v in sch.get(block).iter_vars]


def _is_reduction(sch: s_tir.Schedule, block: Any) -> bool:
    kinds = _kinds(sch, block)
    if any(kind not in (SPATIAL, REDUCTION) for kind in kinds):
        raise NotFittingError
    return REDUCTION in kinds


def _extent(sch: s_tir.Schedule, loop: Any) -> int:
    try:
        return int(sch.get(loop).extent)
    except TypeError as error:  # an expression
        raise NotFittingError from error


def _divisor(extent: int, largest: int) -> int:
    """The largest divisor of an extent that is at most `largest`: no remainder, no condition."""
    return next(d for d in range(min(extent, largest), 0, -1) if extent % d == 0)


def _inline(sch: s_tir.Schedule, blocks: list[Any]) -> None:
    for block in blocks:
        sch.compute_inline(block)


def _pads(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether a block asks, for each element, if it lies inside: worth doing once an element."""
    body = sch.get(block).body
    return isinstance(body, tirx.BufferStore) and "if_then_else" in str(body.value)
