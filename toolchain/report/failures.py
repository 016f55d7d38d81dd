"""All that did not work, gathered from every result: what, at which stage, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolchain.accuracy.counts import Run, Subject
from toolchain.accuracy.metric_values import Judged
from toolchain.core.errors import BenchError
from toolchain.models.manifest import ModelManifest
from toolchain.report import formatting
from toolchain.results import measurement

MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class Failed:
    """One thing that did not work.

    Attributes:
        where: the device, or this machine.
        what: the model and its configuration.
        stage: how far it came.
        why: the reason.
    """

    where: str
    what: str
    stage: str
    why: str


HERE = "this machine"


def collect(
    results: Sequence[measurement.Result], runs: Iterable[Run], manifests: Iterable[ModelManifest]
) -> list[Failed]:
    """What failed: variants that were not made, jobs, runs that were cut short, images left out."""
    return [
        *(failed for manifest in manifests for failed in _not_made(manifest)),
        *(failed for result in results for failed in _of_result(result)),
        *(failed for run in runs for failed in _of_run(run)),
    ]


def _not_made(manifest: ModelManifest) -> Iterator[Failed]:
    for artifact, why in manifest.missing.items():
        what = f"{manifest.model}, batch {manifest.batch}, {artifact}"
        yield Failed(where=HERE, what=what, stage="conversion", why=why)


def _of_result(result: measurement.Result) -> Iterator[Failed]:
    for m in result.measurements:
        if m.error is not None:
            yield Failed(
                where=result.host,
                what=formatting.subject(m.model, m.configuration),
                stage=m.error.stage,
                why=f"{m.error.kind}: {m.error.message}",
            )
    if not result.complete:
        yield Failed(
            where=result.host,
            what="the whole run",
            stage="measuring",
            why="it was cut short; not all jobs are here",
        )


def _of_run(run: Run) -> Iterator[Failed]:
    for subject in run.subjects:
        if subject.error:
            stage, _, why = subject.error.partition(": ")
            what = f"{run.model}, {formatting.configuration(subject.configuration)}"
            yield Failed(where=run.host, what=what, stage=f"accuracy, {stage}", why=why or stage)
    if run.unreadable:
        names = ", ".join(run.unreadable[:MOST_NAMES])
        more = len(run.unreadable) - MOST_NAMES
        yield Failed(
            where=HERE,
            what=f"images of {run.dataset}: {len(run.unreadable)}",
            stage="reading",
            why=f"can't be read, left out: {names}{f' and {more} more' if more > 0 else ''}",
        )


def refuse(subjects: Sequence[Subject] | Sequence[Judged]) -> None:
    """Raise when a configuration could not run the images.

    Raises:
        BenchError: it names each.
    """
    failed = [
        f"{formatting.configuration(s.configuration)}: {s.error}" for s in subjects if s.error
    ]
    if failed:
        raise BenchError(
            f"{len(failed)} of {len(subjects)} could not run all images",
            detail="\n".join(failed),
            resolution="the same command again tries these again; --debug says more",
        )
