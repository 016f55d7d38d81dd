"""A fleet of many boards, and a matrix of many jobs, simulated: how long, and what is full first.

    python -m pip install --require-hashes -r benchmarks/scale/requirements.txt
    python -m benchmarks.scale.simulation

What a board and a job cost is measured (`costs_of_boards`, `costs_of_jobs`); what no measurement
here says (links, boards' own time, boards that are away) is an option. Discrete events, by simpy:
each resource serves in the order of asking. One process deploys, in which Python computes one thing
at a time, so its processor is one.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from deploy.ssh import login
from toolchain.commandline import console

PIECE = 256 << 10  # bytes after which a link serves another board
Events = Generator[Any, Any, None]


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a deployment to one board costs.

    Attributes:
        processor: seconds of this machine's.
        trips: to the board and back, one after another.
        sent: bytes to it.
        own: seconds that it works by itself.
    """

    processor: float
    trips: int
    sent: float
    own: float


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where the boards stand.

    Attributes:
        trip: seconds to one and back.
        uplink: bytes a second from here, to all of them.
        downlink: bytes a second to each.
        away: share of boards that don't answer.
        stuck: share of boards that answer, and then nothing more.
        step: seconds after which such a one is given up.
    """

    trip: float
    uplink: float
    downlink: float
    away: float
    stuck: float
    step: float


@dataclass
class Used:
    """A resource, and for how long it was held."""

    environment: simpy.Environment
    places: int
    seconds: float = 0.0
    resource: simpy.Resource = field(init=False)

    def __post_init__(self) -> None:
        self.resource = simpy.Resource(self.environment, self.places)

    def hold(self, seconds: float) -> Events:
        """Wait for a place, and have it for so long."""
        with self.resource.request() as place:
            yield place
            yield self.environment.timeout(seconds)
        self.seconds += seconds

    @property
    def share(self) -> float:
        """Of all its places over all the time, how much was held."""
        return self.seconds / self.places / float(self.environment.now)


def fleet(count: int, parallel: int, board: Board, around: Surroundings) -> dict[str, float]:
    """Deploy to so many boards, so many at once: seconds, and the share of each resource."""
    environment, drawn = simpy.Environment(), np.random.default_rng(1)
    slots, processor, uplink = (Used(environment, n) for n in (parallel, 1, 1))

    def one(fate: float) -> Events:
        with slots.resource.request() as slot:
            yield slot
            began = environment.now
            if fate < around.away:
                yield environment.timeout(login.CONNECT_LIMIT)
            elif fate < around.away + around.stuck:
                yield environment.timeout(around.step)
            else:
                yield from deployment()
            slots.seconds += environment.now - began

    def deployment() -> Events:
        for _ in range(board.trips):
            yield from processor.hold(board.processor / board.trips)
            yield environment.timeout(around.trip)
        left = board.sent
        while left > 0:
            piece = min(left, PIECE)
            yield from uplink.hold(piece / around.uplink)
            yield environment.timeout(max(0.0, piece / around.downlink - piece / around.uplink))
            left -= piece
        yield environment.timeout(board.own)

    for _ in range(count):
        environment.process(one(float(drawn.random())))
    environment.run()
    return {
        "seconds": environment.now,
        "places": slots.share, "processor": processor.share, "uplink": uplink.share,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a job on a cluster costs.

    Attributes:
        worker: seconds that it takes there.
        client: seconds of the processor of who asks.
        scheduler: seconds of the scheduler's.
        taken: bytes that are taken from the team's cache, one job at a time.
        rate: bytes a second of that cache.
    """

    worker: float
    client: float
    scheduler: float
    taken: float
    rate: float


def matrix(count: int, workers: int, work: Work) -> dict[str, float]:
    """Have so many jobs done by so many workers of one thread."""
    environment = simpy.Environment()
    threads = simpy.Resource(environment, max(16, 2 * workers))  # of `ClusterExecutor`
    there, client, scheduler, cache = (Used(environment, n) for n in (workers, 1, 1, 1))

    def one() -> Events:
        with threads.request() as thread:
            yield thread
            yield from client.hold(work.client)
            yield from scheduler.hold(work.scheduler)
            yield from there.hold(work.worker)
            yield from cache.hold(work.taken / work.rate)

    for _ in range(count):
        environment.process(one())
    environment.run()
    return {
        "seconds": environment.now, "workers": there.share, "client": client.share,
        "scheduler": scheduler.share, "cache": cache.share,
    }  # fmt: skip


def _row(first: Sequence[str], found: dict[str, float]) -> list[str]:
    shares = {name: share for name, share in found.items() if name != "seconds"}
    full = max(shares, key=lambda name: shares[name])
    return [*first, _time(found["seconds"]), *(f"{s:.0%}" for s in shares.values()), full]


def _time(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _boards(asked: argparse.Namespace) -> None:
    around = Surroundings(
        trip=asked.trip / 1e3,
        uplink=asked.uplink * 125e3,
        downlink=asked.downlink * 125e3,
        away=asked.away / 100,
        stuck=asked.stuck / 100,
        step=asked.step_limit,
    )
    rows = []
    for changed in (False, True):
        board = Board(
            processor=(asked.changed_ms if changed else asked.unchanged_ms) / 1e3,
            trips=asked.changed_trips if changed else asked.unchanged_trips,
            sent=asked.megabytes * 1e6 if changed else 0.0,
            own=asked.installs if changed else asked.looks,
        )
        for count in (10, 100, 1_000, 10_000):
            for parallel in (10, 50, 200):
                first = ["changed" if changed else "unchanged", f"{count:,}", str(parallel)]
                rows.append(_row(first, fleet(count, parallel, board, around)))
    columns = ["", "boards", "--parallel", "takes"]
    shares = ["places", "processor", "uplink", "fullest"]
    console.show_table("deployments", [*columns, *shares], rows)


def _jobs(asked: argparse.Namespace) -> None:
    work = Work(
        worker=asked.job_seconds,
        client=asked.client_ms / 1e3,
        scheduler=asked.scheduler_ms / 1e3,
        taken=asked.library_mb * 1e6,
        rate=asked.cache_mb * 1e6,
    )
    rows = [
        _row([f"{count:,}", f"{workers:,}"], matrix(count, workers, work))
        for count in (1_000, 100_000)
        for workers in (4, 32, 256, 1_024)
    ]
    columns = ["jobs", "workers", "takes", "workers", "client", "scheduler", "cache", "fullest"]
    console.show_table("jobs", columns, rows)


# What was measured, then what is assumed.
OPTIONS = {
    "unchanged-ms": (44.0, "processor of a board that has the release, ms"),
    "changed-ms": (107.0, "processor of one that is sent it, ms"),
    "unchanged-trips": (10, "to a board that has it"),
    "changed-trips": (130, "to one that is sent it"),
    "megabytes": (5.4, "sent to a board"),
    "client-ms": (13.0, "processor of who asks, a job"),
    "scheduler-ms": (6.4, "processor of the scheduler, a job"),
    "trip": (20.0, "ms to a board and back"),
    "uplink": (1000.0, "Mbit/s from here"),
    "downlink": (50.0, "Mbit/s to a board"),
    "away": (1.0, "boards in a hundred that don't answer"),
    "stuck": (0.1, "boards in a hundred that answer and then say nothing"),
    "step-limit": (1000.0, "seconds after which these are given up"),
    "looks": (0.3, "seconds of a board's own when nothing changed"),
    "installs": (20.0, "seconds that a board installs"),
    "job-seconds": (15.0, "of a compilation"),
    "library-mb": (5.0, "taken from the cache, a job"),
    "cache-mb": (100.0, "MB/s of that cache"),
}


def main() -> None:
    """Simulate and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, (default, what) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=what)
    asked = parser.parse_args()
    _boards(asked)
    _jobs(asked)


if __name__ == "__main__":
    main()
