"""What a matrix of measurements comes to: the best parameters, and runtimes against each other.

Of one host, and never of an emulated one: its times are no board's.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterator
from dataclasses import dataclass

from toolchain.models.variants import form_of
from toolchain.report import formatting
from toolchain.results import measurement as results


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement with times.

    Attributes:
        measurement: it.
        form: of the network.
        fps: inputs a second.
    """

    measurement: results.Measurement
    form: str
    fps: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One runtime's throughput over the other's, the best of each at each batch.

    Attributes:
        model: the network.
        form: of it.
        mean: geometric mean of TVM's FPS over TensorFlow Lite's, over the batches.
        by_batch: the ratio at each batch.
    """

    model: str
    form: str
    mean: float
    by_batch: dict[int, float]


def points(result: results.Result) -> list[Point]:
    """Every good measurement that has times; none of an emulated device."""
    if result.emulated:
        return []
    return [
        Point(measurement=m, form=form_of(m.runtime, m.variant), fps=timing.fps)
        for m in result.measurements
        if m.status == "ok" and (timing := m.timing()) is not None
    ]


def best(result: results.Result) -> list[Point]:
    """For each model and runtime the measurement with the most inputs a second."""
    found: dict[tuple[str, str], Point] = {}
    for point in points(result):
        key = (point.measurement.model, point.measurement.runtime)
        if key not in found or point.fps > found[key].fps:
            found[key] = point
    return [found[key] for key in sorted(found)]


def ratios(result: results.Result) -> list[Ratio]:
    """TVM against TensorFlow Lite for each form of each model, where both ran a batch.

    The mean over batches is the geometric one, as for ratios of which either may be above one: with
    the runtimes exchanged it is its reciprocal.
    """
    fastest: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for point in points(result):
        m = point.measurement
        at = fastest.setdefault((m.model, point.form), {}).setdefault(m.batch, {})
        at[m.runtime] = max(point.fps, at.get(m.runtime, 0.0))
    return list(_ratios(fastest))


def _ratios(fastest: dict[tuple[str, str], dict[int, dict[str, float]]]) -> Iterator[Ratio]:
    for (model, form), batches in sorted(fastest.items()):
        by_batch = {
            batch: of["tvm"] / of["tflite"] for batch, of in sorted(batches.items()) if len(of) == 2
        }
        if by_batch:
            mean = plain.geometric_mean(by_batch.values())
            yield Ratio(model=model, form=form, mean=mean, by_batch=by_batch)


def best_lines(result: results.Result) -> list[str]:
    """The best parameters in words, where there was a choice."""
    tried: dict[tuple[str, str], int] = {}
    for point in points(result):
        key = (point.measurement.model, point.measurement.runtime)
        tried[key] = tried.get(key, 0) + 1
    return [
        f"{m.model}: fastest of {tried[m.model, m.runtime]} by {formatting.configuration(m)}, "
        f"batch {m.batch}: {formatting.number(point.fps)} FPS"
        for point in best(result)
        if tried[(m := point.measurement).model, m.runtime] > 1
    ]


def ratio_lines(result: results.Result) -> list[str]:
    """The mean ratios in words, where there are several batches to take a mean of."""
    return [
        f"{ratio.model} {ratio.form}: TVM's FPS is on average {formatting.number(ratio.mean)} "
        f"times TensorFlow Lite's over batches {', '.join(map(str, ratio.by_batch))}"
        for ratio in ratios(result)
        if len(ratio.by_batch) > 1
    ]
