"""The tasks of results over time and of many people: parse, call, print."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, Limit
from toolchain.core.errors import UsageError

SUMMARY = "GITHUB_STEP_SUMMARY"  # where GitHub's CI shows Markdown beside a run


@task(
    help={
        "host": "devices, separated by commas; all with results when left out",
        "fail-on-regression": "exit 1 when a configuration's newest run is slower beyond noise, or "
        "less accurate, by more than so many percent",
        "junit": "also write JUnit's XML, to this file",
        "json": JSON,
    }
)
@guarded
def history(
    _: Context,
    *,
    host: str = "",
    fail_on_regression: str = "",
    junit: str = "",
    json: bool = False,
) -> None:
    """Show each configuration's latency, size and accuracy over all runs, and what got worse."""
    from toolchain.core import paths
    from toolchain.report.over_time import files, series
    from toolchain.results import measurement, shared_folder

    percent = float(Limit(fail_on_regression.rstrip("% ") or 0))
    hosts = options.names(host)
    others = shared_folder.measurements(console.note)
    results = measurement.load_all(paths.results(), console.note, others)
    results = [r for r in results if not hosts or r.host in hosts]
    for line in measurement.ambiguous(results):
        console.note(line)
    found = series.histories(results)
    if not found:
        raise UsageError(
            "there is nothing to show: no times of real devices, no counted instructions",
            resolution="`invoke bench --host NAME` measures",
        )
    worse = series.regressions(found, percent)
    page = paths.reports() / "history.html"
    files.page(found, worse, page)
    try:
        if junit:
            files.junit(found, worse, Path(junit).expanduser())
        if summary := os.environ.get(SUMMARY):
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(files.markdown(found, worse))
    except OSError as error:
        raise UsageError(
            f"{error.filename or junit} can't be written", detail=str(error)
        ) from error
    if json:
        content = {
            "histories": [one.plain() for one in found],
            "worse": [one.plain() for one in worse],
        }
        console.show_json(content)
    else:
        console.show_table("over time", series.COLUMNS, series.rows(found))
    for one in worse:
        console.note(f"worse: {one.history.what} on {one.history.host}: {one.why}")
    console.note(f"page: {page}")
    if worse and fail_on_regression:
        raise SystemExit(1)


@task
@guarded
def share_results(_: Context) -> None:
    """Give all of results/ to the folder that EDGEWRIGHT_SHARED_RESULTS names, where it is not."""
    from toolchain.results import shared_folder

    with console.step("share results"):
        given = shared_folder.give_all(console.note)
    console.note(f"given: {given}")
