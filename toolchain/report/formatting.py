"""How a measurement is put into words and numbers, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from toolchain.models.manifest import ModelManifest
from toolchain.report.charts import runtime_style
from toolchain.report.measurement_rows import MIB, Sources, accuracy_of, source_of
from toolchain.results import measurement, statistics
from toolchain.results.configuration import Configuration
from toolchain.results.disturbances import disturbances

_Scored = tuple[float, measurement.Measurement]

WARNING = (
    "EMULATED: these times were taken on an emulated CPU, under a program that translates its "
    "instructions for another. They say nothing about the speed of a board and are never compared "
    "with times of a real one. Parity and accuracy are as on a board."
)
COUNTED = (
    "Guest instructions an inference, on one thread: the difference of runs that differ in nothing "
    "but their number of inferences. What a board makes of them depends on its CPU."
)
NO_RATIO = "No ratio of times is given: under emulation it would not be that of a board."


def number(value: float) -> str:
    """Three significant digits, without an exponent for everyday sizes."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    text = f"{value:#.3g}"
    return text.rstrip(".")


def perhaps(value: float | None) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else number(value)


def milliseconds(nanoseconds: float) -> str:
    """A time in ms."""
    return f"{number(nanoseconds / 1e6)} ms"


def mebibytes(size: float) -> str:
    """A size in MiB."""
    return f"{number(size / MIB)} MiB"


def size(of: int) -> str:
    """The size of a file, in the unit that suits it."""
    if of < 1 << 10:
        return f"{of} bytes"
    return mebibytes(of) if of >= MIB else f"{number(of / (1 << 10))} KiB"


def size_unit(largest: float) -> tuple[str, int]:
    """The unit of sizes up to one in bytes, as `size` has it, and how many bytes it is."""
    if largest < 1 << 10:
        return "bytes", 1
    return ("MiB", MIB) if largest >= MIB else ("KiB", 1 << 10)


def when(result: measurement.Result) -> str:
    """When a result was measured, in UTC."""
    return f"{result.started.astimezone(UTC):%Y-%m-%d %H:%M}"


def threads(count: int) -> str:
    """A number of threads."""
    return "1 thread" if count == 1 else f"{count} threads"


def runtime(of: Configuration) -> str:
    """Runtime, variant and optimisation level."""
    return f"{runtime_style.label(of.runtime)} {of.variant_label}"


def configuration(of: Configuration) -> str:
    """Runtime, variant, optimisation level and threads; the batch stands with the model."""
    return f"{runtime(of)}, {threads(of.threads)}"


def subject(model: str, how: Configuration) -> str:
    """What is measured: the model, its batch when that isn't 1, its configuration."""
    return f"{titled(model, how.batch)}, {configuration(how)}"


def title(m: measurement.Measurement) -> str:
    """The model of a measurement, with its batch when that isn't 1."""
    return titled(m.model, m.batch)


def titled(model: str, batch: int) -> str:
    """A model, with its batch when that isn't 1."""
    return model if batch == 1 else f"{model}, batch {batch}"


def inputs(manifest: ModelManifest) -> str:
    """What a model was compared with its reference on, by the names of its inputs."""
    said = manifest.samples.origins
    if len({*said.values()}) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{name}: {what}" for name, what in said.items())


def same_top1(parity: measurement.Parity | None) -> str:
    """On how many inputs the top class is the reference's."""
    if parity is None:
        return "-"
    return "-" if parity.top1_agree is None else f"{parity.top1_agree}/{parity.count}"


def difference(parity: measurement.Parity | None) -> str:
    """The largest absolute difference from the reference."""
    if parity is None:
        return "-"
    return "not finite" if parity.max_abs is None else number(parity.max_abs)


def outputs(parity: measurement.Parity | None) -> list[str]:
    """Each output of a network that is no classifier, against its reference."""
    if parity is None or parity.top1_agree is not None:
        return []
    steps = [] if parity.steps is None else [f"state fed back in sequences of {parity.steps} steps"]
    return [_output(output) for output in parity.outputs] + steps


def _output(output: measurement.OutputParity) -> str:
    if output.max_abs is None:
        return f"{output.name}: not finite"
    said = f"{output.name}: largest difference {number(output.max_abs)}"
    if output.differing is not None:
        return f"{said}, {100 * output.differing:.2g} % of the values differ"
    if output.reference_range:
        said += f", {number(100 * output.max_abs / output.reference_range)} % of its range"
    return said if output.sqnr_db is None else f"{said}, {output.sqnr_db:g} dB"


def delegated(nodes: measurement.Delegated | None) -> str:
    """How many nodes the delegate took."""
    return "-" if nodes is None else f"{nodes.taken}/{nodes.total}"


def percent(share: float) -> str:
    """A share in percent with one decimal."""
    return f"{100 * share:.1f} %"


def points_lost(share: float | None, source: float | None) -> str:
    """Percentage points that a share of right classes has less than its source's."""
    if share is None or source is None:
        return "-"
    # what rounds to nothing is nothing, of either sign
    return f"{round(100 * (source - share), 2) + 0.0:.2f}"


def lost(m: measurement.Measurement, sources: Sources) -> str:
    """What a measurement has less of top-1 than its source, from `measurement_rows.sources`."""
    share = accuracy_of(m.accuracy).share if m.accuracy else None
    return points_lost(share, source_of(m, sources))


def interval(share: statistics.Proportion) -> str:
    """A share in percent with its 95 % interval."""
    return f"{percent(share.share)} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def accuracy(counted: measurement.Accuracy | None) -> str:
    """Top-1 accuracy with its 95 % interval."""
    if counted is None:
        return "-"
    text = interval(accuracy_of(counted))
    if counted.total < counted.available:
        text += f", {counted.total} of {counted.available}"
    return text


def reference_accuracy(counted: measurement.Accuracy | None) -> str:
    """The reference's top-1 accuracy on the same inputs."""
    return "-" if counted is None else percent(counted.reference_correct / counted.total)


def device_name(result: measurement.Result) -> str:
    """The device in a few words."""
    device = result.device
    what = device.board or device.cpu or device.machine
    if result.emulated:
        what = f"{device.machine} on {device.cpu}" if device.cpu else device.machine
    return f"{what}, {device.cores} cores, {device.os}"


def device_lines(result: measurement.Result) -> list[tuple[str, str]]:
    """The device's description, as pairs; what is not known is left out."""
    device = result.device
    temperatures = [
        snapshot.temperature_c
        for m in result.measurements
        if m.conditions
        for snapshot in (m.conditions.before, m.conditions.after)
        if snapshot.temperature_c is not None
    ]
    span = ""
    if temperatures:
        span = f"{min(temperatures):g} to {max(temperatures):g} °C"
    pairs = [
        ("Board", device.board),
        ("Emulated on" if result.emulated else "CPU", device.cpu),
        ("Architecture", device.machine),
        ("Extensions", shortened(device.isa)),
        ("Emulation", device.emulation or ("so says the inventory" if result.emulated else "")),
        ("Cores", str(device.cores)),
        ("RAM", f"{device.ram_bytes / (1 << 30):.1f} GiB" if device.ram_bytes else ""),
        ("System", device.os),
        ("Kernel", device.kernel),
        ("C library", device.libc),
        ("Python", device.python),
        ("Runtimes", ", ".join(f"{k} {v}" for k, v in sorted(versions(result).items()))),
        ("Governor", device.governor or "not visible"),
        ("Temperature", span or "not visible"),
        ("Target", result.target),
        ("Release", result.release[:16]),
        ("Measured", f"{result.started:%Y-%m-%d %H:%M} UTC"),
    ]
    return [(name, value) for name, value in pairs if value]


def versions(result: measurement.Result) -> dict[str, str]:
    """Versions of all runtimes that took part."""
    return {k: v for m in result.measurements for k, v in m.versions.items()}


def shortened(text: str, limit: int = 100) -> str:
    """A long list of words, cut at a word."""
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


def instructions(m: measurement.Measurement) -> str:
    """Guest instructions an inference, in millions."""
    return "-" if m.instructions is None else f"{m.instructions.each / 1e6:,.3f} M"


def instruction_ratios(result: measurement.Result) -> list[str]:
    """For each model and variant, how the instructions of the runtimes stand to the fewest."""
    return [
        f"{title(few)}: {configuration(many.configuration)} takes {number(more / less)} times the "
        f"instructions of {configuration(few.configuration)}"
        for (less, few), (more, many) in _best(
            (m.instructions.each, m) for m in result.measurements if m.instructions is not None
        )
    ]


def comparisons(result: measurement.Result) -> list[str]:
    """For each model and variant, how the best time of each runtime stands to the best of all.

    Empty for an emulated device; threads beyond the cores count for nothing.
    """
    if result.emulated:
        return []
    good = [m for m in result.measurements if m.status == "ok" and m.threads <= result.device.cores]
    timed = ((m, m.timing()) for m in good)
    return [
        f"{title(fast)}: {_compared(result, slow, fast)}"
        for (_, fast), (_, slow) in _best((t.latency_ns, m) for m, t in timed if t is not None)
    ]


def _compared(
    result: measurement.Result, slow: measurement.Measurement, fast: measurement.Measurement
) -> str:
    factor = measurement.latency_ratio((result, slow), (result, fast))
    slower, faster = configuration(slow.configuration), configuration(fast.configuration)
    if factor.low is None or factor.high is None:
        few = "of too few times to tell it from noise"
        return f"{slower} takes {number(factor.value)} times as long as {faster}, {few}"
    span = f"({number(factor.low)} to {number(factor.high)})"
    if not factor.beyond_noise:
        return f"{slower} and {faster} take the same time within noise {span}"
    return f"{slower} takes {number(factor.value)} times {span} as long as {faster}"


def _best(scores: Iterable[_Scored]) -> Iterator[tuple[_Scored, _Scored]]:
    """The least of each runtime against the least of all, for each variant that several ran."""
    best: dict[tuple[str, int, str], dict[str, _Scored]] = {}
    for value, m in scores:
        of_variant = best.setdefault((m.model, m.batch, m.variant), {})
        if m.runtime not in of_variant or value < of_variant[m.runtime][0]:
            of_variant[m.runtime] = (value, m)
    for runtimes in best.values():
        least, *others = sorted(runtimes.values(), key=lambda score: score[0])
        yield from ((least, other) for other in others)


def latency(result: measurement.Result, m: measurement.Measurement, milliseconds: float) -> str:
    """A latency in ms, with a mark where `notes` says that something disturbed the measurement."""
    return number(milliseconds) + ("*" if disturbances(m) and not result.emulated else "")


def energies(result: measurement.Result) -> list[str]:
    """What an inference takes of energy, where a real device tells."""
    if result.emulated:
        return []
    told = [(m, energy) for m in result.measurements if (energy := m.energy()) is not None]
    return [
        f"{subject(m.model, m.configuration)}: {number(energy.millijoules)} mJ an inference by "
        f"{energy.of}, with all that the device did meanwhile"
        for m, energy in told
    ]


def notes(result: measurement.Result, m: measurement.Measurement) -> list[str]:
    """What a reader should know about a measurement beside its numbers.

    Args:
        result: that it is of; what disturbed an emulator's times is of no interest.
        m: the measurement.
    """
    lines = []
    if not result.emulated:
        lines += [f"disturbed: {cause}" for cause in disturbances(m)]
        if m.threads > result.device.cores:
            cores = result.device.cores
            lines.append(f"{threads(m.threads)} on {cores} cores wait for each other")
        timing = m.timing()
        if timing is not None and timing.kept < MANY:
            lines.append(f"{timing.kept} samples only")
    if m.delegated is not None and m.delegated.taken < m.delegated.total:
        lines.append(f"{m.delegated.total - m.delegated.taken} nodes were not delegated")
    if m.parity is not None and not m.parity.holds:
        lines.append("differs from the reference")
    return lines


# Fewer kept samples than this, and a percentile is little more than the largest of them.
MANY = 10


def summary(m: measurement.Measurement) -> str:
    """One line on the times of a measurement and their spread; empty where it has none."""
    timing = m.timing()
    if timing is None:
        return ""
    said = [
        f"{timing.kept} of {timing.samples} samples",
        f"mean {milliseconds(timing.mean_ns)}",
        f"std {milliseconds(timing.std_ns)}",
    ]
    if timing.samples >= statistics.FEWEST:
        low, *_, high = sorted(statistics.blocks(m.samples_ns))
        least, most = number(low / 1e6), milliseconds(high)
        said.append(f"medians of {statistics.BLOCKS} blocks {least} to {most}")
    return ", ".join(said)


def any_emulated(results: Sequence[measurement.Result]) -> bool:
    """Whether a result is of an emulated device."""
    return any(result.emulated for result in results)


def any_real(results: Sequence[measurement.Result]) -> bool:
    """Whether a result is of a real device."""
    return any(not result.emulated for result in results)
