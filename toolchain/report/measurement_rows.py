"""Results as flat rows: what the tables, the CSV and the JSON of a report say of each measurement.

An emulated row has its times in columns of their own, so that whoever plots `latency_ms` of a CSV
can't mix the two kinds unawares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolchain.models.variants import PLAIN
from toolchain.results import measurement, statistics
from toolchain.results.configuration import Configuration
from toolchain.results.disturbances import disturbances

MIB = 1 << 20
# device, network, configuration
Subject = tuple[str, str, Configuration]
Counted = dict[Subject, measurement.Measurement]
Sources = Mapping[tuple[str, int, int], float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; units are in the names, None is what is not known."""

    emulated: str
    host: str
    target: str
    model: str
    batch: int
    runtime: str
    variant: str
    opt_level: int | None
    threads: int
    status: str
    latency_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    fps: float | None
    load_ms: float | None
    emulated_latency_ms: float | None
    emulated_p90_ms: float | None
    emulated_p99_ms: float | None
    emulated_fps: float | None
    emulated_load_ms: float | None
    instructions: float | None
    samples: int
    samples_kept: int
    peak_rss_mib: float | None
    base_rss_mib: float | None
    delegated_nodes: int | None
    graph_nodes: int | None
    parity_max_abs: float | None
    parity_reference_max_abs: float | None
    parity_top1_agree: int | None
    parity_count: int | None
    accuracy_top1: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    accuracy_correct: int | None
    accuracy_total: int | None
    accuracy_available: int | None
    accuracy_top5: float | None
    reference_top1: float | None
    source_top1: float | None
    disturbances: str
    error: str
    artifact: str
    artifact_sha256: str
    artifact_bytes: int | None
    versions: str
    release: str
    measured: str
    device_cpu: str
    device_machine: str
    device_cores: int
    device_kernel: str
    device_libc: str
    device_python: str
    device_governor: str
    temperature_before_c: float | None
    temperature_after_c: float | None
    energy_mj: float | None
    energy_of: str


def flatten(results: Iterable[measurement.Result]) -> list[Row]:
    """Every measurement of the results, in their order."""
    return [
        _row(result, m, source_of(m, found))
        for result in results
        for found in [sources(result)]
        for m in result.measurements
    ]


def subject(result: measurement.Result, m: measurement.Measurement) -> Subject:
    """What a measurement is of."""
    return result.host, m.model, m.configuration


def counted(results: Iterable[measurement.Result]) -> Counted:
    """The measurements that counted instructions, by what they are of."""
    return {subject(r, m): m for r in results if r.counted for m in r.measurements}


def beside(result: measurement.Result, counts: Counted) -> Counted:
    """Those of `counts` that are of what a result measured."""
    subjects = [subject(result, m) for m in result.measurements]
    return {of: counts[of] for of in subjects if of in counts}


def accuracy_of(accuracy: measurement.Accuracy) -> statistics.Proportion:
    """Top-1 accuracy with Wilson's interval."""
    return statistics.wilson(accuracy.correct, accuracy.total)


def sources(result: measurement.Result) -> Sources:
    """Top-1 of each network as it was trained, where that was measured.

    By its name and batch, and by how many inputs it was given: a slow configuration is given fewer
    of them, and shares of other inputs say nothing of each other.
    """
    found: dict[tuple[str, int, int], float] = {}
    for m in result.measurements:
        if m.variant == PLAIN and m.accuracy is not None:
            of = m.model, m.batch, m.accuracy.total
            found[of] = max(m.accuracy.reference_correct / m.accuracy.total, found.get(of, 0.0))
    return found


def source_of(m: measurement.Measurement, found: Sources) -> float | None:
    """Top-1 of a measurement's network as it was trained, on the same inputs; None if unknown."""
    return found.get((m.model, m.batch, m.accuracy.total)) if m.accuracy else None


def own_memory(m: measurement.Measurement) -> int | None:
    """Bytes that a model takes besides Python, numpy and its runtime; None where it isn't known."""
    if m.peak_rss_bytes is None or m.base_rss_bytes is None:
        return None
    return max(0, m.peak_rss_bytes - m.base_rss_bytes)


def _times(m: measurement.Measurement, *, emulated: bool) -> dict[str, float | None]:
    """The columns of times, by name: those of the other kind are empty."""
    timing = m.timing()
    times = {
        "latency_ms": timing.latency_ns / 1e6 if timing else None,
        "p90_ms": timing.p90_ns / 1e6 if timing else None,
        "p99_ms": timing.p99_ns / 1e6 if timing else None,
        "fps": timing.fps if timing else None,
        "load_ms": m.load_ns / 1e6 if m.load_ns is not None else None,
    }
    marked = {f"emulated_{name}": value for name, value in times.items()}
    nothing: dict[str, float | None] = dict.fromkeys([*times, *marked])
    return {**nothing, **(marked if emulated else times)}


def _row(result: measurement.Result, m: measurement.Measurement, source: float | None) -> Row:
    timing = m.timing()
    share = accuracy_of(m.accuracy) if m.accuracy else None
    device, conditions = result.device, m.conditions
    energy = None if result.emulated else m.energy()
    return Row(
        **_times(m, emulated=result.emulated),
        emulated=measurement.EMULATED if result.emulated else "no",
        host=result.host,
        target=result.target,
        model=m.model,
        batch=m.batch,
        runtime=m.runtime,
        variant=m.variant,
        opt_level=m.opt_level,
        threads=m.threads,
        status=m.status,
        instructions=m.instructions.each if m.instructions else None,
        samples=len(m.samples_ns),
        samples_kept=timing.kept if timing else 0,
        peak_rss_mib=_mib(m.peak_rss_bytes),
        base_rss_mib=_mib(m.base_rss_bytes),
        delegated_nodes=m.delegated.taken if m.delegated else None,
        graph_nodes=m.delegated.total if m.delegated else None,
        parity_max_abs=m.parity.max_abs if m.parity else None,
        parity_reference_max_abs=m.parity.reference_max_abs if m.parity else None,
        parity_top1_agree=m.parity.top1_agree if m.parity else None,
        parity_count=m.parity.count if m.parity else None,
        accuracy_top1=share.share if share else None,
        accuracy_low=share.low if share else None,
        accuracy_high=share.high if share else None,
        accuracy_correct=m.accuracy.correct if m.accuracy else None,
        accuracy_total=m.accuracy.total if m.accuracy else None,
        accuracy_available=m.accuracy.available if m.accuracy else None,
        accuracy_top5=m.accuracy.correct_top5 / m.accuracy.total if m.accuracy else None,
        reference_top1=m.accuracy.reference_correct / m.accuracy.total if m.accuracy else None,
        source_top1=source,
        disturbances="; ".join(disturbances(m)),
        error=f"{m.error.stage}: {m.error.kind}: {m.error.message}" if m.error else "",
        artifact=m.artifact.file if m.artifact else "",
        artifact_sha256=m.artifact.sha256 if m.artifact else "",
        artifact_bytes=m.artifact.size if m.artifact else None,
        versions=" ".join(f"{name}={version}" for name, version in sorted(m.versions.items())),
        release=result.release,
        measured=result.started.isoformat(timespec="seconds"),
        device_cpu=device.cpu,
        device_machine=device.machine,
        device_cores=device.cores,
        device_kernel=device.kernel,
        device_libc=device.libc,
        device_python=device.python,
        device_governor=device.governor,
        temperature_before_c=conditions.before.temperature_c if conditions else None,
        temperature_after_c=conditions.after.temperature_c if conditions else None,
        energy_mj=energy.millijoules if energy else None,
        energy_of=energy.of if energy else "",
    )


def _mib(size: int | None) -> float | None:
    return None if size is None else size / MIB
