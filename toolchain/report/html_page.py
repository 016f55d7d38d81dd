"""The HTML page of a report: one file with its plots inside, which opens without a network."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolchain.accuracy.counts import Run
from toolchain.accuracy.metric_values import MetricRun
from toolchain.models.manifest import ModelManifest
from toolchain.report import (
    accuracy_section,
    answers,
    comparison,
    formatting,
    measurement_rows,
    metric_section,
    summary,
)
from toolchain.report.answers import NO_LIMITS, Limits
from toolchain.report.charts import (
    batch_chart,
    latency_chart,
    runtime_style,
    tradeoff_chart,
    variant_chart,
)
from toolchain.report.failures import Failed
from toolchain.report.measurement_rows import Counted
from toolchain.report.tables import releases
from toolchain.report.tables.explanations import Legend
from toolchain.results import measurement, statistics

TEMPLATES = Path(__file__).with_name("templates")
PAGE = "report.html.j2"

VARIANTS = (
    "Size is of the file that is run: a model, or a compiled library with the weights in it; a "
    "percentage is of fp32’s. Latency is that of the fastest number of threads."
)
MOST_SHOWN = 500  # measurements of a result, each of which has its rows, its bars and its trace
TRADEOFFS = (
    "Each point is a configuration that ran well. Numbers: those that no other beats in both, the "
    "fastest first; the line joins them. Signs: the others, by runtime. Accuracies closer than "
    "their 95 % intervals are alike."
)
TICKS = "; each tick below a bar is a measured time."
NO_TIMES = "Times are left out here: they are emulated."
ACCURACY = (
    "Thick bar: top-1 on the device; thin bar: top-5; each with its 95 % Wilson interval. Dashed "
    "line: top-1 of the reference on the same inputs."
)
MEMORY = (
    "What the model adds to its process: the peak, less what Python, numpy and the runtime took "
    "before it was loaded."
)
EMULATORS_MEMORY = "Under emulation the emulator’s own memory is in it."


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two results and what changed from the first to the second."""

    first: measurement.Result
    second: measurement.Result
    changes: Sequence[comparison.Change]


@dataclass(frozen=True, kw_only=True)
class Plots:
    """The plots of one kind as SVG, with what stands above and below them.

    Attributes:
        timed: whether times are in them, which are marked where they are emulated.
        legend: the sign of each runtime, from `runtime_style.legend`.
    """

    heading: str
    caption: str
    figures: Sequence[str]
    timed: bool = False
    legend: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says of one result.

    Attributes:
        shown: its measurements that have rows, bars and traces.
        runtimes: the best of each, where a network ran under several.
        choice: the plots to choose by, above all tables; there may be none.
        plots: of each kind of which there are any.
        traces: SVGs of each time in the order measured; none where there are too many.
        inputs: on what each model was compared with its reference.
        lines: below the table, a sentence each.
        counted: measurements of instructions, for those with times of the same configuration.
        sources: top-1 of each network as it was trained, from `measurement_rows.sources`.
    """

    result: measurement.Result
    shown: Sequence[measurement.Measurement]
    runtimes: Sequence[summary.BestOfRuntime]
    choice: Plots
    plots: Sequence[Plots]
    traces: Sequence[str]
    inputs: Sequence[str]
    lines: Sequence[str]
    counted: Counted = field(default_factory=dict)
    sources: measurement_rows.Sources = field(default_factory=dict)


def render(
    results: Sequence[measurement.Result],
    *,
    runs: Sequence[Run] = (),
    judged: Sequence[MetricRun] = (),
    manifests: Sequence[ModelManifest] = (),
    failed: Sequence[Failed] = (),
    compared: Compared | None = None,
    limits: Limits = NO_LIMITS,
    held: Sequence[releases.Held] = (),
) -> str:
    """The page as HTML.

    Args:
        results: in the order to show them.
        runs: accuracy on images of the user's.
        judged: what other metrics said of such images.
        manifests: of measured models that this machine still has.
        failed: from `failures.collect`.
        compared: two results side by side.
        limits: what a configuration keeps to that is recommended.
        held: what each release ran, from `releases.held`.
    """
    measured = {m.runtime for result in results for m in result.measurements}
    measured |= {subject.runtime for run in runs for subject in run.subjects}
    return (
        _environment()
        .get_template(PAGE)
        .render(
            formatting=formatting,
            accuracies=accuracy_section,
            metrics=metric_section,
            rows=measurement_rows,
            mark=measurement.EMULATED,
            emulated=formatting.any_emulated(results),
            real=formatting.any_real(results),
            colours=runtime_style.colours(measured),
            written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            runs=runs,
            judged=judged,
            failed=failed,
            compared=compared,
            held=held,
            answers=answers,
            releases=releases,
            legend=Legend(),
            answered=[
                (result, found)
                for result in results
                if (found := answers.answers(result, runs, limits))
            ],
            sections=[
                replace(
                    _section(result, f"h{number}", manifests, runs),
                    counted=measurement_rows.beside(result, measurement_rows.counted(results)),
                )
                for number, result in enumerate(results)
            ],
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _section(
    result: measurement.Result, key: str, manifests: Sequence[ModelManifest], runs: Sequence[Run]
) -> Section:
    """One result's part of the page; `key` is its own there."""
    many, shown = len(result.measurements) > MOST_SHOWN, fewer(result)
    by_title = _by_title(shown)
    models = [
        _Model(
            title=title,
            measurements=measured,
            ticks=not many,
            emulated=result.emulated,
            key=f"{key}m{number}",
        )
        for number, (title, measured) in enumerate(by_title.items())
    ]
    plots = [
        Plots(
            heading="Throughput by batch",
            caption="Inputs a second, from zero; batches are evenly spaced.",
            figures=batch_chart.by_batch(result, best_alone=many),
        ),
        Plots(
            heading="Latency",
            caption="Bars are medians" + ("." if many else TICKS),
            figures=[model.latency() for model in models if model.timed],
            timed=True,
        ),
        Plots(
            heading="Variants",
            caption=VARIANTS + (" " + NO_TIMES if result.emulated else ""),
            figures=variant_chart.by_model(shown),
        ),
        Plots(
            heading="Accuracy on the model’s samples",
            caption=ACCURACY,
            figures=[model.accuracy() for model in models if model.labelled],
        ),
        Plots(
            heading="Memory",
            caption=MEMORY + (" " + EMULATORS_MEMORY if result.emulated else ""),
            figures=[model.memory() for model in models if model.weighed],
        ),
    ]
    return Section(
        result=result,
        shown=shown.measurements,
        runtimes=summary.by_runtime(result, runs),
        choice=Plots(
            heading="What accuracy and size cost",
            caption=TRADEOFFS,
            figures=tradeoff_chart.by_model(shown, runs),
            legend=runtime_style.legend({m.runtime for m in shown.measurements}),
        ),
        plots=[kind for kind in plots if kind.figures],
        traces=[] if many else [trace for model in models for trace in model.traces()],
        inputs=_inputs(manifests, by_title),
        lines=_lines(result, shown),
        sources=measurement_rows.sources(result),
    )


def _lines(result: measurement.Result, shown: measurement.Result) -> list[str]:
    return [
        *formatting.comparisons(result),
        *formatting.energies(shown),
        *summary.best_lines(result),
        *summary.ratio_lines(result),
    ]


def _inputs(manifests: Sequence[ModelManifest], titles: Container[str]) -> list[str]:
    return [
        f"Inputs of {formatting.titled(made.model, made.batch)}: {formatting.inputs(made)}"
        for made in manifests
        if made.samples.origins and formatting.titled(made.model, made.batch) in titles
    ]


def _by_title(result: measurement.Result) -> dict[str, list[measurement.Measurement]]:
    found: dict[str, list[measurement.Measurement]] = {}
    for m in result.measurements:
        found.setdefault(formatting.title(m), []).append(m)
    return found


def fewer(result: measurement.Result) -> measurement.Result:
    """A result with what is shown of it: all, or of very many what `_telling` keeps."""
    if len(result.measurements) <= MOST_SHOWN:
        return result
    kept = [m for measured in _by_title(result).values() for m in _telling(measured)]
    return result.model_copy(update={"measurements": kept})


def _telling(measured: Sequence[measurement.Measurement]) -> list[measurement.Measurement]:
    """Of one network at one batch the fastest of each runtime and variant, and what is not right.

    Of the variants those alone of the runtime that is the fastest of all.
    """
    fastest: dict[str, dict[str, measurement.Measurement]] = {}
    for m in sorted(measured, key=_cost):
        fastest.setdefault(m.runtime, {}).setdefault(m.variant, m)
    of_all = next(iter(fastest.values()))
    kept = [*of_all.values(), *(next(iter(of.values())) for of in fastest.values())]
    names = {id(m) for m in kept}
    return [
        m
        for m in measured
        if id(m) in names or m.status != "ok" or (m.parity is not None and not m.parity.holds)
    ]


def _cost(m: measurement.Measurement) -> float:
    if m.instructions is not None:
        return m.instructions.each
    timing = m.timing()
    return timing.latency_ns if timing else float("inf")


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One model at one batch, and its plots.

    Attributes:
        title: the model, with its batch.
        measurements: of it.
        ticks: whether single times are drawn.
        emulated: whether its times are.
        key: unique in the page.
    """

    title: str
    measurements: Sequence[measurement.Measurement]
    ticks: bool
    emulated: bool
    key: str

    @property
    def timed(self) -> list[tuple[measurement.Measurement, statistics.Timing]]:
        """What has times."""
        return [(m, timing) for m in self.measurements if (timing := m.timing()) is not None]

    @property
    def weighed(self) -> list[tuple[measurement.Measurement, int]]:
        """What has its own memory, in bytes."""
        owned = ((m, measurement_rows.own_memory(m)) for m in self.measurements)
        return [(m, own) for m, own in owned if own]

    @property
    def labelled(self) -> list[tuple[measurement.Measurement, measurement.Accuracy]]:
        """What has an accuracy."""
        return [(m, m.accuracy) for m in self.measurements if m.accuracy]

    def latency(self) -> str:
        """The medians with all times."""
        bars = [
            latency_chart.Bar(
                label=formatting.configuration(m.configuration),
                value=timing.latency_ns / 1e6,
                text=formatting.milliseconds(timing.latency_ns),
                runtime=m.runtime,
                observations=[ns / 1e6 for ns in m.samples_ns] if self.ticks else [],
            )
            for m, timing in self.timed
        ]
        title, key = f"{self.title}: latency", f"{self.key}l"
        return latency_chart.bars(title, bars, unit="ms", emulated=self.emulated, key=key)

    def memory(self) -> str:
        """What each takes of memory."""
        bars = [
            latency_chart.Bar(
                label=formatting.configuration(m.configuration),
                value=peak / measurement_rows.MIB,
                text=formatting.mebibytes(peak),
                runtime=m.runtime,
            )
            for m, peak in self.weighed
        ]
        title, key = f"{self.title}: memory", f"{self.key}p"
        return latency_chart.bars(title, bars, unit="MiB", emulated=False, key=key)

    def accuracy(self) -> str:
        """Top-1 and top-5 on the model's own samples."""
        shares = [
            latency_chart.Shares(
                label=formatting.configuration(m.configuration),
                runtime=m.runtime,
                top1=measurement_rows.accuracy_of(counted),
                top5=statistics.wilson(counted.correct_top5, counted.total),
                here=counted.reference_correct / counted.total,
            )
            for m, counted in self.labelled
        ]
        return latency_chart.shares(f"{self.title}: top-1 and top-5", shares)

    def traces(self) -> list[str]:
        """Each time in the order measured."""
        return [
            latency_chart.trace(
                f"{self.title}, {formatting.configuration(m.configuration)}",
                [ns / 1e6 for ns in m.samples_ns],
                m.runtime,
                emulated=self.emulated,
            )
            for m, _ in self.timed
        ]
