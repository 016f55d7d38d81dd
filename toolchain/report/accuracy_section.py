"""Accuracy on a user's own images (`toolchain.accuracy.counts`) in words, rows and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolchain.accuracy.counts import Counts, Run, Subject
from toolchain.core.errors import BenchError
from toolchain.report import formatting, latency_chart
from toolchain.results.statistics import Proportion, wilson

COLUMNS = [
    "runtime",
    "images",
    "top-1 (95 %)",
    "top-5 (95 %)",
    "here, top-1",
    "same class as here",
    "published top-1 / top-5",
]


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
    artifact_sha256: str


def rows(run: Run) -> list[list[str]]:
    """The table of a run, in the order of `COLUMNS`: what was run, now or before."""
    published = " / ".join(
        "-" if p is None else f"{p:g} %" for p in (run.published_top1, run.published_top5)
    )
    return [
        [
            formatting.configuration(subject.configuration),
            *_cells(counts, run.images),
            published,
        ]
        for subject, counts in counted(run)
    ]


def counted(run: Run) -> Iterator[tuple[Subject, Counts]]:
    """What was run, with its counts."""
    for subject in run.subjects:
        counts = subject.sum()
        if counts is not None:
            yield subject, counts


def top(counts: Counts) -> tuple[Proportion, Proportion]:
    """Top-1 and top-5 with Wilson's intervals."""
    return wilson(counts.top1, counts.total), wilson(counts.top5, counts.total)


def _cells(counts: Counts, images: int) -> Iterable[str]:
    return [
        f"{counts.total} of {images}",
        *(formatting.interval(share) for share in top(counts)),
        formatting.percent(counts.reference_top1 / counts.total),
        f"{counts.agree}/{counts.total}",
    ]


def refuse_failures(run: Run) -> None:
    """Raise when a runtime could not run the images.

    Raises:
        BenchError: it names each.
    """
    failed = [
        f"{formatting.configuration(s.configuration)}: {s.error}" for s in run.subjects if s.error
    ]
    if failed:
        raise BenchError(
            f"{len(failed)} of {len(run.subjects)} could not run all images",
            detail="\n".join(failed),
            resolution="the same command again tries these again; --debug says more",
        )


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
