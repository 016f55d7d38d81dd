"""The task that shows results, as a table, as a page, and as a page kept fresh: parse, call, print.

Modules are imported by the task, so that listing the tasks is quick.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, Limit, LimitMs, Whole
from toolchain.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from toolchain.accuracy.counts import Run
    from toolchain.accuracy.metric_values import MetricRun
    from toolchain.models.manifest import ModelManifest
    from toolchain.report.answers import Limits
    from toolchain.report.reports import Built
    from toolchain.report.tables.releases import Held
    from toolchain.results.measurement import Result


@task(
    help={
        "host": "devices, separated by commas; all with results when left out",
        "all": "every result rather than the latest of each device, network and configuration",
        "under": "recommend nothing that takes longer, in ms; 0 is no limit",
        "within": "recommend nothing that loses more points of top-1 than that",
        "compare": "two results, separated by a comma: files or names in results/, or hosts",
        "serve": "keep the page fresh while measurements come in, for a browser of this machine",
        "port": "of --serve; 0 takes one that is free",
        "json": JSON,
    }
)
@guarded
def report(
    _: Context,
    host: str = "",
    all: bool = False,  # noqa: A002
    compare: str = "",
    *,
    under: float = LimitMs(0),
    within: str = "",
    serve: bool = False,
    port: int = Whole(8000),
    json: bool = False,
) -> None:
    """Show results as a table and write them as HTML, CSV and JSON to reports/."""
    from toolchain.report import accuracy_section, metric_section, reports
    from toolchain.report.answers import Limits
    from toolchain.report.tables import releases

    limits = Limits(under_ms=under or None, within=Limit(within) if within else None)
    asked = _Asked(hosts=options.names(host), every=all, limits=limits)
    if serve:
        if compare or json:
            raise UsageError(
                "--serve keeps one page fresh, that of the newest results",
                resolution="leave out --compare and --json",
            )
        _serve(asked, port)
        return
    if compare:
        _compare(compare, json=json)
        return
    shown = _gathered(asked)
    built = _built(shown, asked)
    if json:
        console.out.file.write(built.json.read_text())
    else:
        if shown.results:
            reports.show(shown.results, console.out, runs=shown.runs, limits=limits)
            ran = [one for one in shown.held if one.newest or all]
            console.show_table(releases.TITLE, releases.COLUMNS, [one.row for one in ran])
            if earlier := len(shown.held) - len(ran):
                console.note(f"the page has {earlier} more, of earlier releases")
        for run in shown.runs:
            title = f"{run.model} on {run.host}: {run.dataset}"
            console.show_table(title, accuracy_section.COLUMNS, accuracy_section.rows(run))
        for one in shown.judged:
            title = f"{one.model} on {one.host}: {one.dataset}, {one.images} images"
            console.show_table(title, metric_section.columns(one), metric_section.rows(one))
    console.note(f"report: {built.html}")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which results, and what a recommendation keeps to."""

    hosts: Sequence[str]
    every: bool
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    """The results that a report is of, their two other kinds, and what each release ran."""

    results: Sequence[Result]
    runs: Sequence[Run]
    judged: Sequence[MetricRun]
    held: Sequence[Held]


def _gathered(asked: _Asked) -> _Gathered:
    from toolchain.accuracy import counts, metric_values
    from toolchain.core import paths
    from toolchain.report.tables import releases
    from toolchain.results import measurement, shared_folder

    folder, note = paths.results(), console.note
    shared = shared_folder.files(note)
    found = measurement.load_all(folder, note, shared[shared_folder.MEASUREMENTS])
    runs = counts.load_all(folder / "accuracy", note, shared[shared_folder.ACCURACY])
    judged = metric_values.load_all(folder / "metrics", note, shared[shared_folder.METRICS])
    found = [r for r in found if not asked.hosts or r.host in asked.hosts]
    for line in measurement.ambiguous(found):
        note(line)
    return _Gathered(
        results=found if asked.every else measurement.latest(found),
        runs=[r for r in runs if not asked.hosts or r.host in asked.hosts],
        judged=[r for r in judged if not asked.hosts or r.host in asked.hosts],
        held=releases.held(found),
    )


def _built(of: _Gathered, asked: _Asked) -> Built:
    from toolchain.report import reports

    return reports.build(
        of.results, runs=of.runs, judged=of.judged,
        manifests=_manifests(of.results), limits=asked.limits, held=of.held,
    )  # fmt: skip


def _serve(asked: _Asked, port: int) -> None:
    """Serve the page until it is ended by Ctrl-C."""
    from toolchain.core import paths
    from toolchain.report.serving.page_server import PageServer, state_of

    folder = paths.results()
    folders = [folder, folder / "accuracy", folder / "metrics"]

    def made() -> str:
        return _built(_gathered(asked), asked).html.read_text()

    with PageServer(port, lambda: state_of(folders), made) as server:
        console.note(f"{server.url} has the report, and each new measurement; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _manifests(found: Sequence[Result]) -> list[ModelManifest]:
    """The manifests of the models that were measured, where this machine still has them."""
    from toolchain.models import place
    from toolchain.models.manifest import ModelManifest

    measured = {(m.model, m.batch) for result in found for m in result.measurements}
    manifests = []
    for model, batch in sorted(measured):
        # a report of results must not fail for a manifest of another version
        with contextlib.suppress(ModelError):
            manifests.append(ModelManifest.load(place.folder_of(model, batch)))
    return manifests


def _compare(names: str, *, json: bool) -> None:
    from toolchain.core import paths
    from toolchain.report import comparison, reports
    from toolchain.report.html_page import Compared
    from toolchain.results import shared_folder

    chosen = options.names(names)
    if len(chosen) != 2:
        raise UsageError(
            "--compare takes two results", resolution="for example: --compare board-a,board-b"
        )
    folder, note = paths.results(), console.note
    others = functools.cache(lambda: shared_folder.measurements(note))
    first, second = (comparison.find(name, folder, note, others) for name in chosen)
    found = comparison.compare(first, second)
    compared = Compared(first=first, second=second, changes=found)
    built = reports.build([first, second], compared=compared, name="compare")
    if json:
        console.show_json([vars(change) for change in found])
    else:
        console.out.print(comparison.table(first, second, found))
    console.note(f"report: {built.html}")
