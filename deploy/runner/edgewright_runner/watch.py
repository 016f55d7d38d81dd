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
MOMENT_S = 1.0  # between two moments of a run
MOST_MOMENTS = 600
# Of an INA3221 the sum of its channels' currents (Documentation/hwmon/ina3221.rst), no channel.
SUM = ("ina3221", "curr4_input")
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
        "energy_uj": energy_uj(),
        "busy_seconds": busy_seconds(),
        "waited_seconds": waited_seconds(),
        "governor": governor(),
    }


class Series:
    """The clock, the heat and the power over a run, a moment a second."""

    def __init__(self) -> None:
        self.moments: list[dict[str, Any]] = []
        self._began = self._last = time.monotonic()

    def look(self) -> None:
        """Take a moment, when it is time for one; between two inferences."""
        now = time.monotonic()
        if now - self._last < MOMENT_S or len(self.moments) >= MOST_MOMENTS:
            return
        self._last = now
        moment = {
            "seconds": round(now - self._began, 3),
            "khz": max(_integers(CPUS + "cpufreq/scaling_cur_freq"), default=None),
            "temperature_c": temperature(),
            "watts": watts(),
        }
        if any(moment[name] is not None for name in ("khz", "temperature_c", "watts")):
            self.moments.append(moment)


def energy_uj() -> Any:
    """What the CPU packages took since some moment, in microjoules; None where no counter is.

    RAPL's zones (Linux, Documentation/power/powercap/powercap.rst). Those within a package aren't
    added, since they are in it, nor is that of the whole platform (psys), which packages are in.
    Mostly only root may read them.
    """
    zones = sorted(SYS.glob("class/powercap/intel-rapl:[0-9]*"))
    packages = [zone for zone in zones if read(str(zone / "name")).startswith("package-")]
    texts = [read(str(zone / "energy_uj")) for zone in packages]
    counters = [int(text) for text in texts if text.isdigit()]
    return sum(counters) if counters else None


def watts() -> Any:
    """What meters of the board read now; None where there is none.

    The kernel's hwmon interface (Documentation/hwmon/sysfs-interface.rst): microwatts, as INA219
    has them, or millivolts and milliamperes of channels, as INA3221 has them. Where a channel is
    named as what comes in (Jetson boards: VDD_IN, POM_5V_IN), the others are parts of it.
    """
    rails: dict[str, float] = {}
    for meter in sorted(SYS.glob("class/hwmon/hwmon*")):
        rails.update(_powers(meter) or _products(meter))
    whole = [power for name, power in rails.items() if name.endswith("_IN")]
    return round(sum(whole or rails.values()), 4) if rails else None


def _powers(meter: Path) -> dict[str, float]:
    """Watts that a meter says, by its channels' files."""
    paths = sorted(str(path) for path in meter.glob("power[0-9]*_input"))
    return {path: int(text) / 1e6 for path in paths if (text := read(path)).lstrip("-").isdigit()}


def _products(meter: Path) -> dict[str, float]:
    """Volts times amperes of a meter's channels, by their files and labels."""
    found = {}
    for current in sorted(meter.glob("curr[0-9]*_input")):
        voltage = meter / current.name.replace("curr", "in")
        label = read(str(voltage).replace("_input", "_label"))
        if (read(str(meter / "name")), current.name) == SUM:
            continue
        texts = [read(str(path)) for path in (current, voltage)]
        if all(text.lstrip("-").isdigit() for text in texts):
            found[f"{current} {label}"] = int(texts[0]) * int(texts[1]) / 1e6
    return found


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
