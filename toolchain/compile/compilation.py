"""A network to a TVM library for a target, checked on this machine, linked by the caller.

`compile_model` is the plan and the cache; the work is done by `work` in a process of its own, so
that TVM is imported only when there is something to do. What the optimisation levels mean stands
in `pipeline`. Which TVM compiles is the caller's choice: `Compiler`.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.compile.compilation_request import (
    COMPILE,
    KERNELS,
    OBJECTS,
    CompilationRequest,
    TileRecord,
    compile_surely,
)
from toolchain.compile.importing import preparation, reference_kernels
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core import fingerprint, plugins, provenance, store, worker
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.provenance import Claim, Material
from toolchain.core.worker import Progress
from toolchain.models import manifest, variants
from toolchain.models.checks import Check
from toolchain.models.manifest import Library, ModelManifest
from toolchain.models.variants import PLAIN
from toolchain.targets import Target, instruction_sets


@dataclass(frozen=True, kw_only=True)
class Linker:
    """What makes a shared library for a target of object files.

    Attributes:
        identity: all that decides its output; another one links again.
        link: given the objects, the library to write and what is called with each step.
        image: the id of the image it runs in; empty while that is not known.
    """

    identity: str
    link: Callable[[list[Path], Path, Progress], None]
    image: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """A TVM that compiles.

    Attributes:
        name: how users choose it.
        version: of TVM; the device's runtime must be of the same.
        identity: all that decides its output, for the keys of what it makes.
        run: given the folder that a compilation reads and the one that it fills, what runs it.
    """

    name: str
    version: str
    identity: Mapping[str, object]
    run: Callable[[Path, Path], worker.Run]


TOOLS = ("apache-tvm", "apache-tvm-ffi", "onnx", "numpy")
OPT_LEVELS = (0, 1, 2, 3)
CHECK, LIBRARY, TUNED = "check.json", "model.so", "tuned.json"
TILED = 3  # the level that has tiles


def release() -> Compiler:
    """The release of TVM that is installed with edgewright."""
    tools = {name: importlib.metadata.version(name) for name in TOOLS}
    return Compiler(
        name="release",
        version=tools["apache-tvm"],
        identity={"tools": tools},
        run=lambda _read, _fill: worker.here,
    )


@dataclass(frozen=True, kw_only=True)
class LibraryPlan:
    """One library of a model: what it is of, and what makes it. `tiles` is empty below `TILED`."""

    folder: Path
    present: ModelManifest
    target: Target
    opt_level: int
    variant: str
    linker: Linker
    compiler: Compiler
    tiles: Mapping[str, TileRecord]

    @classmethod
    def of(
        cls,
        folder: Path,
        target: Target,
        opt_level: int,
        *,
        linker: Linker,
        compiler: Compiler,
        variant: str,
        tuned: Mapping[str, TileRecord],
    ) -> LibraryPlan:
        """The library of the model in a folder; arguments are `compile_model`'s.

        Raises:
            ModelError: the model was not converted.
        """
        return cls(
            folder=folder,
            present=ModelManifest.load(folder),
            target=target,
            opt_level=opt_level,
            variant=variant,
            linker=linker,
            compiler=compiler,
            # levels without tiles are the same whatever was found
            tiles=dict(tuned) if opt_level >= TILED else {},
        )

    def inputs(self) -> dict[str, object]:
        """All that decides the library; its key in the store is the hash of it."""
        reference = self.present.references.get(self.variant)
        of_variant: dict[str, object] = (
            {"variant": self.variant, "reference": reference.sha256} if reference else {}
        )
        return {
            **of_variant,
            "step": "link",
            "link": self.linker.identity,
            "recipe": {
                "code": code(),
                "prepare": preparation.recipe(),
                "reference": reference_kernels.recipe(),
                **self.compiler.identity,
            },
            **preparation.identity(self.present, self.variant),
            "samples": self.present.samples.sha256,
            "target": self.target.tvm(),
            "caches": self.target.caches.model_dump(),
            "opt_level": self.opt_level,
            **({"tuned": {w: t.model_dump() for w, t in self.tiles.items()}} if self.tiles else {}),
        }

    def object_inputs(self) -> dict[str, object]:
        """All that decides its objects, which are the same whatever links them."""
        return {**self.inputs(), "step": "compile", "link": ""}

    def request(
        self, into: Path, source: SourceGraph, exact: Path | None, *, check_in_parallel: bool
    ) -> CompilationRequest:
        """What the worker is asked, to fill a folder with objects of the source graph."""
        reference = self.present.references.get(self.variant)
        return CompilationRequest(
            source=source,
            samples=self.folder / self.present.samples.file,
            variant=self.variant,
            reference=self.folder / reference.file if reference else None,
            exact=exact,
            batch=self.present.batch,
            state=self.present.state,
            target=self.target.tagged(),
            opt_level=self.opt_level,
            tuned=dict(self.tiles),
            check_in_parallel=check_in_parallel,
            folder=into,
        )


def compile_model(
    folder: Path,
    target: Target,
    opt_level: int = 3,
    *,
    linker: Linker,
    variant: str = PLAIN,
    compiler: Compiler | None = None,
    tuned: Mapping[str, TileRecord] | None = None,
    check_in_parallel: bool = True,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> ModelManifest:
    """Compile a converted model and put the library in FOLDER/<target>/[<variant>-]O<level>.so.

    Its provenance statement goes beside it. The library's function is `main`; its weights are
    inside. Does nothing but check hashes when it was done before with the same input and tools.

    Args:
        folder: of the model, as `convert` made it.
        target: what to compile for.
        opt_level: 0 to 3.
        linker: makes the library of object files for the target.
        variant: of the network; a form of it must be there.
        compiler: the TVM to use; the release when not given.
        tuned: tiles by workload that are better than our own choice; see `toolchain.tuning`.
        check_in_parallel: whether there is a core for compiling for this machine, which the check
            takes, beside compiling for the target.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        UsageError: no such opt_level, or the variant was not made.
        ModelError: the model can't be compiled, or computes something else; nothing is written.
    """
    if opt_level not in OPT_LEVELS:
        raise UsageError(f"opt_level {opt_level} can't be used", resolution="give 0, 1, 2 or 3")
    where = store.Store() if cache is None else cache
    by = release() if compiler is None else compiler
    plan = LibraryPlan.of(
        folder, target, opt_level, linker=linker, compiler=by, variant=variant, tuned=tuned or {}
    )
    _refuse_changed(folder, needed(plan.present, variant))
    entry = _built(plan, where, check_in_parallel=check_in_parallel, progress=progress)
    made = _publish(plan, where, entry)
    _state(plan, made, plan.inputs())
    return made


def note_refusal(
    folder: Path, variant: str, error: ModelError, cache: store.Store | None = None
) -> None:
    """Say in a model's manifest that no library of a variant can be made, where there is none.

    Then the network goes to devices without one, under the other runtimes.

    Args:
        folder: of the model.
        variant: of the network.
        error: why, by operator, and its node or tensor.
        cache: the store; this machine's when not given.
    """
    where = store.Store() if cache is None else cache
    with where.locked(store.digest_of(["manifest", str(folder.resolve())])):
        present = ModelManifest.load(folder)
        made = [library for of in present.libraries.values() for library in of.values()]
        if any(library.variant == variant for library in made):
            return
        why = "; ".join(part for part in (error.brief, error.detail) if part)
        present.with_missing(manifest.missing_key(manifest.LIBRARY, variant), why).save(folder)


def _built(
    plan: LibraryPlan, where: store.Store, *, check_in_parallel: bool, progress: Progress
) -> store.Entry:
    """The library's entry in the store: looked up, or compiled and linked."""

    def link(made: Path) -> None:
        compiled = objects(plan, where, check_in_parallel=check_in_parallel, progress=progress)
        progress("linking")
        _link(made, compiled, plan.linker, progress)

    return where.get_or_build(plan.inputs(), link)


def objects(
    plan: LibraryPlan, where: store.Store, *, check_in_parallel: bool, progress: Progress
) -> store.Entry:
    """The entry of a library's objects in the store: looked up, or compiled now.

    Raises:
        ModelError: the model can't be compiled, or computes something else.
    """

    def fill(made: Path) -> None:
        name, target, level = plan.present.model, plan.target.name, plan.opt_level
        what = f"compiling {name} ({plan.variant}) for {target} at O{level}"
        source = preparation.source_graph(
            plan.present, plan.folder, plan.variant, where, what=what, progress=progress
        )
        exact = reference_kernels.given(
            plan.present, plan.folder, source, where, what=what, progress=progress
        )
        # a compiler elsewhere sees the folder of the model, and the one that it fills, alone
        onnx, exact = (_copied(path, made) for path in (source.onnx, exact))
        request = plan.request(
            made, replace(source, onnx=onnx), exact, check_in_parallel=check_in_parallel
        )
        run = plan.compiler.run(plan.folder, made)
        compile_surely(request, what=what, progress=progress, run=run)
        for copy in (onnx, exact):
            if copy is not None:
                copy.unlink()

    return where.get_or_build(plan.object_inputs(), fill)


def _copied(path: Path | None, folder: Path) -> Path | None:
    return None if path is None else Path(shutil.copyfile(path, folder / path.name))


def needed(present: ModelManifest, variant: str) -> list[manifest.File]:
    """The files that a compilation reads: a variant's forms, the samples, what it gave for them.

    Raises:
        UsageError: the variant was not made.
    """
    reference = present.references.get(variant)
    forms = preparation.files(present, variant)
    return [*forms, present.samples, *([] if reference is None else [reference])]


def _state(plan: LibraryPlan, made: ModelManifest, linked: Mapping[str, object]) -> None:
    """Write a library's provenance statement beside it."""
    target, variant, opt_level = plan.target, plan.variant, plan.opt_level
    library = made.libraries[target.name][variants.library(variant, opt_level)]
    claim = Claim(
        kind="library",
        subject=f"{made.model}/b{made.batch}/{library.file}",
        sha256=library.sha256,
        parameters={
            "target": target.name,
            "opt-level": str(opt_level),
            "compiler": plan.compiler.name,
            **({} if variant == PLAIN else {"variant": variant}),
        },
        inputs=linked,
    )
    materials = [Material(name=file.file, sha256=file.sha256) for file in needed(made, variant)]
    if image := plan.linker.image():
        materials.append(provenance.image(image))
    text = provenance.statement(claim, materials).encode()
    place = plan.folder / f"{library.file}{provenance.SUFFIX}"
    if not place.is_file() or place.read_bytes() != text:
        store.write_atomically(place, text)


def code() -> dict[str, str]:
    """Our own code that decides what comes out; instruction sets are found by their folder."""
    found = plugins.modules(instruction_sets, instruction_sets.KIND)
    return fingerprint.of(COMPILE.module, *(Path(str(module.__file__)) for module in found))


def _refuse_changed(folder: Path, files: Sequence[manifest.File]) -> None:
    for file in files:
        path = folder / file.file
        if not path.is_file() or store.digest_file(path) != file.sha256:
            raise ModelError(
                f"{path} is not the file that was converted",
                resolution="run `invoke convert` again",
            )


def _link(made: Path, objects: store.Entry, linker: Linker, progress: Progress) -> None:
    """Fill a new entry with the library, and what is known of its objects."""
    files = [objects.file(n) for n in sorted(objects.files) if n.startswith(f"{OBJECTS}/")]
    output = made / LIBRARY
    linker.link(files, output, progress)
    if not output.is_file() or output.stat().st_size == 0:
        raise ModelError("the linker made no library", detail=f"expected {output.name}")
    for name in (CHECK, TUNED, *({KERNELS} & objects.files.keys())):
        (made / name).write_bytes(objects.file(name).read_bytes())


def _publish(plan: LibraryPlan, where: store.Store, entry: store.Entry) -> ModelManifest:
    """Copy the library beside the model, then name it in the manifest."""
    folder = plan.folder
    name = f"{plan.target.name}/{variants.library(plan.variant, plan.opt_level)}.so"
    kernels = f"kernels-{plan.variant}.npz" if KERNELS in entry.files else ""
    # Several compiles of one model may end at once; each adds its line to the same manifest.
    with where.locked(store.digest_of(["manifest", str(folder.resolve())])):
        _copy(entry, LIBRARY, folder / name)
        if kernels:
            _copy(entry, KERNELS, folder / kernels)
        library = Library(
            **manifest.record(folder, name).model_dump(),
            opt_level=plan.opt_level,
            variant=plan.variant,
            tvm=plan.compiler.version,
            tuned=int(json.loads(entry.file(TUNED).read_bytes())["functions"]),
            kernels=manifest.record(folder, kernels) if kernels else None,
        )
        check = Check.model_validate_json(entry.file(CHECK).read_bytes())
        present = ModelManifest.load(folder)
        updated = present.with_library(plan.target.name, library, check)
        if updated != present:
            updated.save(folder)
    return updated


def _copy(entry: store.Entry, name: str, place: Path) -> None:
    """A file of an entry to a place, if it isn't there yet."""
    if place.is_file() and store.digest_file(place) == entry.files[name]:
        return
    with store.explain_no_space(place.parent):
        store.write_atomically(place, entry.file(name).read_bytes())
