"""The task of a model's accuracy on a device: parse, call, print.

Modules are imported by the task, so that listing the tasks is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from deploy.tasks.measure import QUIET_DEVICE, Deployed, alone_on
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import HOST_HELP, INVENTORY, Whole
from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    from toolchain.accuracy.counts import Run


@task(
    help=HOST_HELP
    | options.help_of(Deployed)
    | {
        "data": "the folder of images",
        "labels": "a list, a line an image: NAME CLASS, the class by name or number; "
        "a folder a class when left out; with --metric, what that takes",
        "metric": "instead of top-1 and top-5: mean-iou, coco-map, or a Python file of yours "
        "(docs/how-to/accuracy.md)",
        "model": "the model, deployed at batch 1",
        "model-file": "the model's file, when it is not from the catalogue",
        "threads": "threads of each runtime",
        "limit": "so many of the images; all when left out",
        "skip-unreadable": "leave out images that can't be read",
        "quiet-device": QUIET_DEVICE,
    }
)
@guarded
@options.given(asked=Deployed)
def accuracy(
    _: Context,
    *,
    host: str = "",
    data: str = "",
    model: str = "",
    labels: str = "",
    metric: str = "",
    model_file: str = "",
    asked: Deployed,
    threads: int = Whole(1),
    limit: int = Whole(0),
    skip_unreadable: bool = False,
    quiet_device: bool = False,
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Run labelled images of yours on a device: top-1, top-5, beside the same here."""
    given = _Given(
        host=host, inventory=inventory,
        data=options.required("data", data, "a-folder-of-images"),
        labels=labels, metric=metric, model=model,
        model_file=model_file, threads=threads, limit=limit, skip_unreadable=skip_unreadable,
        quiet_device=quiet_device,
    )  # fmt: skip
    (_judge if metric else _count)(given, asked, json=json)


@dataclass(frozen=True, kw_only=True)
class _Given:
    """The options of `accuracy`, as they were given."""

    host: str
    inventory: str
    data: str
    labels: str
    metric: str
    model: str
    model_file: str
    threads: int
    limit: int
    skip_unreadable: bool
    quiet_device: bool


def _count(given: _Given, asked: Deployed, *, json: bool) -> None:
    """Count top-1 and top-5 on a device, and print them."""
    from deploy.measure import accuracy as measuring
    from deploy.measure import jobs as deployed
    from toolchain.accuracy import counts as accuracies
    from toolchain.accuracy import evaluation
    from toolchain.core import paths
    from toolchain.report import accuracy_section as words
    from toolchain.report import failures
    from toolchain.results import shared_folder

    with console.step("images") as say:
        plan = evaluation.prepare(
            Path(given.data), Path(given.labels) if given.labels else None, model=given.model,
            model_file=Path(given.model_file) if given.model_file else None, limit=given.limit,
            skip_unreadable=given.skip_unreadable, progress=say,
        )  # fmt: skip
    alone = alone_on(given.host, given.inventory, "accuracy", quiet=given.quiet_device)
    with alone as (device, conn, say):
        release = deployed.deployed(conn, f"{device.root}/current")
        selection = asked.selection(
            models=[plan.manifest.model], batches=[1], threads=[given.threads]
        )
        jobs = deployed.plan(release, selection)
        plan.refuse_others({job.configuration: job.sha256 for job in jobs}, release.target)
        run = plan.run(host=given.host, release=release.release, emulated=device.emulated)
        path = paths.results() / "accuracy" / f"{plan.name(given.host)}.json"
        images = measuring.Images(
            shards=plan.shards, references=plan.references({job.variant for job in jobs}, say)
        )
        run = measuring.measure(
            conn, root=device.root, jobs=jobs, images=images,
            run=plan.resumed(accuracies.load(path), run), path=path, progress=say,
        )  # fmt: skip
    shared_folder.give(path, shared_folder.ACCURACY, console.note)
    if json:
        console.show_json(run.model_dump(mode="json", by_alias=True))
    else:
        title = f"{plan.manifest.title} on {given.host}: {run.dataset}"
        console.show_table(title, words.COLUMNS, words.rows(run))
    _note(run, path)
    failures.refuse(run.subjects)


def _note(run: Run, path: Path) -> None:
    if run.unreadable:
        console.note(f"{len(run.unreadable)} images could not be read and were left out")
    console.note(f"counts: {path}")


def _judge(given: _Given, asked: Deployed, *, json: bool) -> None:
    """Judge a model on a device by a metric, and print what it came to."""
    from deploy.measure import jobs as deployed
    from deploy.measure import metric_run
    from toolchain.accuracy import metric_evaluation, metrics
    from toolchain.accuracy.metric_values import MetricRun
    from toolchain.core import paths
    from toolchain.report import failures, metric_section
    from toolchain.results import shared_folder

    if given.skip_unreadable:
        raise UsageError("--skip-unreadable goes with top-1 and top-5 alone")
    metric = metrics.metric_of(given.metric)
    if not given.labels:
        raise UsageError(f"{given.metric} needs --labels", resolution=f"give {metric.labels}")
    with console.step("images") as say:
        plan = metric_evaluation.prepare(
            Path(given.data), Path(given.labels), metric=metric, model=given.model,
            model_file=Path(given.model_file) if given.model_file else None,
            limit=given.limit, progress=say,
        )  # fmt: skip
    manifest = plan.of.manifest
    alone = alone_on(given.host, given.inventory, "accuracy", quiet=given.quiet_device)
    with alone as (device, conn, say):
        release = deployed.deployed(conn, f"{device.root}/current")
        selection = asked.selection(models=[manifest.model], batches=[1], threads=[given.threads])
        jobs = deployed.plan(release, selection)
        plan.of.refuse_others({job.configuration: job.sha256 for job in jobs}, release.target)
        run = MetricRun(
            host=given.host, model=manifest.model, dataset=plan.of.dataset, metric=metric.name,
            images=len(plan.images), emulated=device.emulated, release=release.release,
            content=plan.of.shards.entry.key, subjects=[],
        )  # fmt: skip
        path = paths.results() / "metrics" / f"{plan.name(given.host)}.json"
        run = metric_run.judge(
            conn, root=device.root, jobs=jobs, plan=plan, run=run, path=path, progress=say
        )
    shared_folder.give(path, shared_folder.METRICS, console.note)
    if json:
        console.show_json(run.model_dump(mode="json", by_alias=True))
    else:
        title = f"{manifest.title} on {given.host}: {run.dataset}, {run.images} images"
        console.show_table(title, metric_section.columns(run), metric_section.rows(run))
    console.note(f"values: {path}")
    failures.refuse(run.subjects)
