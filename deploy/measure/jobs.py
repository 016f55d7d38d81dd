"""What is deployed on a device, and the jobs that measure a choice of it.

Jobs are made of the manifests of the release itself: what is measured is what is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.measure.runner_protocol import Connection, Job, JobSignature, command
from toolchain import runtimes, targets
from toolchain.bundle.choice import ALL
from toolchain.core.errors import BenchError, CommandError, UsageError
from toolchain.models.manifest import LIBRARY, ModelManifest, in_order, missing_key
from toolchain.runtimes import Runtime

ANSWER_S = 120.0
# how a shell, and `timeout`, end for a program that is not there or can't be run
NO_PROGRAM = (126, 127)


class _Read(BaseModel):
    # a runner may say more than is read here
    model_config = ConfigDict(extra="ignore", frozen=True)


class DeployedModel(_Read):
    """A model of a release: its folder there, and its manifest, which runners call a card."""

    folder: str
    manifest: ModelManifest = Field(alias="card")


class Deployed(_Read):
    """What a release on a device holds, as the runner lists it."""

    release: str
    target: str
    models: list[DeployedModel]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of what is deployed is measured; an empty choice takes all there is.

    Attributes:
        models: their names.
        runtimes: their names.
        variants: numeric variants.
        batches: batch sizes.
        opt_levels: of compiled libraries; a runtime that has no levels is left alone.
        threads: thread counts, each of which is run.
    """

    models: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    variants: Sequence[str] = ()
    batches: Sequence[int] = ()
    opt_levels: Sequence[int] = ()
    threads: Sequence[int] = (1,)


EVERYTHING = Selection()


def deployed(conn: Connection, release: str) -> Deployed:
    """Ask the device what a release folder holds.

    Raises:
        BenchError: nothing is deployed there, or what is there can't be read.
    """
    try:
        answer = conn.run(command(release, "--list"), timeout=ANSWER_S)
        line = next(line for line in answer.splitlines() if line.startswith("{"))
        return Deployed.model_validate_json(line)
    except CommandError as error:
        if error.returncode not in NO_PROGRAM:
            raise
        raise BenchError(
            "nothing is deployed on the device",
            resolution="send it what is compiled: `invoke deploy --host NAME`",
        ) from error
    except (StopIteration, ValidationError) as error:
        raise BenchError(
            "what is deployed on the device can't be read",
            detail=str(error),
            resolution="deploy again: `invoke deploy --host NAME`",
        ) from error


def plan(there: Deployed, selection: Selection = EVERYTHING) -> list[Job]:
    """The jobs of a selection, in the order of their parameters.

    Raises:
        UsageError: the selection names something that is not deployed, or leaves nothing.
    """
    if any(threads < 1 for threads in selection.threads):
        raise UsageError("a thread count is at least 1", resolution="for example: --threads 1,2")
    if ALL in selection.runtimes:
        selection = replace(selection, runtimes=())
    _refuse_runtimes(there, selection.runtimes)
    jobs = [
        job
        for threads in selection.threads
        for model in there.models
        for job in _jobs(model, there.target, threads)
    ]
    _refuse_unknown(jobs, selection)
    choices: list[tuple[Sequence[object], Callable[[Job], object]]] = [
        (wanted, value) for _, wanted, value in _choices(selection)
    ]
    chosen = [
        job
        for job in jobs
        if all(not wanted or value(job) in wanted for wanted, value in choices)
        and (
            not selection.opt_levels
            or job.opt_level is None
            or job.opt_level in selection.opt_levels
        )
    ]
    if not chosen:
        raise UsageError(
            "nothing on the device fits this choice",
            resolution="`invoke deploy --host NAME` sends models to it",
        )
    return chosen


def left_out(there: Deployed, selection: Selection) -> list[str]:
    """Which runtimes do not run which of the chosen models: a line for each reason.

    Nothing unless all runtimes were asked for.

    Args:
        there: what is deployed.
        selection: what is measured.
    """
    if ALL not in selection.runtimes:
        return []
    lines = []
    target = targets.target(there.target)
    for runtime in runtimes.all_runtimes().values():
        if why := runtime.unsupported(target):
            lines.append(f"{runtime.title}: {why}")
            continue
        reasons: dict[str, list[str]] = defaultdict(list)
        for model in (m.manifest for m in there.models):
            wanted = not selection.models or model.model in selection.models
            if wanted and not runtime.artifacts(model, target.name):
                reasons[_why(runtime, model)].append(f"{model.model} (batch {model.batch})")
        lines += [f"{runtime.title} without {', '.join(of)}: {why}" for why, of in reasons.items()]
    return lines


def _why(runtime: Runtime, model: ModelManifest) -> str:
    """Why a deployed model has nothing for a runtime."""
    key = LIBRARY if runtime.has_opt_levels else runtime.name
    makes = "compile" if runtime.has_opt_levels else "convert"
    why = model.missing.get(missing_key(key)) or runtime.unmakeable(model.source.kind)
    return why or (
        f"nothing for it was deployed; `invoke {makes}`, then `invoke deploy --host NAME --runtime "
        f"{runtime.name}`"
    )


def _refuse_runtimes(there: Deployed, names: Sequence[str]) -> None:
    """Refuse a runtime that there isn't, or that the device can't have or take its models by."""
    target = targets.target(there.target)
    for name in names:
        runtime = runtimes.runtime(name)
        if why := runtime.unsupported(target):
            raise UsageError(why, resolution="measure the others: --runtime all")
        manifests = [model.manifest for model in there.models]
        if manifests and not any(runtime.artifacts(one, target.name) for one in manifests):
            raise UsageError(
                f"nothing on the device runs under {runtime.title}",
                detail="\n".join(
                    f"{one.model}, batch {one.batch}: {_why(runtime, one)}" for one in manifests
                ),
                resolution="--runtime all measures what is there",
            )


def _choices(
    selection: Selection,
) -> list[tuple[str, Sequence[object], Callable[[Job], object]]]:
    return [
        ("model", selection.models, lambda job: job.model),
        ("runtime", selection.runtimes, lambda job: job.runtime),
        ("variant", selection.variants, lambda job: job.variant),
        ("batch", selection.batches, lambda job: job.batch),
    ]


def _refuse_unknown(jobs: Sequence[Job], selection: Selection) -> None:
    for what, wanted, value in _choices(selection):
        known = sorted({str(value(job)) for job in jobs})
        unknown = [str(name) for name in wanted if str(name) not in known]
        if unknown:
            raise UsageError(
                f"the device has no {what} {', '.join(unknown)}",
                resolution=f"it has: {', '.join(known) or 'nothing'}; "
                "`invoke deploy --host NAME` sends more",
            )
    missing = [n for n in selection.opt_levels if n not in {job.opt_level for job in jobs}]
    if missing:
        raise UsageError(
            f"the device has no library of opt_level {missing[0]}",
            resolution=f"run: invoke compile --opt-level {missing[0]}, then deploy again",
        )


def _jobs(model: DeployedModel, target: str, threads: int) -> Iterator[Job]:
    """Every artifact of one deployed model that a runtime has for the target."""
    manifest, folder = model.manifest, model.folder
    for runtime, artifact in runtimes.executed(manifest, targets.target(target)):
        reference = artifact.reference or manifest.references.get(artifact.variant)
        yield Job(
            model=manifest.model,
            batch=manifest.batch,
            runtime=runtime.name,
            variant=artifact.variant,
            opt_level=artifact.opt_level,
            threads=threads,
            file=f"{folder}/{artifact.file.file}",
            sha256=artifact.file.sha256,
            samples=f"{folder}/{manifest.samples.file}",
            reference=f"{folder}/{reference.file}" if reference else None,
            signature=JobSignature(
                inputs=tuple(in_order(manifest.inputs, artifact.inputs)),
                outputs=tuple(in_order(manifest.outputs, artifact.outputs)),
            ),
            state=manifest.state,
        )
