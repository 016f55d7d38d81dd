"""The task that shows where a network's time goes on a device: parse, call, print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke import Context, task

from deploy.tasks.measure import Jobs, alone_on
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import HOST_HELP, INVENTORY, Whole

if TYPE_CHECKING:
    from rich.table import Table

    from toolchain.results.measurement import Measurement, Result

INFERENCES, TOP = 10, 12


@task(
    help=HOST_HELP
    | options.help_of(Jobs)
    | {
        "inferences": "whose mean is shown",
        "top": "so many kinds of operators are printed",
    }
)
@guarded
@options.given(asked=Jobs)
def profile(
    _: Context,
    *,
    host: str = "",
    asked: Jobs,
    inferences: int = Whole(INFERENCES),
    top: int = Whole(TOP),
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Show what each kind of operator takes on a device, under each runtime that tells."""
    from deploy.measure import jobs as deployed
    from deploy.measure import profile as profiling
    from toolchain.core.errors import UsageError

    if inferences < 1:
        raise UsageError("there is no mean of no inferences", resolution="--inferences 10")
    with alone_on(host, inventory, "profile", quiet=False) as (device, conn, say):
        current = f"{device.root}/current"
        release = deployed.deployed(conn, current)
        result = profiling.profiled(
            conn,
            host=host,
            release=current,
            emulated=device.emulated,
            jobs=deployed.plan(release, asked.chosen()),
            inferences=inferences,
            progress=lambda p: say(f"{p.job + 1}/{p.of} {p.label}: {p.stage}"),
        )
    if json:
        console.show_json([_plain(result, m) for m in result.measurements])
    else:
        _show(result, top)


def _plain(result: Result, measured: Measurement) -> dict[str, object]:
    from deploy.measure import profile as profiling

    said = measured.model_dump(mode="json", include={"model", "batch", "status", "operators"})
    return {
        "host": result.host,
        "emulated": result.emulated,
        **said,
        **asdict(measured.configuration),
        "error": measured.error.message if measured.error else None,
        "kinds": [asdict(kind) for kind in profiling.by_kind(measured)],
    }


def _show(result: Result, top: int) -> None:
    """The tables of each network side by side, then what could not be told."""
    from rich.columns import Columns

    from toolchain.report import formatting

    tables: dict[str, list[Table]] = {}
    for measured in result.measurements:
        if measured.operators:
            title = formatting.title(measured)
            tables.setdefault(title, []).append(_table(measured, top))
    if tables and result.emulated:
        console.out.print(formatting.WARNING, style="bold red")
    for title, found in tables.items():
        console.out.print(title, style="bold")
        console.out.print(Columns(found, padding=(0, 2)))
    for measured in result.measurements:
        if measured.error is not None:
            name = formatting.subject(measured.model, measured.configuration)
            console.note(f"{name}: {measured.error.message}")


def _table(measured: Measurement, top: int) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from deploy.measure import profile as profiling
    from toolchain.report import formatting

    kinds = profiling.by_kind(measured)
    whole = sum(kind.took_ns for kind in kinds)
    table = Table(
        title=f"{formatting.configuration(measured.configuration)}: "
        f"{formatting.milliseconds(whole)} in {len(measured.operators)} operators",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("Kind", overflow="fold", max_width=40)
    for name in ("Calls", "ms", "Share"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind in kinds[:top]:
        table.add_row(
            escape(kind.kind),
            formatting.number(kind.calls),
            formatting.number(kind.took_ns / 1e6),
            formatting.percent(kind.share),
        )
    if rest := kinds[top:]:
        table.add_row(
            f"{len(rest)} more kinds",
            formatting.number(sum(kind.calls for kind in rest)),
            formatting.number(sum(kind.took_ns for kind in rest) / 1e6),
            formatting.percent(sum(kind.share for kind in rest)),
        )
    return table
