"""What the agent says of a small RISC-V board, and the facts in it."""

from __future__ import annotations

from typing import Any

from deploy.inventory.reading import Device
from deploy.release import probed_facts


def riscv(letters: str) -> int:
    """AT_HWCAP of a RISC-V CPU with these extensions."""
    return sum(1 << (ord(letter) - ord("a")) for letter in letters)


DEVICE = Device(name="board", host="192.0.2.1", target="rv64gc", python="3.13")


ANSWER: dict[str, Any] = {
    "machine": "riscv64", "bits": 64, "kernel": "6.12", "hostname": "b", "os": "Debian 13",
    "python": "3.13.5", "implementation": "cpython", "abiflags": "",
    "multiarch": "riscv64-linux-gnu", "libc": "glibc", "glibc": "2.41", "glibcxx": "3.4.33",
    "modules": {"numpy": "2.2.4"}, "venv": True, "pip": True, "root": "/home/u/edgewright",
    "strangers": [], "disk_free": 10**10, "files_free": 10**6, "writable": True, "executable": True,
    "ram": 8 * 10**9, "cores": 4,
    "board": "", "governor": "performance", "temperature": 40.0, "time": 100.0,
    "hwcap": riscv("imafdc"), "hwcap2": 0, "emulation": "",
    "cpuinfo": {"uarch": "sifive,u74"},
}  # fmt: skip


def device_facts(**changes: object) -> probed_facts.DeviceFacts:
    return probed_facts.read_facts(DEVICE, {**ANSWER, **changes}, before=99.0, after=101.0)
