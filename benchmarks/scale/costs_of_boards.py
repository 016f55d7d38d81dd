"""What this machine spends on a board: processor, memory and bytes on the wire, by boards at once.

    unshare --net sh -c 'ip link set lo up; exec python -m benchmarks.scale.costs_of_boards'

The boards are sshds of this machine on 127.0.0.1, as in `benchmarks.deploy`; processor and memory
are of the process that deploys, alone. Bytes are what passes the loopback, both directions, headers
included: in a network namespace of its own nothing else does. Needs openssh-server, and root for
the namespace; without it bytes are of all that the machine does. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.deploy import Shelf, a_bundle
from toolchain.commandline import console
from toolchain.core import paths, process

COLUMNS = ["boards", "at once", "what", "s", "processor ms a board", "peak MB", "kB a board"]
TRIP = 0.2  # seconds to a board and back
WIRE = Path("/proc/self/net/dev")


def run(shelf: Shelf, bundle: Path, parallel: int) -> list[str]:
    """Deploy to all of a shelf: what it came to, seconds, processor, memory and bytes."""
    command = [sys.executable, "-m", "benchmarks.deploy_ours", str(shelf.inventory), str(bundle)]
    before, bytes_before = resource.getrusage(resource.RUSAGE_CHILDREN), _wire()
    started = time.monotonic()
    text = process.run([*command, "--parallel", str(parallel)], cwd=paths.ROOT)
    took = time.monotonic() - started
    after, count = resource.getrusage(resource.RUSAGE_CHILDREN), len(shelf.servers)
    told = json.loads(text.splitlines()[-1])
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [
        *(str(count), str(parallel)),
        ", ".join(sorted({one["status"] for one in told["results"]})),
        f"{took:.2f}",
        f"{1e3 * seconds / count:.0f}",
        f"{told['peak'] / 1e6:.0f}",
        f"{(_wire() - bytes_before) / 1e3 / count:.1f}",
    ]


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass a stream on, each piece of it so many seconds after it came."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def hear() -> None:
        piece = b"more"
        while piece:
            with suppress(OSError):
                piece = b""  # when the other side is gone
                piece = await reader.read(1 << 16)
            pieces.put_nowait((loop.time() + delay, piece))

    hearing = asyncio.create_task(hear())
    with suppress(OSError):
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
    writer.close()
    hearing.cancel()


@contextmanager
def far_away(port: int, delay: float) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to another one, as if it were so many seconds away."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(_late(reader, there[1], delay), _late(there[0], writer, delay))

    begun: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def serve() -> None:
        server, over = await asyncio.start_server(meet, "127.0.0.1", 0), asyncio.Event()
        loop = asyncio.get_running_loop()
        end = partial(loop.call_soon_threadsafe, over.set)
        begun.put((server.sockets[0].getsockname()[1], end))
        await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ours, end = begun.get()
    try:
        yield ours
    finally:
        end()
        thread.join()


def trips(shelf: Shelf, bundle: Path, trip: float) -> list[str]:
    """How often a deployment waits for a board's answer: by what a longer way to it costs."""
    server, known, inventory = (
        shelf.servers[0],
        shelf.known.read_text(),
        shelf.inventory.read_text(),
    )
    device = json.loads(inventory)
    device["all"]["hosts"] = {"device0": device["all"]["hosts"]["device0"]}
    took: dict[str, list[float]] = {"changed": [], "unchanged": []}
    try:
        for seconds in (0.0, trip):
            with far_away(server.port, seconds / 2) as port:
                moved = json.dumps(device).replace(f": {server.port},", f": {port},")
                shelf.inventory.write_text(moved)
                shelf.known.write_text(known.replace(f"]:{server.port} ", f"]:{port} "))
                shelf.empty("root")
                for kind, times in took.items():
                    runs = [run(shelf, bundle, 1) for _ in range(1 if kind == "changed" else 3)]
                    times.append(min(float(row[3]) for row in runs))
    finally:
        shelf.known.write_text(known)
        shelf.inventory.write_text(inventory)
    return [f"{kind}: {(far - near) / trip:.0f}" for kind, (near, far) in took.items()]


def _wire() -> int:
    """Bytes that were sent through the loopback so far."""
    (line,) = (one for one in WIRE.read_text().splitlines() if one.lstrip().startswith("lo:"))
    return int(line.partition(":")[2].split()[8])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 10, 25, 50])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgewright-") as name, ExitStack() as stack:
        scratch = Path(name)
        bundle = a_bundle(scratch)
        payload = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        console.note(f"a bundle of {payload / 1e6:.2f} MB")
        with console.step(f"{asked.boards} boards"):
            shelf = Shelf(scratch / "shelf", asked.boards, stack)
        rows = []
        for parallel in [10, *asked.parallel]:  # the first installs
            with console.step(f"{parallel} at once"):
                rows.append(run(shelf, bundle, parallel))
        console.show_table("what a board costs", COLUMNS, rows)
        with console.step(f"one board, {TRIP} s away"):
            found = trips(shelf, bundle, TRIP)
        console.out.print(f"trips to a board and back, {', '.join(found)}")


if __name__ == "__main__":
    main()
