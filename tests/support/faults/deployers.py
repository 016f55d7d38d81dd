"""Deployers at once, some of them killed: a round of them, and what must be true after it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests.support.faults import device
from tests.support.faults.bench import SEED, Bench
from toolchain.core.errors import DeviceRefused, ReleaseError


def rounds(bench: Bench, wanted: int) -> int:
    """Deployers at once, some killed: no two hold the lock, the last one's release runs."""
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    for turn in range(wanted):
        bench.reset("deploy")
        log = bench.folder / "events"
        log.write_bytes(b"")
        children = [_deployer(bench, log, n % 3 + 1) for n in range(2 + turn % 7)]
        time.sleep(chance.uniform(0.005, 0.08))
        os.kill(chance.choice(children), signal.SIGKILL)
        codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, (
            f"round {turn}: {codes}\n{log.read_text()}"
        )
        holder, last = 0, -1
        may: list[Path | None] = [bench.bundles[1]]
        for line in log.read_text().splitlines():
            pid, event, number = (int(w) if w.isdigit() else w for w in line.split()[:3])
            assert isinstance(pid, int)
            if event == "lock":
                assert holder == 0 or codes[holder] != 0, f"round {turn}: two hold the lock"
                holder = pid
                may = [*may[-1:], bench.bundles[int(number)]] if codes[pid] else may
            elif event == "switch":
                last = int(number)
                may = [bench.bundles[last]]
            elif event == "end":
                holder = 0
        wrong = device.problems(bench.root, bench.bundles, may)
        assert not wrong, f"round {turn}: {wrong}"
        bench.recover(bench.root, turn, f"round {turn}")
    return wanted


def _deployer(bench: Bench, log: Path, number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sink = os.open(log, os.O_WRONLY | os.O_APPEND)

        def heard(do: str, answer: dict[str, object]) -> None:
            event = {"lock": "lock", "confirm": "switch", "clean": "end"}.get(do)
            if event and "ok" in answer:
                os.write(sink, f"{os.getpid()} {event} {number}\n".encode())

        for _ in range(1000):
            try:
                device.deploy(bench.agent, bench.root, bench.bundles[number], heard)
                code = 0
                break
            except (DeviceRefused, ReleaseError) as error:
                if "another deployment" not in error.brief:
                    os.write(sink, f"{os.getpid()} error {number} {error.detail}\n".encode())
                    break
                time.sleep(0.01)
    except BaseException as error:
        os.write(sink, f"{os.getpid()} error {number} {error!r}\n".encode())
        raise
    finally:
        os._exit(code)
