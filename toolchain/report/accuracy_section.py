"""Accuracy on a user's own images (`toolchain.accuracy.counts`) in words, rows and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

from toolchain.accuracy.counts import Counts, Run, Subject
from toolchain.report import formatting
from toolchain.report.charts import latency_chart
from toolchain.results.statistics import Proportion, wilson

COLUMNS = [
    "runtime",
    "images",
    "top-1 (95 %)",
    "top-5 (95 %)",
    "here, top-1",
    "same class as here",
    "published top-1 / top-5",
    "classes matched",
]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One configuration in words, a field for each of `COLUMNS`.

    Attributes:
        runtime: the configuration.
        images: how many were run, of how many.
        top1, top5: shares of right classes with their 95 % intervals.
        here: top-1 of the same variant on this machine.
        same_class: on how many images the device and this machine say the same.
        published: top-1 and top-5 that others measured.
        classes_matched: how labels and the model's classes were matched.
    """

    runtime: str
    images: str
    top1: str
    top5: str
    here: str
    same_class: str
    published: str
    classes_matched: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration on one set of images; shares are of 1, None is what is not known."""

    host: str
    model: str
    dataset: str
    runtime: str
    variant: str
    opt_level: int | None
    threads: int
    images: int
    total: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    top5_low: float
    top5_high: float
    reference_top1: float
    agree: int
    published_top1: float | None
    published_top5: float | None
    classes_matched: str
    artifact_sha256: str


def lines(run: Run) -> list[Line]:
    """What was run of a run, now or before, in words."""
    published = " / ".join(
        "-" if p is None else f"{p:g} %" for p in (run.published_top1, run.published_top5)
    )
    return [_line(run, subject, counts, published) for subject, counts in counted(run)]


def _line(run: Run, subject: Subject, counts: Counts, published: str) -> Line:
    top1, top5 = top(counts)
    return Line(
        runtime=formatting.configuration(subject.configuration),
        images=f"{counts.total} of {run.images}",
        top1=formatting.interval(top1),
        top5=formatting.interval(top5),
        here=formatting.percent(counts.reference_top1 / counts.total),
        same_class=f"{counts.agree}/{counts.total}",
        published=published,
        classes_matched=run.classes_matched or "not recorded",
    )


def rows(run: Run) -> list[list[str]]:
    """The table of a run, in the order of `COLUMNS`."""
    return [list(astuple(line)) for line in lines(run)]


def counted(run: Run) -> Iterator[tuple[Subject, Counts]]:
    """What was run, with its counts."""
    for subject in run.subjects:
        counts = subject.sum()
        if counts is not None:
            yield subject, counts


def top(counts: Counts) -> tuple[Proportion, Proportion]:
    """Top-1 and top-5 with Wilson's intervals."""
    return wilson(counts.top1, counts.total), wilson(counts.top5, counts.total)


def flatten(runs: Iterable[Run]) -> list[Row]:
    """Every configuration of some runs."""
    return [_row(run, subject, counts) for run in runs for subject, counts in counted(run)]


def _row(run: Run, subject: Subject, counts: Counts) -> Row:
    top1, top5 = top(counts)
    return Row(
        host=run.host,
        model=run.model,
        dataset=run.dataset,
        runtime=subject.runtime,
        variant=subject.variant,
        opt_level=subject.opt_level,
        threads=subject.threads,
        images=run.images,
        total=counts.total,
        top1=top1.share,
        top1_low=top1.low,
        top1_high=top1.high,
        top5=top5.share,
        top5_low=top5.low,
        top5_high=top5.high,
        reference_top1=counts.reference_top1 / counts.total,
        agree=counts.agree,
        published_top1=_share(run.published_top1),
        published_top5=_share(run.published_top5),
        classes_matched=run.classes_matched,
        artifact_sha256=subject.sha256,
    )


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)


def plot(run: Run) -> str:
    """The bars of a run; empty when nothing was run."""
    bars = []
    for subject, counts in counted(run):
        top1, top5 = top(counts)
        bars.append(
            latency_chart.Shares(
                label=formatting.configuration(subject.configuration),
                runtime=subject.runtime,
                top1=top1,
                top5=top5,
                here=counts.reference_top1 / counts.total,
                published=(_share(run.published_top1), _share(run.published_top5)),
            )
        )
    return latency_chart.shares(f"{run.model} on {run.dataset}", bars) if bars else ""
