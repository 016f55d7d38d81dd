"""What each operator of a deployed network takes, under each runtime that tells.

Nothing of it is kept in results/: a runtime that tells is a little slower than one that doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.measure import bench
from deploy.measure.bench import Progress
from deploy.measure.runner_protocol import Connection, Job
from toolchain.core.errors import BenchError
from toolchain.results.measurement import Measurement, Result


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Operators that compute the same, of one inference.

    Attributes:
        kind: such as Conv.
        calls: of them.
        took_ns: all of them together.
        share: of what all operators took, of 1.
        slowest: the name of the one that took most of it.
    """

    kind: str
    calls: float
    took_ns: float
    share: float
    slowest: str


def profiled(
    conn: Connection,
    *,
    host: str,
    release: str,
    emulated: bool,
    jobs: Sequence[Job],
    inferences: int,
    progress: Callable[[Progress], None],
) -> Result:
    """Have each job's operators timed.

    Args:
        conn: an open connection to the device.
        host: its name in the inventory.
        release: the release folder there.
        emulated: whether the inventory says that it is emulated.
        jobs: from `jobs.plan`.
        inferences: over which the mean is taken; one goes before them.
        progress: called as the runner advances.

    Returns:
        a job whose runtime doesn't tell has failed.

    Raises:
        BenchError: the runner could not start, ended early, or knows of no operators.
    """
    attempt = bench.measured(
        conn,
        host=host,
        release=release,
        emulated=emulated,
        jobs=[job.model_copy(update={"profiled": inferences}) for job in jobs],
        progress=progress,
    )
    attempt.refuse_what_is_missing("run the same command again")
    if any(m.status == "ok" and not m.operators for m in attempt.result.measurements):
        raise BenchError(
            "the runner on the device is of an earlier version, which times no operators",
            resolution=bench.DEPLOY_AGAIN,
        )
    return attempt.result


def by_kind(measured: Measurement) -> list[Kind]:
    """The operators of one network by what they compute, those that took most first."""
    groups: dict[str, list[tuple[float, float, str]]] = {}
    for one in measured.operators:
        groups.setdefault(one.kind, []).append((one.took_ns, one.calls, one.name))
    whole = sum(one.took_ns for one in measured.operators)
    kinds = [
        Kind(
            kind=kind,
            calls=sum(calls for _, calls, _ in group),
            took_ns=(took := sum(took for took, _, _ in group)),
            share=took / whole if whole else 0.0,
            slowest=max(group)[2],
        )
        for kind, group in groups.items()
    ]
    return sorted(kinds, key=lambda one: (-one.took_ns, one.kind))
