"""Loop schedules for one fused CPU function: one rule, for whatever has at most one reduction.

The reduction (convolution, depthwise convolution, dense, pooling, mean) is computed tile by tile
into a small local array that LLVM keeps in registers, under the loops of the elementwise work that
has one value for each of its own. Vectors run along the last axis, which is the channels in NHWC.
What the rule doesn't fit (sort, scan, ...) keeps TVM's own loops: correct, slow, and named in
the log.

Nothing here is searched for at compile time: a tile follows from the target's registers
(`register_blocking`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tvm import s_tir, tirx

from toolchain.compile import tvm_versions
from toolchain.compile.tir import dot_product, padding_propagation
from toolchain.compile.tir.dot_product import DEPTH
from toolchain.compile.tir.register_blocking import (
    Extents,
    Tile,
    by_instructions,
    divisor,
    widths,
)
from toolchain.targets.instruction_sets import DotProduct, Registers

SPATIAL, REDUCTION = 0, 2  # tirx.IterVar.iter_type: DataPar, CommReduce
FLOAT = 4  # bytes
SHORT = {"int8", "int16", "int32"}  # of what is read, the sums themselves among it
TAPS = 7  # of a window, written out: more of them only in loops of fewer


@dataclass(frozen=True, kw_only=True)
class ScheduleRule:
    """The default schedule of one function, and how far it goes.

    Attributes:
        registers: of the target; the channels' axis is vectorised by its lanes.
        tiled: compute reductions in register tiles; else only vectorise them.
        choose: a reduction's tile, given what `by_instructions` is.
        dot: the target's instruction for sums of products of int8, if any.
        constant: indices of the arguments that may be packed at compile time
            (`weight_prepacking`).
        pack: columns of those that are to stand together, a multiple of a tile's; a tile's when 0.
    """

    registers: Registers
    tiled: bool
    choose: Callable[[Registers, Extents], Tile] = by_instructions
    dot: DotProduct | None = None
    constant: frozenset[int] = frozenset()
    pack: int = 0

    def apply(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """The function with new loops.

        Args:
            function: blocks under one root, all extents known, at most one of them a reduction;
                images and weights with the channels on their last axis, matrices with the columns.

        Returns:
            the same values for the same arguments, but that sums are added in another order, and
            marked `tirx.is_scheduled`. An argument in `constant` may have become packed, from
            [..., n * columns] to [n, ..., columns]. None where the rule doesn't fit.
        """
        inner, border = padding_propagation.separate_border(function)
        schedule = s_tir.Schedule(inner, error_render_level="none")
        try:
            self._apply(schedule)
        except (s_tir.ScheduleError, NotFittingError):
            return None
        scheduled = schedule.mod["main"].with_attr("tirx.is_scheduled", True)
        return scheduled if border is None else border.filled(scheduled)

    def _apply(self, sch: s_tir.Schedule) -> None:
        blocks = sch.get_child_blocks(sch.get_sblock("root"))
        reductions = [b for b in blocks if _is_reduction(sch, b)]
        if len(reductions) > 1:
            raise NotFittingError
        if not reductions:
            given = [b for b in blocks if _gives(sch, b)]  # of a split several
            _inline(sch, [b for b in blocks if not _gives(sch, b)])
            for block in given:
                self._elementwise(sch, block)
            return
        at = next(i for i, b in enumerate(blocks) if _is_reduction(sch, b))
        anchor, before, after = blocks[at], blocks[:at], blocks[at + 1 :]
        for block in before:
            if _pads(sch, block):
                self._elementwise(sch, block)
            else:
                sch.compute_inline(block)
        # What has one value for each of the reduction's is computed with it. What spreads a value
        # over an image (a channel's scale) comes after, or the reduction would be done per pixel.
        size = _size(sch, anchor)
        own = list(itertools.takewhile(lambda b: _size(sch, b) == size, after))
        rest = after[len(own) :]
        _inline(sch, own[:-1])
        _inline(sch, rest[:-1])
        self._reduction(sch, anchor, own[-1] if own else sch.cache_write(anchor, 0, "global"))
        if rest:
            self._elementwise(sch, rest[-1])

    def _elementwise(self, sch: s_tir.Schedule, block: Any) -> None:
        *outer, inner = sch.get_loops(block)
        _, vector = sch.split(inner, [None, widths(self.registers, _extent(sch, inner))[-1]])
        self._lanes(sch, vector)
        if outer:
            # The loop next to the innermost stays whole: no division an element, and work enough.
            sch.parallel(sch.fuse(*(outer[:-1] or outer)))

    def _reduction(self, sch: s_tir.Schedule, anchor: Any, last: Any) -> None:
        loops = sch.get_loops(last)
        if len(loops) < 2:
            raise NotFittingError
        *outer, rows, columns = loops
        tile = self._tile(sch, anchor, _extent(sch, rows), _extent(sch, columns))
        row_tiles, row = sch.split(rows, [None, tile.rows])
        column_tiles, column = sch.split(columns, [None, tile.vectors * tile.width])
        tiles = [*outer, row_tiles]
        tiles.insert(0 if tile.columns_first else len(tiles), column_tiles)
        sch.reorder(*tiles, row, column)
        at = sch.fuse(*tiles)
        sch.parallel(at)
        # The tile's buffer stays in scope "global": those are kept on the stack
        # (`stack_allocation`), where LLVM finds them; TVM asks the runtime for each "local" one.
        sch.compute_at(anchor, at, preserve_unit_loops=True)
        self._innermost(sch, [row, *sch.split(column, [tile.vectors, tile.width])])
        kinds = _kinds(sch, anchor)
        inner = sch.get_loops(anchor)[1:]
        if len(inner) != len(kinds):
            raise NotFittingError
        spatial = [loop for loop, kind in zip(inner, kinds, strict=True) if kind == SPATIAL]
        reduced = [loop for loop, kind in zip(inner, kinds, strict=True) if kind != SPATIAL]
        dot = self._dot(sch, anchor)
        # Four products are one step of the reduction.
        behind = [reduced.pop()] if dot else []
        sch.reorder(*reduced, *spatial, *behind)
        slides = _slides(sch, anchor)
        if self.tiled and slides:
            reduced = self._write_out(sch, reduced, TAPS)
        elif self.tiled and self.registers.indexed:
            reduced = self._load_inputs(sch, anchor, reduced, DEPTH if dot else 1)
        elif self.tiled:
            reduced = self._write_out(sch, reduced, tile.steps(self._registers(sch, anchor)))
        *others, column = spatial
        vectors, lanes = sch.split(column, [tile.vectors, tile.width])
        self._unrolled(sch, [*others, vectors])
        if not dot:
            self._lanes(sch, lanes)
        zero = sch.decompose_reduction(anchor, reduced[0])
        if dot:
            sch.tensorize(lanes, dot_product.intrinsic(dot))
        self._innermost(sch, sch.get_loops(zero)[1:])
        if self.tiled and not dot and not slides:
            self._pack(sch, anchor, tile.vectors * tile.width)

    def _pack(self, sch: s_tir.Schedule, anchor: Any, columns: int) -> None:
        """Have constant weights of a reduction by tiles of columns, where there are several."""
        described = sch.get(anchor)
        column = [v.var for v in described.iter_vars if int(v.iter_type) == SPATIAL][-1]
        function = sch.mod["main"]
        shapes, together = tvm_versions.argument_shapes(function), self.pack or columns
        for number, read in enumerate(described.reads):
            argument = tvm_versions.argument_index(function, read)
            if argument is None or argument not in self.constant or together % columns:
                continue
            *rows, last = [axis.min for axis in read.region]
            total = shapes[argument][-1]
            along = last.same_as(column) and all(
                tvm_versions.coefficient(r, column) == 0 for r in rows
            )
            if along and total > together and total % together == 0:
                sch.transform_layout(
                    anchor,
                    ("read", number),
                    lambda *axes: (axes[-1] // together, *axes[:-1], axes[-1] % together),
                )

    def _write_out(self, sch: s_tir.Schedule, reduced: list[Any], most: int) -> list[Any]:
        """Write out steps of the innermost reduction, such as the taps of a window's row.

        LLVM then sees which inputs of a window it has already. Where it unrolls the loop itself,
        the addresses of two taps have nothing in common that it could see, and each input is loaded
        as often as there are taps.

        Returns:
            the reduction's loops as they are then.
        """
        at = max((n for n, loop in enumerate(reduced) if _extent(sch, loop) > 1), default=0)
        turns, steps = sch.split(reduced[at], [None, divisor(_extent(sch, reduced[at]), most)])
        sch.unroll(steps)
        return [*reduced[:at], turns]

    def _load_inputs(
        self, sch: s_tir.Schedule, anchor: Any, reduced: list[Any], depth: int
    ) -> list[Any]:
        """Load the inputs of several steps of the reduction at once, for the lanes of a register.

        Args:
            sch: of the function.
            anchor: the reduction.
            reduced: its loops; the last is split.
            depth: inputs of one step of that loop, and of one lane.

        Returns:
            the reduction's loops as they are then.
        """
        described = sch.get(anchor)
        column = [v.var for v in described.iter_vars if int(v.iter_type) == SPATIAL][-1]
        counted = [v.var for v in described.iter_vars if int(v.iter_type) == REDUCTION]
        spread = [
            number
            for number, read in enumerate(described.reads)
            if tvm_versions.coefficient(read.region[-1].min, counted[len(reduced) - 1]) == depth
            and tvm_versions.coefficient(read.region[-1].min, column) == 0
        ]
        *outer, last = reduced
        if not spread or _extent(sch, last) % self.registers.lanes:
            return reduced
        steps, lanes = sch.split(last, [None, self.registers.lanes])
        sch.unroll(lanes)
        for number in spread:
            loaded = sch.cache_read(anchor, number, "global")
            sch.compute_at(loaded, steps, preserve_unit_loops=True)
            self._innermost(sch, sch.get_loops(loaded)[len(outer) + 2 :])
        return [*outer, steps]

    def _tile(self, sch: s_tir.Schedule, anchor: Any, rows: int, columns: int) -> Tile:
        if not self.tiled:
            return Tile(rows=1, vectors=1, width=widths(self.registers, columns)[-1])
        dot = self._dot(sch, anchor)
        steps, positions = _extents(sch, anchor, REDUCTION), _size(sch, anchor) // columns
        # The last steps are along the channels, in fours of a byte each where there are products of
        # these. A window's other steps read the same inputs again.
        size, channels = (1, math.prod(steps[-2:])) if dot else (FLOAT, steps[-1])
        of = Extents(
            rows=rows,
            columns=columns,
            stride=_stride(sch, anchor) if _slides(sch, anchor) else None,
            positions=positions,
            weights=size * columns * math.prod(steps),
            inputs=size * positions * channels,
            short=_is_short(sch, anchor),
        )
        tile = self.choose(self._registers(sch, anchor), of)
        if dot:
            vectors = tile.vectors * tile.width // dot.lanes
            return replace(tile, vectors=vectors, width=dot.lanes)
        return tile

    def _registers(self, sch: s_tir.Schedule, anchor: Any) -> Registers:
        """The registers as a reduction uses them."""
        return self.registers.of_integers() if _is_short(sch, anchor) else self.registers

    def _dot(self, sch: s_tir.Schedule, anchor: Any) -> DotProduct | None:
        """The instruction that fits a reduction: its weights are packed for it (`quantization`)."""
        described = sch.get(anchor)
        if self.dot is None or not self.tiled or _type_of(described.body) != "int32":
            return None
        spatial, reduced = (
            [v for v in described.iter_vars if int(v.iter_type) == kind]
            for kind in (SPATIAL, REDUCTION)
        )
        last = [spatial[-1].var, reduced[-1].var]
        packed = int(reduced[-1].dom.extent) == DEPTH and any(
            len(read.region) >= len(last)
            and all(a.min.same_as(b) for a, b in zip(read.region[-2:], last, strict=True))
            for read in described.reads
        )
        return self.dot if packed else None

    def _innermost(self, sch: s_tir.Schedule, loops: list[Any]) -> None:
        """Unroll a tile's loops, so that LLVM can name its values; the last becomes vectors."""
        *outer, lanes = loops
        self._unrolled(sch, outer)
        self._lanes(sch, lanes)

    def _unrolled(self, sch: s_tir.Schedule, loops: list[Any]) -> None:
        for loop in loops:
            sch.unroll(loop)

    def _lanes(self, sch: s_tir.Schedule, loop: Any) -> None:
        if self.registers.lanes > 1:
            sch.vectorize(loop)
        else:
            sch.unroll(loop)


class NotFittingError(Exception):
    """The function is not of the form that the rule is for."""


def _kinds(sch: s_tir.Schedule, block: Any) -> list[int]:
    return [int(v.iter_type) for v in sch.get(block).iter_vars]


def _is_reduction(sch: s_tir.Schedule, block: Any) -> bool:
    kinds = _kinds(sch, block)
    if any(kind not in (SPATIAL, REDUCTION) for kind in kinds):
        raise NotFittingError
    return REDUCTION in kinds


def _slides(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether all that a reduction reads goes along with its last axis, and nothing is spread."""
    described = sch.get(block)
    column = [v.var for v in described.iter_vars if int(v.iter_type) == SPATIAL][-1]
    return all(
        tvm_versions.coefficient(read.region[-1].min, column) == 1 for read in described.reads
    )


def _stride(sch: s_tir.Schedule, block: Any) -> int:
    """How far a window moves from one position of the innermost axis but one to the next."""
    described = sch.get(block)
    row = [v.var for v in described.iter_vars if int(v.iter_type) == SPATIAL][-2]
    steps = [
        tvm_versions.coefficient(axis.min, row) for read in described.reads for axis in read.region
    ]
    return max(1, *(step or 0 for step in steps))


def _type_of(body: Any) -> str:
    """The type of what a block stores, such as "int32"."""
    return tvm_versions.scalar_type(body.value) if isinstance(body, tirx.BufferStore) else ""


def _is_short(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether a reduction adds products of int16 (or of int16 and int8) in int32."""
    described = sch.get(block)
    kinds = [tvm_versions.region_type(read) for read in described.reads]
    return _type_of(described.body) == "int32" and "int16" in kinds and set(kinds) <= SHORT


def _size(sch: s_tir.Schedule, block: Any) -> int:
    """How many values a block computes."""
    return math.prod(_extents(sch, block, SPATIAL))


def _extents(sch: s_tir.Schedule, block: Any, kind: int) -> list[int]:
    """How far a block goes along each of its axes of a kind."""
    extents = [v.dom.extent for v in sch.get(block).iter_vars if int(v.iter_type) == kind]
    try:
        return [int(extent) for extent in extents]
    except TypeError as error:  # an expression
        raise NotFittingError from error


def _extent(sch: s_tir.Schedule, loop: Any) -> int:
    try:
        return int(sch.get(loop).extent)
    except TypeError as error:  # an expression
        raise NotFittingError from error


def _inline(sch: s_tir.Schedule, blocks: list[Any]) -> None:
    for block in blocks:
        sch.compute_inline(block)


def _gives(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether a block computes an output of the function, which can't be written into another."""
    (written,) = sch.get(block).writes
    return tvm_versions.argument_index(sch.mod["main"], written) is not None


def _pads(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether a block asks, for each element, if it lies inside: worth doing once an element."""
    body = sch.get(block).body
    return isinstance(body, tirx.BufferStore) and "if_then_else" in str(body.value)
