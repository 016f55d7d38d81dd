"""How the time and memory of a deployment grow with boards that have the release already.

    python -m benchmarks.scale.unchanged_boards                # 5, 50 and 500 boards
    python -m benchmarks.scale.unchanged_boards --boards 5 50

Each board is an sshd of this machine on a port of its own; all have one folder, with one agent and
one installed release, so that 500 of them are set up in seconds. Nothing is written when nothing
changed, so they don't meet there. Whole processes are timed, the numbers of boards in turn; a ratio
is of the least times, and of processors' seconds, of the process and of the boards (which are this
machine's children too). Needs openssh-server. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.deploy import Shelf, a_bundle
from tests.support.sshd import free_port
from toolchain.commandline import console
from toolchain.core import paths, process

COLUMNS = ["boards", "s, least", "each, ms", "times the fewest", "processor ms a board", "peak MB"]


@dataclass
class Boards:
    """So many boards, and what was measured of them."""

    count: int
    inventory: Path
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak: int = 0

    def run(self, bundle: Path, parallel: int) -> None:
        """Deploy to all of them once."""
        command = [sys.executable, "-m", "benchmarks.deploy_ours", str(self.inventory), str(bundle)]
        started = time.monotonic()
        text = process.run([*command, "--parallel", str(parallel)], cwd=paths.ROOT)
        self.seconds.append(time.monotonic() - started)
        told = json.loads(text.splitlines()[-1])
        wrong = [one for one in told["results"] if one["status"] != "unchanged"]
        assert not wrong, wrong[:3]
        assert len(told["results"]) == self.count
        self.processor.append(told["processor"])
        self.peak = max(self.peak, told["peak"])


def doors(shelf: Shelf, count: int, stack: ExitStack) -> list[int]:
    """Ports of so many sshds that lead to the one board of a shelf."""
    (server,) = shelf.servers
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
    assert program
    ports = [server.port]
    while len(ports) < count:
        port = free_port()
        config = server.folder / f"sshd_config{port}"
        text = (server.folder / "sshd_config").read_text()
        config.write_text(text.replace(f":{server.port}\n", f":{port}\n"))
        door = subprocess.Popen(
            [program, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(door.wait)
        stack.callback(door.terminate)
        ports.append(port)
    return ports


def boards(shelf: Shelf, ports: list[int]) -> Boards:
    """An inventory of the boards behind these ports."""
    entry = json.loads(shelf.inventory.read_text())["all"]["hosts"]["device0"]
    del entry["ansible_port"]
    lines = [f"    device{number}: {{ansible_port: {port}}}" for number, port in enumerate(ports)]
    inventory = shelf.folder / f"inventory{len(ports)}.yml"
    # JSON is YAML
    text = f"all:\n  vars: {json.dumps(entry)}\n  hosts:\n"
    inventory.write_text(text + "\n".join(lines) + "\n")
    return Boards(len(ports), inventory)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, nargs="+", default=[5, 50, 500])
    parser.add_argument("--parallel", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgewright-") as name, ExitStack() as stack:
        bundle = a_bundle(Path(name))
        with console.step(f"{max(asked.boards)} boards"):
            shelf = Shelf(Path(name) / "shelf", 1, stack)
            ports = doors(shelf, max(asked.boards), stack)
            key = " ".join((shelf.servers[0].folder / "host_key.pub").read_text().split()[:2])
            shelf.known.write_text("".join(f"[127.0.0.1]:{port} {key}\n" for port in ports))
            command = [sys.executable, "-m", "benchmarks.deploy_ours"]
            process.run([*command, shelf.inventory, bundle], cwd=paths.ROOT)
        all_boards = [boards(shelf, ports[:count]) for count in asked.boards]
        for number in range(asked.rounds):
            for some in all_boards:
                with console.step(f"round {number + 1}: {some.count} boards"):
                    some.run(bundle, asked.parallel)
        fewest = min(all_boards[0].seconds)
        console.out.print(f"{asked.parallel} at once, load {os.getloadavg()[0]:.1f}")
        rows = [
            [
                *(str(some.count), f"{min(some.seconds):.2f}"),
                f"{1e3 * min(some.seconds) / some.count:.0f}",
                f"{min(some.seconds) / fewest:.2f}",
                f"{1e3 * min(some.processor) / some.count:.0f}",
                f"{some.peak / 1e6:.0f}",
            ]
            for some in all_boards
        ]
        console.show_table("boards that are unchanged", COLUMNS, rows)


if __name__ == "__main__":
    main()
