"""Tiles that fit a CPU's vector registers, by a model of the instructions that each takes.

What was measured to find the model stands in benchmarks/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolchain.targets.instruction_sets import Registers


@dataclass(frozen=True, kw_only=True)
class Extents:
    """What a tile divides in an output [..., rows, columns], and how much is read for it.

    Attributes:
        rows: the output's last axis but one: positions along an image's row (NHWC), or samples.
        columns: its last axis: channels.
        stride: of the window where each channel is computed from itself alone, else none.
        positions: all, of each row of the image and each image.
        weights: bytes of these.
        inputs: bytes of these.
        short: whether inputs and weights are int16, and sums int32.
    """

    rows: int
    columns: int
    stride: int | None = None
    positions: int = 0
    weights: int = 0
    inputs: int = 0
    short: bool = False


@dataclass(frozen=True, kw_only=True)
class Tile:
    """What is computed at once, its sums in registers.

    Attributes:
        rows: positions of the image, or of the batch.
        vectors: vectors of channels.
        width: channels in one of them.
        columns_first: go through all positions with the weights of one tile of channels, before the
            next tile; else through all channels with the inputs of one tile of positions.
    """

    rows: int
    vectors: int
    width: int
    columns_first: bool = False

    def steps(self, registers: Registers) -> int:
        """How many steps of the reduction one turn of its loop takes.

        LLVM loads for a step while the one before still computes. Where inputs need registers too,
        one for each load must be left, or sums are spilled.
        """
        group = registers.grouped(self.width)
        used = self.rows * self.vectors * group + self.rows + self.vectors * group
        return registers.steps if not registers.inputs or used < registers.count - 1 else 1

    @classmethod
    def of(cls, registers: Registers, rows: int, columns: int) -> Tile:
        """The tile with the most multiply-adds an instruction, of those that divide the extents.

        It is for sums over the products of an input [rows, k] and weights [k, columns], where k is
        all of the reduction or one position of a window. One step of it loads `vectors` of weights,
        broadcasts `rows` of the input, and does `rows` times `vectors` multiply-adds.

        Args:
            registers: of the target.
            rows: positions that a tile's rows are to divide.
            columns: channels that its `vectors` times `width` are to divide.
        """
        best, most = cls(rows=1, vectors=1, width=divisor(columns, registers.lanes)), 0.0
        for width in widths(registers, columns):
            group = registers.grouped(width)
            for vectors in divisors(columns // width, registers.count):
                if registers.indexed:
                    room = (registers.count - vectors) // (vectors + 1)
                else:
                    room = ((registers.count - registers.inputs) // group - vectors) // vectors
                height = divisor(rows, room) if room > 0 else 0
                if not height:
                    continue
                work = height * vectors
                inputs = height / registers.lanes if registers.indexed else height
                weights = vectors * registers.loads(width)
                rate = work * width / (work + inputs + weights + registers.besides(width))
                if rate > most:
                    best, most = cls(rows=height, vectors=vectors, width=width), rate
        return best

    @classmethod
    def sliding(
        cls, registers: Registers, rows: int, columns: int, stride: int, *, short: bool = False
    ) -> Tile:
        """The tile of a window over each channel alone: depthwise convolution, pooling, mean.

        Each position has a sum, and `stride` inputs that later taps of the window need again at
        another position, so that each is loaded once. Two registers are for weights and for the
        next input. Groups of more than two would leave too few of them (with RVV, groups of two at
        seven positions took the fewest instructions of what was tried).

        Args:
            registers: of the target.
            rows: positions of an image's row that a tile's rows are to divide.
            columns: channels that its width is to divide.
            stride: of the window along the row, 1 or more.
            short: inputs and weights are int16 and sums int32, of twice as many registers; then
                groups of four hold the sums.
        """
        most = registers.lanes * min(registers.group, 4 if short else 2)
        width = [w for w in widths(registers, columns) if w <= most][-1]
        group = registers.grouped(width)
        input_ = max(1, group // 2) if short else group
        room = (registers.count - 2 * input_) // (group + stride * input_)
        return cls(rows=divisor(rows, max(1, room)), vectors=1, width=width)


def by_instructions(registers: Registers, of: Extents) -> Tile:
    """The tile that needs the fewest instructions by the model of `Tile`.

    Of the two orders of tiles it has the one that reads less from behind the cache.

    Args:
        registers: of the target.
        of: what the tile is to divide.
    """
    if of.stride is not None:
        return Tile.sliding(registers, of.rows, of.columns, of.stride, short=of.short)
    tile = Tile.of(registers, of.rows, of.columns)
    if tile.vectors * tile.width == of.columns:
        return tile
    return replace(
        tile,
        columns_first=_read(registers, tile, of, True) < _read(registers, tile, of, False),
    )


def _read(registers: Registers, tile: Tile, of: Extents, columns_first: bool) -> int:
    """Bytes that are read from behind the cache when tiles are gone through in an order.

    What the inner tiles need is read again for each of the outer ones, if it does not stay there.
    """
    inner, outer, turns = of.weights, of.inputs, of.positions // tile.rows
    if columns_first:
        inner, outer, turns = of.inputs, of.weights, of.columns // (tile.vectors * tile.width)
    return outer + inner * (turns if inner > registers.kept else 1)


def widths(registers: Registers, columns: int) -> list[int]:
    """Vectors that divide an axis: of whole registers, else the largest that fit in one.

    These are the largest of all and that of a power of two. Where an instruction may work on any
    number of lanes, all that fit in a group of registers.

    Args:
        registers: of the target.
        columns: extent of the axis, 1 or more.

    Returns:
        numbers of float32, ascending; never none.
    """
    if registers.resized is not None:
        return divisors(columns, registers.lanes * registers.group)
    whole = []
    width = registers.lanes
    while width <= registers.lanes * registers.group:
        if columns % width == 0:
            whole.append(width)
        width *= 2
    largest = divisor(columns, registers.lanes)
    return whole or sorted({columns & -columns, largest})


def divisor(extent: int, largest: int) -> int:
    """The largest divisor of an extent that is at most `largest`: no remainder, no condition."""
    return next(d for d in range(min(extent, largest), 0, -1) if extent % d == 0)


def divisors(extent: int, largest: int) -> list[int]:
    """All divisors of an extent that are at most `largest`, ascending."""
    return [d for d in range(1, min(extent, largest) + 1) if extent % d == 0]
