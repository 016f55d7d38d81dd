"""A search: what is tried next, how it is built and measured, and when it ends.

A function's first trial is its schedule as it is without tuning, on each device; the others follow
from the best so far and from the model of `search_space`. What a trial has measured is in the
records before the next begins. What drives it is `metaschedule`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import tvm

from toolchain.compile.compilation_request import TileRecord
from toolchain.compile.tir.register_blocking import Tile
from toolchain.core.errors import EdgewrightError
from toolchain.tuning.budget import Budget
from toolchain.tuning.devices import GoneError, MeasuringError, RemoteDevice
from toolchain.tuning.functions import UNKNOWN, Function, Shapes, candidate, shapes
from toolchain.tuning.records import Trial

# Candidates of one function before another may have its turn.
BATCH = 8
# So often what is found better is measured on a device before it counts.
CONFIRMED = 3


class BuildFailedError(Exception):
    """A candidate can't be built."""


@dataclass(kw_only=True)
class Tuning:
    """One search.

    Attributes:
        functions: what is tuned.
        devices: what measures.
        target: what is compiled for.
        build: makes a library of a module with a scheduled `main`, at a path.
        add: takes a trial to the records.
        budget: when it ends.
        scratch: a folder for libraries.
        say: takes a line of progress.
        started: when, by the monotonic clock, in seconds.
    """

    functions: list[Function]
    devices: list[RemoteDevice]
    target: tvm.target.Target
    build: Callable[[tvm.IRModule, Path], None]
    add: Callable[[Trial], None]
    budget: Budget
    scratch: Path
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)
    curve: list[tuple[int, float]] = field(default_factory=list)
    batch: list[tuple[Function, Tile]] = field(default_factory=list)
    _built: dict[str, tuple[Function, Tile, Shapes]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def alive(self) -> list[RemoteDevice]:
        """The devices that still take part."""
        return [device for device in self.devices if device.alive]

    def trials(self) -> int:
        """How many candidates have been measured, earlier searches included."""
        return sum(len({tile for tile, _ in one.trials}) for one in self.functions)

    def reference(self) -> str:
        """The device whose times the curve is in: the first that has all our own choices."""
        for device in self.devices:
            if all(math.isfinite(f.seconds(f.own, device.name)) for f in self.functions):
                return device.name
        return ""

    def inference(self, *, tuned: bool) -> float:
        """Seconds that the functions take in one inference on the reference device; or infinite."""
        host = self.reference()
        if not host:
            return UNKNOWN
        return sum(
            f.calls * f.seconds(f.own, host) * (f.best()[1] if tuned else 1.0)
            for f in self.functions
        )

    def propose(self, function: Function) -> list[tuple[Function, Tile]]:
        """The next candidates of a function; none at the end."""
        left = self.alive()
        unbuilt = (function.own, "") in function.trials
        seconds = time.monotonic() - self.started
        over = self.budget.over(trials=self.trials(), seconds=seconds)
        if not left or unbuilt or over:
            return []
        if any((function.own, device.name) not in function.trials for device in left):
            return [(function, function.own)]
        if not any(math.isfinite(function.seconds(function.own, one.name)) for one in left):
            return []  # nothing to compare with
        room = BATCH
        if self.budget.trials is not None:
            room = min(room, self.budget.trials - self.trials())
        return [(function, tile) for tile in function.untried()[:room]]

    def built(self, number: int) -> Path:
        """Build the batch's candidate of that number.

        Raises:
            BuildFailedError: it can't be built; it is never tried again.
        """
        function, tile = self.batch[number]
        path = self.scratch / f"{len(self._built)}.so"
        module = candidate(function, tile, self.target)
        self._built[path.name] = function, tile, shapes(module["main"])
        try:
            self.build(module, path)
        except EdgewrightError:
            raise  # the linker's image, or the disk: not the candidate's fault
        except Exception as error:
            # whatever a pass or LLVM raises
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._take(function, Trial(**_named(function, tile, ""), failed=lines[-1][:200]))
            raise BuildFailedError(lines[-1]) from error
        return path

    def measure(self, libraries: Sequence[Path]) -> dict[Path, Trial | None]:
        """Measure libraries, each on one device, our own choice on each of them."""
        found: dict[Path, Trial | None] = dict.fromkeys(libraries)
        own = {path for path in libraries if self._is_own(path)}
        shared: SimpleQueue[Path] = SimpleQueue()
        for library in libraries:
            if library not in own:
                shared.put(library)

        def work(device: RemoteDevice) -> None:
            mine: SimpleQueue[Path] = SimpleQueue()
            for library in own:
                mine.put(library)
            for queue in (mine, shared):
                while device.alive and not queue.empty():
                    with suppress(Empty):  # another device was quicker
                        library = queue.get_nowait()
                        found[library] = self._trial(device, library, queue) or found[library]

        ended = [device.do(partial(work, device)) for device in self.alive()]
        for one in ended:
            one.result()
        self.mark()
        return found

    def confirm(self) -> None:
        """Measure what was found better once more, and our own choice beside it.

        Of many that were measured once the best is partly the luckiest.
        """
        for function in self.functions:
            best, _ = function.best()
            hosts = {device.name for device in self.alive()}
            again = {n: len(function.trials.get((best, n), ())) < CONFIRMED for n in hosts}
            if best == function.own or not any(again.values()):
                continue
            self.say(f"measuring {function.name} again")
            self.batch = [(function, best), (function, function.own)]
            paths = [self.built(number) for number in range(len(self.batch))]
            for device in self.alive():
                for path in paths * (CONFIRMED - 1) if again[device.name] else ():
                    if device.alive:
                        device.do(partial(self._trial, device, path, SimpleQueue())).result()
            self.mark()

    def _is_own(self, library: Path) -> bool:
        function, tile, _ = self._built[library.name]
        return tile == function.own

    def _trial(self, device: RemoteDevice, library: Path, queue: SimpleQueue[Path]) -> Trial | None:
        """A library's trial on a device; it goes back to the queue when the device is gone."""
        function, tile, arguments = self._built[library.name]
        seconds: tuple[float, ...] = ()
        failed = ""
        try:
            seconds = tuple(device.seconds(library, arguments))
        except MeasuringError as error:
            failed = str(error)
        except GoneError as error:
            self.say(str(error))
            queue.put(library)
            return None
        trial = Trial(**_named(function, tile, device.name), seconds=seconds, failed=failed)
        self._take(function, trial)
        return trial

    def _take(self, function: Function, trial: Trial) -> None:
        with self._lock:
            self.add(trial)
            function.take(trial)

    def mark(self) -> None:
        """A point of the curve, once all functions have been measured as they are."""
        trials, now = self.trials(), self.inference(tuned=True)
        own = self.inference(tuned=False)
        if math.isfinite(now):
            self.curve.append((trials, now))
            self.say(f"{trials} trials; {now * 1e3:.2f} ms, untuned {own * 1e3:.2f} ms")
        else:
            self.say(f"{trials} trials; measuring our own choices first")


def _named(function: Function, tile: Tile, host: str) -> dict[str, Any]:
    """What a trial has before anything is measured."""
    return {
        "workload": function.workload,
        "function": function.name,
        "host": host,
        "tile": TileRecord(**vars(tile)),
        "own": tile == function.own,
    }
