"""Many conversions and compilations: all that can be done is done, what failed is told at the end.

Each is a process of its own, and as many run side by side as there are cores; of conversions only
as many as there is memory for. What was built before is only looked up. An executor
may have their work done on other machines (`toolchain.cluster`); what they made is put in its place
here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.cluster.side_by_side import jobs_of, results
from toolchain.cluster.work import CONVERSION, Job
from toolchain.cluster.works.compilation_work import CompilationWork
from toolchain.cluster.works.conversion_work import ConversionWork, VariantWork
from toolchain.compile.compilation import TILED, Compiler, Linker, compile_model, note_refusal
from toolchain.compile.compilation_request import TileRecord
from toolchain.convert import conversion, runtime_artifacts
from toolchain.convert import variant_conversion as variant_of
from toolchain.core.errors import EdgewrightError, ModelError
from toolchain.core.store import Store
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import PLAIN
from toolchain.targets import Target
from toolchain.tuning import records

Say = Callable[[str], None]
# Shows that a step runs; gives what takes its current line.
Step = Callable[[str], AbstractContextManager[Say]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What could not be done, and why."""

    what: str
    error: EdgewrightError


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One network to convert."""

    spec: ModelSpec
    batch: int

    @property
    def folder(self) -> Path:
        """Where it is put."""
        return place.folder_of(self.spec.name, self.batch)

    def __str__(self) -> str:
        return f"{self.spec.name}, batch {self.batch}"


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """One library to make: a form of a converted model at a level."""

    folder: Path
    model: str
    batch: int
    variant: str
    opt_level: int

    def __str__(self) -> str:
        form = "" if self.variant == PLAIN else f"{self.variant}, "
        return f"{self.model}, batch {self.batch}, {form}O{self.opt_level}"


@dataclass(kw_only=True)
class Outcome:
    """What a matrix came to.

    Attributes:
        manifests: of its folders as they are now, in its order.
        failures: what could not be done.
        jobs: how many there were.
        left_out: why models have not all forms, where all that there can be was asked for.
    """

    manifests: dict[Path, ModelManifest] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    jobs: int = 0
    left_out: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise when something failed: the error itself when it is the only one.

        Raises:
            EdgewrightError: that of the one job that failed.
            ModelError: several failed.
        """
        if not self.failures:
            return
        if len(self.failures) == 1:
            raise self.failures[0].error
        raise ModelError(
            f"{len(self.failures)} of {self.jobs} jobs failed",
            detail="\n".join(f"{f.what}: {f.error.brief}" for f in self.failures),
            resolution="the others are done; --debug and one of these alone says more",
        )


def converted(
    specs: Sequence[ModelSpec],
    batches: Sequence[int],
    forms: Sequence[str],
    step: Step,
    workers: int | None = None,
    cache: Store | None = None,
    *,
    executor: Executor | None = None,
    makeable: bool = False,
) -> Outcome:
    """Convert each model at each batch to each form, in dist/models.

    Args:
        specs: the models.
        batches: the batches.
        forms: variants, from `variants.chosen`; the plain form is made in any case.
        step: shows each.
        workers: conversions at once; the cores that this process may use when not given.
        cache: the store; this machine's when not given.
        executor: does the work, where it is not done here.
        makeable: of each model only the forms that it can have; the others are no failures.
    """
    where = Store() if cache is None else cache
    left_out: list[str] = []
    others = [form for form in forms if form != PLAIN]
    forms_of = {
        spec.digest: variant_of.makeable(spec, others, left_out) if makeable else others
        for spec in specs
    }
    jobs = [Conversion(spec=spec, batch=batch) for spec in specs for batch in batches]
    # each model's first batch before the others, which wait for the weights that it makes
    order = sorted(jobs, key=lambda job: batches.index(job.batch))
    at_once = max(1, min(len(jobs), workers or _cores(), _memory() // CONVERSION))
    refused: dict[str, Failure] = {}
    if executor is not None:
        ended: Plain = {}
        for batch in dict.fromkeys(batches):
            some = [job for job in order if job.batch == batch]
            ended |= _side_by_side(some, executor, "on the cluster", step, where)
        refused = _elsewhere(_variants(jobs, ended, forms_of), executor, step)
    elif at_once > 1:
        with ThreadPoolExecutor(at_once) as pool:
            ended = _side_by_side(order, pool, f"{at_once} at once", step, where)
    else:
        ended = _in_turn(order, step=step, cache=where)
    made = Outcome(jobs=len(jobs), left_out=left_out)
    for job in jobs:
        if isinstance(plain := ended[job.folder], Failure):
            made.failures.append(plain)
            continue  # nothing to make the others of
        folder = place.folder_of(job.spec.name, plain.batch)  # the model's own batch, if fixed
        made.manifests[folder] = plain
        for form in forms_of[job.spec.digest]:
            _add_variant(job, form, folder, made, refused, step=step, cache=where)
        finished = made.manifests[folder]
        made.manifests[folder] = runtime_artifacts.add(folder, finished, step, job.spec.path)
    return made


def _add_variant(
    job: Conversion,
    form: str,
    folder: Path,
    made: Outcome,
    refused: Mapping[str, Failure],
    *,
    step: Step,
    cache: Store,
) -> None:
    """Make a form of a network beside its plain one, and enter what came of it."""
    title = f"convert {job}, {form}"
    made.jobs += 1
    try:
        if title in refused:
            raise refused[title].error
        with step(title) as say:
            made.manifests[folder] = variant_of.add(
                job.spec, job.batch, form, folder, progress=say, cache=cache
            )
    except EdgewrightError as error:
        made.failures.append(Failure(what=title, error=error))


Plain = dict[Path, ModelManifest | Failure]


def _in_turn(jobs: Sequence[Conversion], step: Step, cache: Store) -> Plain:
    """The plain form of each, by its folder, one after another, a step each."""
    found: Plain = {}
    for job in jobs:
        title = f"convert {job}"
        try:
            with step(title) as say:
                found[job.folder] = conversion.convert(
                    job.spec, job.batch, progress=say, cache=cache
                )
        except EdgewrightError as error:
            found[job.folder] = Failure(what=title, error=error)
    return found


def _side_by_side(
    jobs: Sequence[Conversion], pool: Executor, how: str, step: Step, cache: Store
) -> Plain:
    """The plain form of each, by its folder, as many at once as a pool takes, in one step."""

    def one(job: Job[Conversion]) -> ModelManifest | Failure:
        of = job.what
        return conversion.convert(of.spec, of.batch, progress=job.progress, cache=cache)

    works = [ConversionWork(spec=job.spec, batch=job.batch) for job in jobs]
    with step(f"convert {len(jobs)} networks, {how}") as say:
        made = results(pool, one, jobs_of(jobs, works, say), _unconverted)
    return {job.folder: done for job, done in zip(jobs, made, strict=True)}


def _unconverted(job: Conversion, error: EdgewrightError) -> ModelManifest | Failure:
    return Failure(what=f"convert {job}", error=error)


def _variants(
    jobs: Sequence[Conversion], ended: Plain, forms_of: Mapping[str, Sequence[str]]
) -> list[tuple[str, VariantWork]]:
    """The variants of what was converted: what each is called, and its work."""
    found = []
    for job in jobs:
        plain = ended[job.folder]
        kind = conversion.format_of(job.spec)
        if isinstance(plain, Failure) or not (kind.has_variants or kind.rounded_as_onnx):
            continue
        folder = place.folder_of(job.spec.name, plain.batch)
        found += [
            (
                f"convert {job}, {form}",
                VariantWork(spec=job.spec, batch=job.batch, variant=form, folder=folder),
            )
            for form in forms_of[job.spec.digest]
        ]
    return found


def _elsewhere(
    works: Sequence[tuple[str, VariantWork]], pool: Executor, step: Step
) -> dict[str, Failure]:
    """Have variants made on other machines, to be found in the store when it is their turn.

    Returns:
        those that failed, by what they are called.
    """
    if not works:
        return {}

    def failed(name: str, error: EdgewrightError) -> Failure | None:
        return Failure(what=name, error=error)

    with step(f"convert {len(works)} variants, on the cluster") as say:
        names = [name for name, _ in works]
        asked = jobs_of(names, [work for _, work in works], say)
        made = results(pool, lambda _: None, asked, failed)
    return {one.what: one for one in made if one is not None}


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _memory() -> int:
    """Bytes that are free, or kept only as long as nobody needs them."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def planned(
    manifests: Sequence[tuple[Path, ModelManifest]], forms: Sequence[str], levels: Sequence[int]
) -> list[Compilation]:
    """The compilations of converted models: each variant that has a form to import."""
    return [
        Compilation(
            folder=folder, model=manifest.model, batch=manifest.batch, variant=form, opt_level=level
        )
        for folder, manifest in manifests
        for form in forms
        for level in levels
        if form in manifest.tflite or form in manifest.onnx_graphs
    ]


def _failed(job: Compilation, error: EdgewrightError) -> Failure | None:
    """A compilation that failed; the model's manifest says so where the network is the reason."""
    if isinstance(error, ModelError):
        note_refusal(job.folder, job.variant, error)
    return Failure(what=str(job), error=error)


def _title(plan: Sequence[Compilation], target: Target, how: str) -> str:
    """What a step that compiles a plan is called."""
    if len(plan) == 1:
        return f"compile {plan[0]}, for {target.name}"
    return f"compile {len(plan)} libraries for {target.name}, {how}"


def _tuned(
    plan: Sequence[Compilation], target: Target, compiler: Compiler, where: Store
) -> dict[str, TileRecord]:
    """What tuning has found for a target, where a job of a plan takes it."""
    tiled = any(job.opt_level >= TILED for job in plan)
    return records.tuned(where, target, compiler.version) if tiled else {}


def compiled(
    plan: Sequence[Compilation],
    target: Target,
    *,
    linker: Linker,
    compiler: Compiler,
    workers: int | None = None,
    step: Step,
    cache: Store | None = None,
    executor: Executor | None = None,
) -> Outcome:
    """Compile all of a plan, so many at once; the manifests at the end name all that was made.

    Args:
        plan: from `planned`.
        target: what to compile for, with what tuning has found for it.
        linker: as `compile_model`.
        compiler: as `compile_model`.
        workers: jobs at once; the cores that this process may use when not given.
        step: shows it.
        cache: the store; this machine's when not given.
        executor: does the work, where it is not done here; libraries are linked here.
    """
    where = Store() if cache is None else cache
    done = Outcome(jobs=len(plan))
    cores = workers or _cores()
    at_once = max(1, min(len(plan), cores))
    tuned = _tuned(plan, target, compiler, where)
    started = time.monotonic()

    def one(job: Job[Compilation]) -> Failure | None:
        try:
            compile_model(
                job.what.folder,
                target,
                job.what.opt_level,
                variant=job.what.variant,
                linker=linker,
                compiler=compiler,
                tuned=tuned,
                check_in_parallel=at_once < cores,
                cache=where,
                progress=job.progress,
            )
        except EdgewrightError as error:
            return _failed(job.what, error)
        return None

    works = [_work(job, target, linker, tuned) for job in plan]
    how = "on the cluster" if executor is not None else f"{at_once} at once"
    with step(_title(plan, target, how)) as say:
        with ThreadPoolExecutor(at_once) as here:
            ended = results(executor or here, one, jobs_of(plan, works, say), _failed)
        say(f"{len(plan)} in {time.monotonic() - started:.0f} s")
        done.failures += [failure for failure in ended if failure is not None]
        if len(plan) == 1:
            done.refuse()  # inside, so that the step shows that it failed
    done.manifests = {job.folder: ModelManifest.load(job.folder) for job in plan}
    return done


def _work(
    job: Compilation, target: Target, linker: Linker, tuned: Mapping[str, TileRecord]
) -> CompilationWork:
    """The part of a compilation that may be done elsewhere."""
    return CompilationWork(
        folder=job.folder,
        target=target,
        opt_level=job.opt_level,
        variant=job.variant,
        linker=linker.identity,
        tuned=tuned,
    )
