"""Times functions on devices over TVM's RPC, each device by one session at a time.

A device is a server that answers on 127.0.0.1: what leads there, and that it leads there again
after the link was lost, is the caller's. Here a device that doesn't answer is waited for, and given
up when it stays away.
"""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import tvm
from tvm import rpc

# A session measures one function; the server ends one that takes longer.
SESSION_S = 90
# Each run finds the caches as in an inference; see `deploy/agent/programs/rpc_server.py`.
PREPARATION = "edgewright.as_in_an_inference"
MEASURED_S, FEWEST, MOST = 0.25, 5, 60
RETRY_S = 2.0
# One failure may be the link's.
TRIES = 2


class MeasuringError(Exception):
    """The function could not be measured; the device is well."""


class GoneError(Exception):
    """The device stayed away."""


def plausible_seconds(times: list[float]) -> list[float]:
    """Times in seconds as a device says them, when they can be some.

    Raises:
        MeasuringError: there is none, or one is zero, negative, infinite or no number.
    """
    wrong = [seconds for seconds in times if not (math.isfinite(seconds) and seconds > 0)]
    if wrong or not times:
        raise MeasuringError(f"the device says it took {wrong[0] if wrong else 'no time'}")
    return times


@dataclass(kw_only=True)
class RemoteDevice:
    """A device that measures.

    Attributes:
        name: in the inventory.
        port: on 127.0.0.1.
        key: what its server wants to hear.
        say: takes a line when something is out of the ordinary.
        away: seconds to wait for a device that doesn't answer.
        alive: whether it still takes part.
    """

    name: str
    port: int
    key: str = field(repr=False)
    say: Callable[[str], None]
    away: float
    alive: bool = True
    _jobs: SimpleQueue[tuple[Callable[[], object], Future[None]]] = field(
        default_factory=SimpleQueue, repr=False
    )

    def __post_init__(self) -> None:
        """Start the device's thread: its sessions are used there and nowhere else."""
        threading.Thread(target=self._work, daemon=True).start()

    def do(self, job: Callable[[], object]) -> Future[None]:
        """Do something in the device's thread: whatever uses a session."""
        done: Future[None] = Future()
        self._jobs.put((job, done))
        return done

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                job()
            except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
                done.set_exception(error)
            else:
                done.set_result(None)

    def seconds(self, library: Path, shapes: list[tuple[tuple[int, ...], str]]) -> list[float]:
        """Each run's time of a library's `main`.

        Args:
            library: for the device.
            shapes: of the function's arguments, with their types.

        Raises:
            MeasuringError: it crashes, or takes too long.
            GoneError: the device stayed away.
        """
        failure = ""
        for _ in range(TRIES):
            try:
                return self._measured(self._session(), library, shapes)
            except GoneError:
                raise
            except Exception as error:  # noqa: BLE001 (whatever TVM makes of an error from there)
                failure = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise MeasuringError(failure[:200])

    def _session(self) -> Any:
        """A session with its server, waited for when it is away."""
        # A server has one at a time, and the last may live on in a cycle, or a failed one in its
        # error: this one would wait for it for ever.
        gc.collect()
        began = time.monotonic()
        while True:
            try:
                return rpc.connect("127.0.0.1", self.port, self.key, session_timeout=SESSION_S)
            except Exception as error:  # refused or cut off, in TVM's words
                gone = time.monotonic() - began
                if gone > self.away:
                    self.alive = False
                    raise GoneError(f"{self.name} stayed away for {gone:.0f} s") from error
                self.say(f"{self.name} does not answer; waiting for it")
                time.sleep(RETRY_S)

    def _measured(
        self, session: Any, library: Path, shapes: list[tuple[tuple[int, ...], str]]
    ) -> list[float]:
        session.upload(bytearray(library.read_bytes()), library.name)
        module = session.load_module(library.name)
        device = session.cpu(0)
        fill = session.get_function("tvm.contrib.random.random_fill_for_measure")
        arguments = []
        for shape, kind in shapes:
            arguments.append(tvm.runtime.empty(shape, kind, device))
            fill(arguments[-1])

        def runs(repeat: int) -> list[float]:
            evaluate = module.time_evaluator(
                "main", device, number=1, repeat=repeat, f_preproc=PREPARATION
            )
            return plausible_seconds([float(seconds) for seconds in evaluate(*arguments).results])

        first = statistics.median(runs(3))
        found = runs(int(max(FEWEST, min(MOST, MEASURED_S / max(first, 1e-6)))))
        session.remove(library.name)
        return found
