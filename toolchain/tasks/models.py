"""The tasks that turn models into files for devices: parse, call, print.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain import formats
from toolchain.commandline import console, options, terminal
from toolchain.commandline.console import guarded
from toolchain.commandline.options import (
    JSON,
    ON,
    SHARE,
    Board,
    Models,
    Whole,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from toolchain.core.store import Store
    from toolchain.matrix import Outcome
    from toolchain.models.manifest import ModelManifest


@task(help={"json": JSON})
@guarded
def models(_: Context, json: bool = False) -> None:
    """List the models of the catalogue."""
    from toolchain.models import catalogue

    known = catalogue.entries()
    if json:
        console.show_json({name: entry.model_dump(mode="json") for name, entry in known.items()})
        return
    rows = [
        [
            name,
            "×".join(str(n) for n in entry.shape),
            str(entry.classes or "-"),
            f"{entry.published_top1:g} %" if entry.published_top1 else "-",
            entry.title,
        ]
        for name, entry in known.items()
    ]
    console.show_table("models", ["model", "input", "classes", "published top-1", ""], rows)


@task(help={"folder": "takes images/, classes/ and annotations.json", "count": "of images"})
@guarded
def canvases(_: Context, folder: str = "", count: int = Whole(200)) -> None:
    """Write images of digits with labels, to measure digits-segmenter and digits-detector on."""
    from toolchain.samples import canvas_files

    options.required("folder", folder, "digits")
    with console.step(f"{count} canvases"):
        canvas_files.write(Path(folder), count)


MODEL_HELP = options.help_of(Models) | {
    "model-file": f"a model of yours, one of: {formats.titles()}",
    "on": ON,
    "share": SHARE,
    "json": JSON,
}


@task(help=MODEL_HELP)
@guarded
@options.given(asked=Models)
def convert(
    _: Context, *, asked: Models, on: str = "", share: bool = False, json: bool = False
) -> None:
    """Convert models to TFLite and ONNX and check them against their source."""
    from toolchain.cluster import place_of_work

    with place_of_work.opened(on, console.step, console.note, share=share) as at:
        _, made = _converted(asked, at.store, at.executor)
    manifests = list(made.manifests.values())
    if json:
        console.show_json([manifest.model_dump(mode="json") for manifest in manifests])
    elif manifests:
        _show_checks(manifests)
        for folder in made.manifests:
            console.note(f"written: {folder}")
        _note_states(manifests)
        _note_missing(manifests)
    made.refuse()


@task(
    help=MODEL_HELP
    | options.help_of(Board)
    | {
        "opt-level": "0 to 3, separated by commas (docs/reference/optimisation-levels.md)",
        "jobs": "compilations at once; as many as there are cores when left out",
        "compiler": "release, or source: built from source with Debian's LLVM, an hour the first "
        "time",
    }
)
@guarded
@options.given(asked=Models, board=Board)
def compile(  # noqa: A001  # the task's name is the field's word
    _: Context,
    *,
    asked: Models,
    board: Board,
    opt_level: str = "3",
    compiler: str = "release",
    jobs: int = Whole(0),
    on: str = "",
    share: bool = False,
    json: bool = False,
) -> None:
    """Compile models by TVM to libraries for a target; converts them first where needed."""
    from toolchain import matrix, targets
    from toolchain.cluster import place_of_work
    from toolchain.compile import cross_link, source_compiler
    from toolchain.compile.compilation import TILED
    from toolchain.tuning import records

    target = board.name()
    if not board.target:
        told = "" if board.host else "; --host or --target compiles for another board"
        console.note(f"compiling for {target}{told}")
    chosen = targets.target(target)
    levels = options.numbers("opt-level", opt_level)
    with place_of_work.opened(on, console.step, console.note, share=share) as at:
        store = at.store
        at.refuse_compiler(compiler)
        forms, made = _converted(asked, store, at.executor)
        if made.jobs == 1:
            made.refuse()
        plan = matrix.planned(list(made.manifests.items()), forms, levels)
        if plan:
            with console.step(f"compiler: {compiler}") as say:
                by = source_compiler.by_name(compiler, store, say)
            linker = cross_link.linker(chosen, store)
            for line in records.notes(store, chosen, by.version) if TILED in levels else []:
                console.note(line)
            done = matrix.compiled(
                plan,
                chosen,
                linker=linker,
                compiler=by,
                workers=jobs or None,
                step=console.step,
                cache=store,
                executor=at.executor,
            )
            made.manifests |= done.manifests
            made.failures += done.failures
            made.jobs += done.jobs
    manifests = list(made.manifests.values())
    if json:
        console.show_json([manifest.model_dump(mode="json") for manifest in manifests])
    elif manifests:
        _show_libraries(manifests, target)
        _note_missing(manifests)
    made.refuse()


def _note_states(manifests: Sequence[ModelManifest]) -> None:
    """Say what is fed back in a network: it may have been found by names alone."""
    for manifest in manifests:
        if manifest.state is not None:
            console.note(f"state of {manifest.model}, batch {manifest.batch}: {manifest.state}")


def _note_missing(manifests: Sequence[ModelManifest]) -> None:
    """Say of each form that was not made why: a table without it does not."""
    for manifest in manifests:
        for form, why in manifest.missing.items():
            console.note(f"not made: {manifest.model}, batch {manifest.batch}, {form}: {why}")


def _show_libraries(manifests: Sequence[ModelManifest], target: str) -> None:
    rows = [
        [
            manifest.model,
            str(manifest.batch),
            name,
            library.file,
            terminal.size(library.size),
            str(library.tuned or "-"),
        ]
        for manifest in manifests
        for name, library in manifest.libraries.get(target, {}).items()
    ]
    console.show_table("libraries", ["model", "batch", "level", "file", "size", "tuned"], rows)


def _converted(
    asked: Models, store: Store, executor: Executor | None = None
) -> tuple[list[str], Outcome]:
    """The variants that were asked for, and what the conversion of all models came to."""
    from toolchain import matrix
    from toolchain.formats import shapes
    from toolchain.models import variants
    from toolchain.models.resolve import resolve_model

    file = Path(asked.model_file) if asked.model_file else None
    weights = Path(asked.weights) if asked.weights else None
    names = [asked.model] if file else options.names(asked.model) or [""]
    sizes = shapes.side_by_side(asked.shape)
    resolved = [
        resolve_model(
            name or None,
            model_file=file,
            weights=weights,
            shapes=of,
            signature=asked.signature,
        )
        for of in sizes
        for name in names
    ]
    # several shapes are of one file, as a catalogue's network takes none
    specs = (
        resolved
        if len(sizes) == 1
        else [
            replace(spec, name=f"{spec.name}-{word}")
            for spec, word in zip(resolved, shapes.told_apart(sizes), strict=True)
        ]
    )
    named = options.names(asked.variant)
    forms, batches = variants.chosen(named), options.numbers("batch", asked.batch)
    made = matrix.converted(
        specs, batches, forms, console.step,
        cache=store, executor=executor, makeable=variants.ALL in named,
    )  # fmt: skip
    for line in made.left_out:
        console.note(line)
    return forms, made


def _show_checks(manifests: Sequence[ModelManifest]) -> None:
    rows = [
        [
            manifest.model,
            str(manifest.batch),
            check.variant,
            check.stage if check.opt_level is None else f"{check.stage} O{check.opt_level}",
            f"{check.max_abs:.1e}",
            f"{check.max_rel:.1e}",
            "-" if check.top1_agreement is None else f"{100 * check.top1_agreement:.1f} %",
            str(check.count),
        ]
        for manifest in manifests
        for check in manifest.every_check()
    ]
    console.show_table(
        "checked against the source",
        [
            "model",
            "batch",
            "variant",
            "stage",
            "largest difference",
            "relative",
            "same top-1",
            "samples",
        ],
        rows,
    )
