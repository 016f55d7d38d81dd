"""Judges a model on a device by a metric: runs the images there, brings the outputs, computes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.measure import outputs
from deploy.measure.accuracy import Connection, Images
from deploy.measure.runner_protocol import Job
from toolchain.accuracy.metric_evaluation import MetricEvaluation
from toolchain.accuracy.metric_values import Judged, MetricRun


def judge(
    conn: Connection,
    *,
    root: str,
    jobs: Sequence[Job],
    plan: MetricEvaluation,
    run: MetricRun,
    path: Path,
    progress: Callable[[str], None],
) -> MetricRun:
    """Run the images and judge the outputs; `path` holds the run.

    Args:
        conn: an open connection.
        root: our folder on the device.
        jobs: from `jobs.plan`, of one model at batch 1.
        plan: the model, the metric and the images.
        run: with nothing judged.
        path: its file; outputs are kept beside it until all are judged.
        progress: called with each step.

    Raises:
        BenchError: the runner broke off.
        ReleaseError: a file could not be sent or brought whole.
        ConnectionFailed: the link dropped.
        ModelError: the outputs are not what the metric takes.
        UsageError: a label can't be used, or the user's metric failed.
    """
    shards = plan.of.shards
    here = plan.here({job.variant for job in jobs}, progress)
    names = [f"reference-{number:04}.npz" for number in range(len(shards.files))]
    of_variant = {
        variant: plan.values([entry.file(name) for name in names], progress)
        for variant, entry in here.items()
    }
    folder = path.with_suffix("")
    brought = outputs.bring(
        conn,
        root=root,
        jobs=jobs,
        images=Images(shards=shards, references=here, suffix=".npz"),
        folder=folder,
        progress=progress,
    )
    subjects = [
        _judged(one, plan, here=of_variant[one.job.variant], progress=progress) for one in brought
    ]
    judged = run.model_copy(update={"subjects": subjects})
    judged.save(path)
    if not any(one.error for one in brought):
        shutil.rmtree(folder)
    return judged


def _judged(
    brought: outputs.Brought,
    plan: MetricEvaluation,
    *,
    here: dict[str, float],
    progress: Callable[[str], None],
) -> Judged:
    """One configuration's values, or why it has none."""
    job = brought.job
    return Judged(
        runtime=job.runtime,
        variant=job.variant,
        opt_level=job.opt_level,
        threads=job.threads,
        sha256=job.sha256,
        values={} if brought.error else plan.values(brought.files, progress),
        here=here,
        error=brought.error,
    )
