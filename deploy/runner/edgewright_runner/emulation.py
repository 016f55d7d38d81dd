"""Whether this device is an emulated one: the only answer, the runner's and the agent's.

It is sent with the agent too, so it uses what Python 3.8 has, and imports little.
"""

from __future__ import annotations

import os
import re

FAMILIES = ((r"arm|aarch64", "arm"), (r"x86_64|i[3-6]86", "x86"), (r"riscv", "riscv"))


def emulation(machine: str) -> str:
    """Why this looks like an emulated CPU; empty when it doesn't. The inventory can say so too.

    Args:
        machine: what programs are compiled for here, as uname names it.
    """
    here = family(machine)
    kernel = _read("/proc/sys/kernel/arch").strip()
    if kernel and family(kernel) != here:
        return f"the kernel is of {kernel}, the programs are of {machine}"
    of = family_of_cpu(_read("/proc/cpuinfo"))
    if of and of != here:
        return f"/proc/cpuinfo is of another machine's CPU ({of}), the programs are of {machine}"
    parent = os.path.basename(_read(f"/proc/{os.getppid()}/cmdline").split("\0")[0])
    if parent.startswith("qemu-"):
        return f"the parent process runs in {parent}"
    if "QEMU_CPU" in os.environ:
        return "QEMU_CPU={}".format(os.environ["QEMU_CPU"])
    if "qemu" in _read("/proc/device-tree/compatible"):
        return "the machine is QEMU's"
    return ""


def family(machine: str) -> str:
    """The machines that run one kind of kernel: aarch64 and armv7l are both "arm"."""
    matches = [name for pattern, name in FAMILIES if re.match(pattern, machine)]
    return matches[0] if matches else machine


def family_of_cpu(cpuinfo: str) -> str:
    """The family whose kernel writes such a /proc/cpuinfo; empty when it has none of their keys."""
    keys = {line.partition(":")[0].strip() for line in cpuinfo.splitlines()}
    if "vendor_id" in keys:
        return "x86"
    if "CPU implementer" in keys:
        return "arm"
    return "riscv" if "hart" in keys else ""


def _read(path: str) -> str:
    """A small file's text; empty when it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 20)
    except OSError:
        return ""
