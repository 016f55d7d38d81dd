"""The functions of a model that can be tuned, and what is known of each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import tvm
from tvm import tirx
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from toolchain.compile import pipeline
from toolchain.compile.tir import multiversioning, search_space, target_code, weight_prepacking
from toolchain.compile.tir.default_schedule import ScheduleRule
from toolchain.compile.tir.register_blocking import Tile
from toolchain.targets.instruction_sets import Registers
from toolchain.tuning import records
from toolchain.tuning.records import Trial

UNKNOWN = float("inf")

# of a function's arguments, with their types
Shapes = list[tuple[tuple[int, ...], str]]


@dataclass(kw_only=True)
class Function:
    """A function that can be tuned, and what is known of it.

    Attributes:
        name: in the model.
        workload: its hash.
        calls: how often an inference calls it.
        function: without a schedule.
        constant: numbers of its arguments that are constants.
        tiles: its space, our own choice first.
        trials: what was measured of it, by tile and device.
    """

    name: str
    workload: str
    calls: int
    function: tirx.PrimFunc
    constant: frozenset[int]
    tiles: list[Tile]
    trials: dict[tuple[Tile, str], list[Trial]] = field(default_factory=dict)

    @property
    def own(self) -> Tile:
        """What our schedules choose."""
        return self.tiles[0]

    def take(self, trial: Trial) -> None:
        """Remember a trial."""
        tile = Tile(**trial.tile.model_dump())
        self.trials.setdefault((tile, trial.host), []).append(trial)

    def seconds(self, tile: Tile, host: str) -> float:
        """The median time of a tile on a device; infinite when there is none."""
        medians = [t.median for t in self.trials.get((tile, host), ())]
        return statistics.median(medians) if medians else UNKNOWN

    def ratio(self, tile: Tile) -> float:
        """A tile's time over our own choice's on the same devices; infinite when unknown."""
        found = [
            self.seconds(tile, host) / self.seconds(self.own, host)
            for host in {host for _, host in self.trials}
            if math.isfinite(self.seconds(tile, host))
            and math.isfinite(self.seconds(self.own, host))
        ]
        return statistics.median(found) if found else UNKNOWN

    def best(self) -> tuple[Tile, float]:
        """The tile to use, and its ratio: our own where no other is worth having."""
        tile, ratio = min(((t, self.ratio(t)) for t in self.tiles), key=lambda found: found[1])
        return (tile, ratio) if ratio <= records.WORTH else (self.own, 1.0)

    def untried(self) -> list[Tile]:
        """The other tiles: in turn the nearest to the best so far, and the model's next."""
        tried = {tile for tile, _ in self.trials}
        left = [tile for tile in self.tiles[1:] if tile not in tried]
        best, _ = self.best()
        near = sorted(left, key=lambda tile: _distance(tile, best))
        return list(dict.fromkeys(tile for pair in zip(near, left, strict=True) for tile in pair))


def functions(
    module: tvm.IRModule, registers: Registers, calls: Callable[[str], int]
) -> list[Function]:
    """What of a lowered module can be tuned, each workload once.

    Args:
        module: from `pipeline.lower`.
        registers: of the target.
        calls: how often an inference calls the function of that name.
    """
    found: dict[str, Function] = {}
    constant = weight_prepacking.constant_arguments(module)
    for variable, function in module.functions_items():
        if not isinstance(function, tirx.PrimFunc):
            continue
        extents = search_space.extents(function, registers)
        if extents is None:
            continue
        name, key = variable.name_hint, search_space.workload(function)
        given = constant.get(name, frozenset())
        if key in found:
            found[key].calls += calls(name)
            found[key].constant &= given
            continue
        tiles = search_space.tiles(extents, registers)
        found[key] = Function(
            name=name, workload=key, calls=calls(name), function=function, constant=given,
            tiles=tiles,
        )  # fmt: skip
    return list(found.values())


def candidate(function: Function, tile: Tile, target: tvm.target.Target) -> tvm.IRModule:
    """A module whose `main` is a function with a tile, in all forms that a compilation makes.

    So a device measures what it would run. `pipeline.build_functions` makes a library of it.
    """
    registers, longer = target_code.registers(target), multiversioning.longer(target)
    main = function.function.with_attr("global_symbol", "main")
    rule = ScheduleRule(
        registers=registers,
        tiled=True,
        choose=search_space.chosen({function.workload: tile}, main, registers),
        dot=target_code.dot_product(target),
        constant=function.constant,
    )
    forms = multiversioning.forms(rule, main, target_code.registers(longer) if longer else None)
    assert forms is not None, "it had extents"
    module = tvm.IRModule({"main": main})
    pipeline.put_forms(module, module.get_global_var("main"), forms, target)
    return module


def shapes(function: tirx.PrimFunc) -> Shapes:
    """The shapes and types of a function's arguments."""
    arguments = ArgInfo.from_prim_func(function)
    return [(tuple(int(extent) for extent in a.shape), str(a.dtype)) for a in arguments]


def _distance(one: Tile, other: Tile) -> float:
    """How many doublings lie between two tiles; the order of loops counts as one."""
    return (
        abs(math.log2(one.rows / other.rows))
        + abs(math.log2(one.vectors / other.vectors))
        + abs(math.log2(one.width / other.width))
        + (one.columns_first != other.columns_first)
    )
