"""A model by the workers of a cluster: made once, and made anew to compare."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import NoReturn, TypeVar

from toolchain.cluster.side_by_side import jobs_of, results
from toolchain.cluster.work import Job, Work
from toolchain.cluster.works.conversion_work import ConversionWork
from toolchain.cluster.works.models_again import OPT_LEVEL, ModelAgainWork
from toolchain.compile.compilation import Linker, compile_model
from toolchain.compile.compilation_request import OBJECTS
from toolchain.convert import conversion
from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store, digest_of
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.specification import ModelSpec
from toolchain.targets import Target

Given = TypeVar("Given")
Say = Callable[[str], None]
BATCH = 1


def twice(
    spec: ModelSpec,
    target: Target,
    linker: Linker,
    *,
    executor: Executor,
    store: Store,
    out: Path,
    say: Say,
) -> tuple[Path, Path]:
    """Convert and compile a model at workers, and once more from nothing; both are linked here.

    Args:
        spec: the model.
        target: what it is compiled for.
        linker: makes the library, here.
        executor: has the rest done.
        store: that of the executor.
        out: an empty folder, in which the folders of the two are put.
        say: called with each step.

    Returns:
        the folder of the first, as `invoke compile` leaves it, and one that has the same names for
        what came out the second time.

    Raises:
        EdgewrightError: it can't be made.
    """
    run = uuid.uuid4().hex
    anew = ModelAgainWork(spec=spec, batch=BATCH, target=target, linker=linker.identity, run=run)

    def convert(job: Job[str]) -> ModelManifest:
        return conversion.convert(
            spec, BATCH, out=out / "first", progress=job.progress, cache=store
        )

    def compiled(job: Job[str]) -> ModelManifest:
        return compile_model(
            first, target, OPT_LEVEL, linker=linker, progress=job.progress, cache=store
        )

    converted = _done(convert, ConversionWork(spec=spec, batch=BATCH), spec, executor, say)
    first = place.folder_of(converted.model, converted.batch, out / "first")
    made = _done(compiled, anew.library(first), spec, executor, say)
    entry = _done(lambda _: store.entry(digest_of(anew.inputs())), anew, spec, executor, say)
    assert entry is not None  # the executor has brought it
    second = out / "second"
    for library in made.libraries[target.name].values():
        (second / library.file).parent.mkdir(parents=True, exist_ok=True)
        linker.link(sorted(entry.folder.glob(f"{OBJECTS}/*")), second / library.file, say)
    for name in entry.files:
        if "/" not in name:
            (second / name).write_bytes(entry.file(name).read_bytes())
    return first, second


def _done(
    function: Callable[[Job[str]], Given],
    work: Work,
    spec: ModelSpec,
    executor: Executor,
    say: Say,
) -> Given:
    """What a function gives, whose work is done by an executor."""
    (made,) = results(executor, function, jobs_of([spec.name], [work], say), _raise)
    return made


def _raise(_name: str, error: EdgewrightError) -> NoReturn:
    raise error
