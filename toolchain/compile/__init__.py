"""ONNX to a TVM library for a target, checked on this machine, linked by the caller.

`compile_model` is the plan and the cache; the work is done by `work` in a process of its own, so
that TVM is imported only when there is something to do. What the optimisation levels mean stands
in `passes`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

from toolchain import card, store, worker
from toolchain.card import Check, Library, ModelCard
from toolchain.errors import ModelError, UsageError
from toolchain.targets import Target
from toolchain.worker import Progress

Link = Callable[[list[Path], Path], None]

TOOLS = ("apache-tvm", "apache-tvm-ffi", "onnx", "numpy")
OPT_LEVELS = (0, 1, 2, 3)
OBJECTS, CHECK, LIBRARY = "objects", "check.json", "model.so"


def compile_model(
    folder: Path,
    target: Target,
    opt_level: int = 3,
    *,
    link: Link,
    link_id: str = "",
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> ModelCard:
    """Compile a converted model and put the library in FOLDER/<target>/O<opt_level>.so.

    The library's function is `main`; its weights are inside. Does nothing but check hashes when it
    was done before with the same input and tools.

    Args:
        folder: of the model, as `convert` made it.
        target: what to compile for.
        opt_level: 0 to 3.
        link: makes a shared library (second argument) of object files for the target (first).
        link_id: names the linker; another one links again.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        UsageError: no such opt_level.
        ModelError: the model can't be compiled, or computes something else; nothing is written.
    """
    if opt_level not in OPT_LEVELS:
        raise UsageError(
            f"opt_level {opt_level} can't be used", resolution="give one of 0, 1, 2, 3"
        )
    where = store.Store() if cache is None else cache
    present = ModelCard.load(folder)
    _refuse_changed(folder, present)
    inputs: dict[str, object] = {
        "step": "compile",
        "recipe": _recipe(),
        "onnx": present.onnx.sha256,
        "samples": present.samples.sha256,
        "target": target.tvm(),
        "opt_level": opt_level,
    }
    linked = {**inputs, "step": "link", "link": link_id}
    key = store.digest_of(linked)
    entry = where.entry(key)
    if entry is None:
        with where.locked(key):
            entry = where.entry(key)
            if entry is None:
                objects = _objects(where, inputs, folder, present, target, opt_level, progress)
                progress("linking")
                entry = _linked(where, key, linked, objects, link)
    return _publish(where, entry, folder, target, opt_level)


def _recipe() -> dict[str, object]:
    """All that decides the code besides model and target: our own code and the libraries."""
    files = [*Path(__file__).parent.glob("*.py"), Path(card.__file__), Path(worker.__file__)]
    return {
        "code": {path.name: store.digest_file(path) for path in sorted(files)},
        "tools": {name: importlib.metadata.version(name) for name in TOOLS},
    }


def _refuse_changed(folder: Path, present: ModelCard) -> None:
    for file in (present.onnx, present.samples):
        path = folder / file.file
        if not path.is_file() or store.digest_file(path) != file.sha256:
            raise ModelError(
                f"{path} is not the file that was converted",
                resolution="run `invoke convert` again",
            )


def _objects(
    where: store.Store,
    inputs: dict[str, object],
    folder: Path,
    present: ModelCard,
    target: Target,
    opt_level: int,
    progress: Progress,
) -> store.Entry:
    """The object files and their check, from the store or compiled now."""
    key = store.digest_of(inputs)
    with where.locked(key):
        entry = where.entry(key)
        if entry is not None:
            return entry
        with where.building(key, inputs) as made:
            worker.call(
                "toolchain.compile.work:compile_objects",
                {
                    "onnx": str(folder / present.onnx.file),
                    "samples": str(folder / present.samples.file),
                    "batch": present.batch,
                    "target": target.tvm(),
                    "opt_level": opt_level,
                    "folder": str(made),
                },
                what=f"compiling {present.model} for {target.name} at O{opt_level}",
                progress=progress,
            )
        entry = where.entry(key)
        assert entry is not None
        return entry


def _linked(
    where: store.Store, key: str, inputs: dict[str, object], objects: store.Entry, link: Link
) -> store.Entry:
    with where.building(key, inputs) as made:
        files = [objects.file(n) for n in sorted(objects.files) if n.startswith(f"{OBJECTS}/")]
        output = made / LIBRARY
        link(files, output)
        if not output.is_file() or output.stat().st_size == 0:
            raise ModelError("the linker made no library", detail=f"expected {output.name}")
        (made / CHECK).write_bytes(objects.file(CHECK).read_bytes())
    entry = where.entry(key)
    assert entry is not None
    return entry


def _publish(
    where: store.Store, entry: store.Entry, folder: Path, target: Target, opt_level: int
) -> ModelCard:
    """Copy the library beside the model, then name it in the card."""
    name = f"{target.name}/O{opt_level}.so"
    place = folder / name
    digest = entry.files[LIBRARY]
    # Several compiles of one model may end at once; each adds its line to the same card.
    with where.locked(store.digest_of(["card", str(folder.resolve())])):
        if not place.is_file() or store.digest_file(place) != digest:
            with store.explain_no_space(folder):
                card.write_atomically(place, entry.file(LIBRARY).read_bytes())
        library = Library(**card.record(folder, name).model_dump(), opt_level=opt_level)
        check = Check.model_validate_json(entry.file(CHECK).read_bytes())
        present = ModelCard.load(folder)
        updated = present.with_library(target.name, library, check)
        if updated != present:
            updated.save(folder)
    return updated
