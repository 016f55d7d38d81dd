"""What can disturb a measurement, read just before and just after it: clock, heat, swap, load.

It only reads. What the difference means is decided on the host, from the two snapshots.
"""

from __future__ import annotations

import os
import re
import resource
import time
from pathlib import Path
from typing import Any

from edgewright_runner.device import governor, read

SYS = Path("/sys")
CPUS = "devices/system/cpu/cpu[0-9]*/"


def snapshot() -> dict[str, Any]:
    """The state now: frequencies in kHz, temperature in degrees Celsius, counters since boot."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "monotonic_ns": time.monotonic_ns(),
        "cpu_khz": _integers(CPUS + "cpufreq/scaling_cur_freq"),
        "cpu_max_khz": _integers(CPUS + "cpufreq/scaling_max_freq"),
        "temperature_c": temperature(),
        "throttle_events": sum(_integers(CPUS + "thermal_throttle/core_throttle_count")),
        "firmware_throttled": firmware_throttled(),
        "swapped_pages": swapped_pages(),
        "major_faults": usage.ru_majflt,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6),
        "load_1min": _load(),
        "busy_seconds": busy_seconds(),
        "waited_seconds": waited_seconds(),
        "governor": governor(),
    }


def busy_seconds() -> Any:
    """CPU time of everything on the device since boot, over all CPUs; None when it can't be read.

    proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
    """
    columns = read("/proc/stat").partition("\n")[0].split()[1:9]
    if len(columns) < 8 or not all(column.isdigit() for column in columns):
        return None
    ticks = [int(column) for column in columns]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def waited_seconds() -> Any:
    """How long this process's threads were ready to run and had no CPU; None when not kept.

    The second number of a thread's schedstat (Linux, Documentation/scheduler/sched-stats.rst).
    """
    texts = [read(str(path)) for path in Path("/proc/self/task").glob("*/schedstat")]
    waits = [text.split()[1] for text in texts if len(text.split()) == 3]
    return sum(int(wait) for wait in waits if wait.isdigit()) / 1e9 if waits else None


def temperature() -> Any:
    """The hottest thermal zone; None when there is none."""
    zones = [t / 1000.0 for t in _integers("class/thermal/thermal_zone*/temp")]
    return round(max(zones), 1) if zones else None


def firmware_throttled() -> Any:
    """Raspberry Pi's throttling bits of now (1 under-voltage, 2 capped, 4 throttled, 8 hot)."""
    text = read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        return int(text, 16) & 0xF
    except ValueError:
        return None


def swapped_pages() -> int:
    """Pages swapped in and out since boot, of the whole device."""
    found = re.findall(r"^pswp(?:in|out) (\d+)$", read("/proc/vmstat"), re.MULTILINE)
    return sum(int(n) for n in found)


def peak_rss_bytes() -> int:
    """This process's largest resident size so far.

    VmHWM starts anew at exec; ru_maxrss does not (getrusage(2)), so it is the second choice. Under
    qemu-user both count the emulator's own memory too.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", read("/proc/self/status"), re.MULTILINE)
    if found:
        return int(found.group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _load() -> Any:
    text = read("/proc/loadavg")
    return float(text.split()[0]) if text else None


def _integers(pattern: str) -> list[int]:
    texts = [read(str(path)) for path in sorted(SYS.glob(pattern))]
    return [int(t) for t in texts if t.lstrip("-").isdigit()]
