"""What a matrix of measurements comes to: the best parameters, and runtimes against each other.

Of one host. Times of an emulated one never count: they are no board's.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolchain.accuracy.counts import Run
from toolchain.report import candidates, formatting
from toolchain.report.candidates import Candidate
from toolchain.report.charts import runtime_style
from toolchain.report.measurement_rows import own_memory
from toolchain.results import measurement as results


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement with times, and the inputs a second that they come to."""

    measurement: results.Measurement
    fps: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One runtime's throughput over the baseline's, the best of each at each batch.

    Attributes:
        model: the network.
        variant: of it.
        runtime: whose throughput it is.
        baseline: what it is divided by: the first of the runtimes that ran the variant, in the
            order of `runtime_style.in_order`.
        mean: geometric mean of the ratio over the batches.
        by_batch: the ratio at each batch that both ran.
    """

    model: str
    variant: str
    runtime: str
    baseline: str
    mean: float
    by_batch: dict[int, float]


@dataclass(frozen=True, kw_only=True)
class BestOfRuntime:
    """The fastest configuration of a network under one runtime, in words; "-" is not known.

    Attributes:
        model: the network, with its batch.
        runtime: for people.
        configuration: variant, optimisation level and threads.
        cost: its latency, or the instructions of an inference.
        times: its cost over that of the fastest runtime.
        top1: on the images that were run, or on the model's samples.
        lost: percentage points of it against the network as it was trained.
        size: of the file that is run.
        memory: that the model adds to its process.
    """

    model: str
    runtime: str
    configuration: str
    cost: str
    times: str
    top1: str
    lost: str
    size: str
    memory: str


def by_runtime(result: results.Result, runs: Sequence[Run] = ()) -> list[BestOfRuntime]:
    """Each network's runtimes, the fastest first, where it ran under several.

    Args:
        result: of one device.
        runs: accuracy on images of the user's.
    """
    rows = []
    for title, found in candidates.by_title(result, runs).items():
        fastest: dict[str, Candidate] = {}
        for one in sorted(found, key=lambda c: c.cost):
            fastest.setdefault(one.measured.runtime, one)
        if len(fastest) > 1:
            least = next(iter(fastest.values())).cost
            rows += [
                _row(
                    title,
                    one,
                    least,
                    candidates.source_top1(found, one),
                    counted=result.counted,
                )
                for one in fastest.values()
            ]
    return rows


def _row(
    title: str, of: Candidate, least: float, source: float | None, *, counted: bool
) -> BestOfRuntime:
    own = own_memory(of.measured)
    return BestOfRuntime(
        model=title,
        runtime=runtime_style.label(of.measured.runtime),
        configuration=of.words,
        cost=candidates.cost(of.cost, counted=counted),
        times=formatting.number(of.cost / least) if least else "-",
        top1=formatting.percent(of.top1.there) if of.top1 else "-",
        lost=formatting.points_lost(of.top1.there if of.top1 else None, source),
        size=formatting.size(of.size) if of.size else "-",
        memory="-" if own is None or counted else formatting.mebibytes(own),
    )


def points(result: results.Result) -> list[Point]:
    """Every good measurement that has times; none of an emulated device."""
    if result.emulated:
        return []
    return [
        Point(measurement=m, fps=timing.fps)
        for m in result.measurements
        if m.status == "ok" and (timing := m.timing()) is not None
    ]


def best(result: results.Result) -> list[Point]:
    """For each model and runtime the measurement with the most inputs a second."""
    fastest: dict[tuple[str, str], Point] = {}
    for point in points(result):
        key = (point.measurement.model, point.measurement.runtime)
        if key not in fastest or point.fps > fastest[key].fps:
            fastest[key] = point
    return [fastest[key] for key in sorted(fastest)]


def ratios(result: results.Result) -> list[Ratio]:
    """Each runtime against the baseline for each variant of each model, where both ran a batch.

    The mean over batches is the geometric one, as for ratios of which either may be above one: with
    the runtimes exchanged it is its reciprocal.
    """
    # model and variant, runtime, batch: the most inputs a second
    fastest: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for point in points(result):
        m = point.measurement
        of_runtime = fastest.setdefault((m.model, m.variant), {}).setdefault(m.runtime, {})
        of_runtime[m.batch] = max(point.fps, of_runtime.get(m.batch, 0.0))
    return [
        ratio
        for (model, variant), by_runtime in sorted(fastest.items())
        for ratio in _ratios(model, variant, by_runtime)
    ]


def _ratios(model: str, variant: str, fastest: dict[str, dict[int, float]]) -> Iterator[Ratio]:
    baseline, *others = runtime_style.in_order(fastest)
    for runtime in others:
        both = sorted(fastest[runtime].keys() & fastest[baseline].keys())
        by_batch = {batch: fastest[runtime][batch] / fastest[baseline][batch] for batch in both}
        if by_batch:
            yield Ratio(
                model=model,
                variant=variant,
                runtime=runtime,
                baseline=baseline,
                mean=statistics.geometric_mean(by_batch.values()),
                by_batch=by_batch,
            )


def best_lines(result: results.Result) -> list[str]:
    """The best parameters in words, where there was a choice."""
    tried: dict[tuple[str, str], int] = {}
    for point in points(result):
        key = (point.measurement.model, point.measurement.runtime)
        tried[key] = tried.get(key, 0) + 1
    return [
        f"{m.model}: fastest of {tried[m.model, m.runtime]} by "
        f"{formatting.configuration(m.configuration)}, batch {m.batch}: "
        f"{formatting.number(point.fps)} FPS"
        for point in best(result)
        if tried[(m := point.measurement).model, m.runtime] > 1
    ]


def ratio_lines(result: results.Result) -> list[str]:
    """The mean ratios in words, where there are several batches to take a mean of."""
    return [
        f"{ratio.model} {ratio.variant}: {runtime_style.title(ratio.runtime)}'s FPS is on average "
        f"{formatting.number(ratio.mean)} times {runtime_style.title(ratio.baseline)}'s over "
        f"batches {', '.join(map(str, ratio.by_batch))}"
        for ratio in ratios(result)
        if len(ratio.by_batch) > 1
    ]
