"""All that did not work, gathered from every result: what, at which stage, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolchain.accuracy.counts import Run
from toolchain.models.manifest import ModelManifest
from toolchain.report import accuracy_section, formatting
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


def found(
    measured: Sequence[measurement.Result], runs: Iterable[Run], manifests: Iterable[ModelManifest]
) -> list[Failed]:
    """What failed: forms that were not made, jobs, runs that were cut short, images left out."""
    return [
        *(one for manifest in manifests for one in _not_made(manifest)),
        *(one for result in measured for one in _of_result(result)),
        *(one for run in runs for one in _of_run(run)),
    ]


def _not_made(manifest: ModelManifest) -> Iterator[Failed]:
    for form, why in manifest.missing.items():
        what = f"{manifest.model}, batch {manifest.batch}, {form}"
        yield Failed(where=HERE, what=what, stage="conversion", why=why)


def _of_result(result: measurement.Result) -> Iterator[Failed]:
    for m in result.measurements:
        if m.error is not None:
            yield Failed(
                where=result.host,
                what=f"{formatting.title(m)}, {formatting.configuration(m)}",
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
            what = f"{run.model}, {accuracy_section.name(subject)}"
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
