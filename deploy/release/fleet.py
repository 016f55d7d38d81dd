"""The same work on many devices: some first, so many at once, none able to hold up the rest.

Each device has a thread of its own. One that says nothing new for longer than the limit of a step
is given up: its connection is cut, which ends on the device what we started there, and nothing is
begun there any more. What the work is, is the caller's.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic_core import to_jsonable_python

from deploy.inventory.reading import Device
from deploy.ssh import connection
from deploy.ssh.connection import Connection
from toolchain.core.errors import (
    ConnectionFailed,
    DeviceRefused,
    EdgewrightError,
    HostKeyError,
    OutcomeUnknown,
    UsageError,
)

# After its connection is cut a device's thread has so long to say what it knows.
LAST_WORDS = 1.5
TICK = 0.25

Status = Literal["done", "unchanged", "refused", "failed", "unknown", "skipped"]
GOOD: tuple[Status, ...] = ("done", "unchanged")
Show = Callable[[str, str, str], None]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a fleet is gone through.

    Attributes:
        parallel: devices at once.
        step: seconds in which a device must come to its next step, or send more bytes.
        canary: devices that go first; the others only when all of these are good.
        failures: after so many devices that are not good no other is begun; 0 is never.
    """

    parallel: int = 10
    step: float = 1000.0
    canary: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: a number is too small.
        """
        if self.parallel < 1 or self.step <= 0 or self.canary < 0 or self.failures < 0:
            raise UsageError(
                "a limit of the fleet is too small",
                detail=f"{self}",
                resolution="--parallel and --step-limit start at 1, --canary and --max-failures "
                "at 0",
            )


@dataclass(frozen=True)
class Done(Generic[T_co]):
    """What work came to on a device where it went well, and its value."""

    value: T_co
    status: Literal["done", "unchanged"] = "done"


@dataclass(frozen=True, kw_only=True)
class HostResult(Generic[T]):
    """What became of one device.

    Attributes:
        status: `done` and `unchanged` are what the device itself said; `unknown` is a device that
            may have been changed and can't be asked; `skipped` was never begun.
        error: what went wrong, as the task shows it.
        value: what the work returned, where it went well.
        seconds: from its beginning to its end.
    """

    host: str
    status: Status
    error: EdgewrightError | None = None
    value: T | None = None
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the device is as it was asked to be."""
        return self.status in GOOD

    def plain(self) -> dict[str, object]:
        """For programs."""
        error = self.error
        return {
            "host": self.host,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "brief": error.brief if error else "",
            "detail": error.detail if error else "",
            "resolution": error.resolution if error else "",
            "value": to_jsonable_python(self.value),
        }


@dataclass(kw_only=True, eq=False)
class Attempt:
    """The work on one device, under way. What the work function is given."""

    device: Device
    show: Show
    started: float = field(default_factory=time.monotonic)
    given_up: bool = False
    _said: float = field(default_factory=time.monotonic)
    _line: str = ""
    _open: list[Connection] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def say(self, line: str) -> None:
        """Tell the next step, or that bytes were sent.

        Raises:
            ConnectionFailed: the device was given up; no step may follow.
        """
        if self.given_up:
            raise ConnectionFailed(f"{self.device.name}: given up")
        if line != self._line:
            self._said, self._line = time.monotonic(), line
            self.show(self.device.name, "running", line)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection that ends when the device is given up.

        Raises:
            ConnectionFailed: also when the device was given up in the meantime.
        """
        self.say("connecting")
        with connection.connect(self.device) as conn:
            with self._guard:
                if self.given_up:
                    raise ConnectionFailed(f"{self.device.name}: given up")
                self._open.append(conn)
            try:
                yield conn
            finally:
                with self._guard:
                    self._open.remove(conn)

    def overdue(self, limit: float) -> bool:
        """Whether it has been at one step for longer than that."""
        return time.monotonic() - self._said > limit

    def give_up(self) -> bool:
        """Cut what is open and let nothing more be begun. Whether something was open."""
        with self._guard:
            self.given_up = True
            for conn in self._open:
                conn.abort()
            return bool(self._open)

    def too_long(self, limit: float, *, connected: bool) -> tuple[Status, EdgewrightError]:
        """What a device is whose thread did not even end when it was cut off, and why."""
        brief = f"{self.device.name}: no answer within {limit:.0f} s, at: {self._line}"
        if connected:
            return "unknown", OutcomeUnknown(brief)
        return "failed", ConnectionFailed(brief)

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started


Work = Callable[[Attempt], Done[T]]


def run(
    devices: Sequence[Device], work: Work[T], *, limits: Limits, show: Show
) -> list[HostResult[T]]:
    """Do the work on every device; one result each, in the order given.

    Args:
        devices: where.
        work: returns what it came to, or raises an EdgewrightError.
        limits: how many at once, how long, which first, when to stop.
        show: told (name, state, line): `running` and its step, or the final status and why.
    """
    crew = _Crew(work, limits, show)
    try:
        first = devices[: limits.canary]
        crew.go_through(first)
        if all(r.good for r in crew.results.values()):
            crew.go_through(devices[len(first) :])
    finally:
        crew.give_up()
    for device in devices:
        if device.name not in crew.results:
            crew.collect(HostResult(host=device.name, status="skipped"))
    return [crew.results[device.name] for device in devices]


class _Crew(Generic[T]):
    """The threads, and what came of those that ended."""

    def __init__(self, work: Work[T], limits: Limits, show: Show) -> None:
        self.work, self.limits, self.show = work, limits, show
        self.results: dict[str, HostResult[T]] = {}
        self.ended: queue.Queue[tuple[Attempt, HostResult[T]]] = queue.Queue()
        self.active: list[Attempt] = []

    def go_through(self, devices: Sequence[Device]) -> None:
        waiting = deque(devices)
        while self.active or (waiting and not self.stopped()):
            while waiting and len(self.active) < self.limits.parallel and not self.stopped():
                self.begin(waiting.popleft())
            self.next_end(TICK)
            for attempt in [a for a in self.active if a.overdue(self.limits.step)]:
                self.end(attempt)

    def stopped(self) -> bool:
        bad = sum(not r.good for r in self.results.values())
        return 0 < self.limits.failures <= bad

    def begin(self, device: Device) -> None:
        attempt = Attempt(device=device, show=self.show)
        self.active.append(attempt)
        # not awaited at the process's end: a device that can't be outlasted must not hold it up
        threading.Thread(target=self.attend, args=(attempt,), daemon=True).start()

    def attend(self, attempt: Attempt) -> None:
        name = attempt.device.name
        try:
            done = self.work(attempt)
            result = HostResult(
                host=name, status=done.status, value=done.value, seconds=attempt.seconds()
            )
        except OutcomeUnknown as error:
            result = _bad(attempt, "unknown", error)
        except (DeviceRefused, HostKeyError) as error:
            result = _bad(attempt, "refused", error)
        except EdgewrightError as error:
            result = _bad(attempt, "failed", error)
        except Exception as error:  # noqa: BLE001 (a defect met at one device spares the others)
            what = f"{name}: {type(error).__name__}: {error}"
            result = _bad(attempt, "failed", EdgewrightError(what))
        self.ended.put((attempt, result))

    def next_end(self, within: float) -> None:
        with suppress(queue.Empty):
            attempt, result = self.ended.get(timeout=within)
            if attempt in self.active:
                self.active.remove(attempt)
                self.collect(result)

    def end(self, attempt: Attempt) -> None:
        """Give one device up, and hear what its thread still has to say."""
        connected = attempt.give_up()
        until = time.monotonic() + (LAST_WORDS if connected else 0)
        while attempt in self.active and (left := until - time.monotonic()) > 0:
            self.next_end(left)
        if attempt in self.active:
            self.active.remove(attempt)
            self.collect(_bad(attempt, *attempt.too_long(self.limits.step, connected=connected)))

    def collect(self, result: HostResult[T]) -> None:
        self.results[result.host] = result
        self.show(result.host, result.status, result.error.brief if result.error else "")

    def give_up(self) -> None:
        """When the whole is broken off: leave nothing running there."""
        for attempt in self.active:
            attempt.give_up()


def _bad(attempt: Attempt, status: Status, error: EdgewrightError) -> HostResult[Any]:
    """The result of a device that is not as it was asked to be; it has no value."""
    return HostResult(
        host=attempt.device.name, status=status, error=error, seconds=attempt.seconds()
    )
