"""What disturbed a measurement, judged from the state of the device before and after it."""

from __future__ import annotations

from collections.abc import Iterator

from toolchain.results import conditions
from toolchain.results.conditions import Snapshot
from toolchain.results.measurement import Measurement

# A board's firmware begins to lower the clock at 80 to 85 degrees (Raspberry Pi: 80).
HOT_C = 80.0
# The clock after the run over the clock before it, below which it counts as lowered.
SLOWED = 0.9
# CPU time over wall time of one thread, below which something else was computing.
STARVED = 0.9
# Time in which a thread was ready and had no CPU, over wall time and threads.
WAITED = 0.1
# CPUs that others had on average: more than the services of an idle board, and our own connection.
OTHERS = 0.2
# Shorter runs are within the resolution of the counters, of which a kernel has 100 a second.
LEAST_S = 1.0


def disturbances(measurement: Measurement) -> list[str]:
    """What may have disturbed the times, a cause a line; empty when nothing did."""
    if measurement.conditions is None:
        return []
    before, after = measurement.conditions.before, measurement.conditions.after
    causes = [*_slower(before, after)]
    fell = conditions.fall(measurement.conditions.series)
    if fell is not None and fell.to_khz < SLOWED * fell.from_khz:
        causes.append(
            f"clock fell from {fell.from_khz // 1000} to {fell.to_khz // 1000} MHz within the run, "
            f"after {fell.seconds:.0f} s"
        )
    seconds = (after.monotonic_ns - before.monotonic_ns) / 1e9
    if seconds >= LEAST_S:
        causes += _shared(before, after, seconds, measurement.threads)
    return causes


def _slower(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What made the device itself slower."""
    if after.swapped_pages > before.swapped_pages:
        yield f"swapped {after.swapped_pages - before.swapped_pages} pages"
    throttled = before.firmware_throttled or after.firmware_throttled
    if after.throttle_events > before.throttle_events or throttled:
        yield "throttled"
    clock, then = max(after.cpu_khz, default=0), max(before.cpu_khz, default=0)
    most = max(after.cpu_max_khz, default=0)
    if clock and clock < SLOWED * then:
        yield f"clock fell from {then // 1000} to {clock // 1000} MHz"
    elif clock and clock < SLOWED * most and "powersave" in (before.governor, after.governor):
        yield f"governor powersave held the clock at {clock // 1000} of {most // 1000} MHz"
    if before.governor != after.governor:
        yield f"governor changed from {before.governor} to {after.governor}"
    if after.temperature_c is not None and after.temperature_c >= HOT_C:
        from_ = "" if before.temperature_c is None else f"{before.temperature_c:g} to "
        yield f"hot: {from_}{after.temperature_c:g} °C"


def _shared(before: Snapshot, after: Snapshot, seconds: float, threads: int) -> Iterator[str]:
    """Who else had the CPUs."""
    own = after.cpu_seconds - before.cpu_seconds
    if threads == 1 and own / seconds < STARVED:
        yield f"had a CPU for {own / seconds:.0%} of the time"
    elif before.waited_seconds is not None and after.waited_seconds is not None:
        waited = (after.waited_seconds - before.waited_seconds) / (seconds * threads)
        if waited > WAITED:
            yield f"waited for a CPU for {waited:.0%} of the time"
    if before.busy_seconds is not None and after.busy_seconds is not None:
        others = (after.busy_seconds - before.busy_seconds - own) / seconds
        if others > OTHERS:
            yield f"others had {others:.1f} CPUs"
