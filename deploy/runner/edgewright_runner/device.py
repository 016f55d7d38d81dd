"""What this device is: read from /proc, /sys and the interpreter. It changes nothing."""

from __future__ import annotations

import os
import platform
import re
import struct
import sys
from pathlib import Path
from typing import Any

from edgewright_runner.emulation import emulation

AT_HWCAP = 16  # <linux/auxvec.h>
CPU_NAMES = ("model name", "uarch", "Model", "Hardware", "cpu model", "cpu")


def read(path: str) -> str:
    """The text of a file of /proc or /sys, stripped; empty when it can't be read."""
    try:
        return Path(path).read_bytes().decode(errors="replace").strip("\0\n\t ")
    except OSError:
        return ""


def describe() -> dict[str, Any]:
    """The device's description, as `toolchain.results.measurement.Device` reads it."""
    return {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "isa": isa(),
        "cores": cores(),
        "ram_bytes": memory_bytes(),
        "kernel": platform.release(),
        "os": os_name(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "governor": governor(),
        "board": read("/proc/device-tree/model"),
        "hostname": platform.node(),
        "emulation": emulation(platform.machine()) or None,
    }


def pointer_bits() -> int:
    """Of a pointer in this device's programs, which may be half as long as its kernel's."""
    return struct.calcsize("P") * 8


def cpu_info() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in read("/proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def cpu_name() -> str:
    """The CPU's name as the kernel gives it; empty when it gives none."""
    found = cpu_info()
    for key in CPU_NAMES:
        if found.get(key):
            return found[key]
    return ""


def isa() -> str:
    """The extensions: RISC-V's `isa` line or letters of AT_HWCAP, Arm's and x86's features."""
    found = cpu_info()
    if platform.machine().startswith("riscv"):
        letters = riscv_letters(hwcap())
        return found.get("isa") or (f"rv{64 if sys.maxsize > 2**32 else 32}{letters}")
    return found.get("Features") or found.get("flags") or ""


def riscv_letters(bits: int) -> str:
    """AT_HWCAP of RISC-V Linux: bit n stands for the n-th letter (arch/riscv/include/uapi/asm)."""
    order = "imafdcv"
    return "".join(letter for letter in order if bits >> (ord(letter) - ord("a")) & 1)


def hwcap() -> int:
    """AT_HWCAP of this process; 0 when it can't be read."""
    try:
        raw = Path("/proc/self/auxv").read_bytes()
    except OSError:
        return 0
    word = struct.Struct("=QQ" if sys.maxsize > 2**32 else "=LL")
    for offset in range(0, len(raw) - word.size + 1, word.size):
        key, value = word.unpack_from(raw, offset)
        if key == AT_HWCAP:
            return int(value)
    return 0


def cores() -> int:
    """How many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def memory_bytes() -> int:
    """MemTotal of /proc/meminfo in bytes; 0 when it can't be read."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def os_name() -> str:
    """The distribution's name for itself."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read("/etc/os-release"), re.MULTILINE)
    return found.group(1) if found else platform.system()


def governor() -> str:
    """The frequency governor of the first CPU; empty when frequency scaling isn't visible."""
    return read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
