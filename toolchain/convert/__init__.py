"""A model of any source to ONNX and TFLite, with a fixed batch, checked against its source.

`convert` is the plan and the cache; the work is done by `work` in a process of its own, so that
TensorFlow is imported only when there is something to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path

from toolchain import card, paths, provenance, store, worker
from toolchain.card import ModelCard
from toolchain.errors import UsageError
from toolchain.models import ModelSpec
from toolchain.worker import Progress

TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "scikit-learn", "pillow")
LARGEST_BATCH = 1024


def convert(
    spec: ModelSpec,
    batch: int = 1,
    *,
    out: Path | None = None,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> ModelCard:
    """Convert a model and put the result in OUT/<model>/b<batch>.

    Does nothing but check hashes when it was done before with the same input and tools. Libraries
    compiled from the same ONNX bytes stay.

    Args:
        spec: the model, from `models.resolve`.
        batch: the batch that its graphs are fixed at.
        out: the folder of all models; dist/models when not given.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        UsageError: no such batch.
        ModelError: the model can't be read or converted; nothing is written.
    """
    if not 1 <= batch <= LARGEST_BATCH:
        raise UsageError(
            f"batch {batch} can't be used", resolution=f"give a batch of 1 to {LARGEST_BATCH}"
        )
    where = store.Store() if cache is None else cache
    inputs = {"step": "convert", "recipe": _recipe(), "model": spec.digest, "batch": batch}
    inputs["name"] = spec.name
    key = store.digest_of(inputs)
    entry = where.entry(key)
    if entry is None:
        with where.locked(key):
            entry = where.entry(key) or _make(where, key, inputs, spec, batch, progress)
    folder = (out if out is not None else paths.dist() / "models") / spec.name / f"b{batch}"
    return _publish(entry, folder)


def _recipe() -> dict[str, object]:
    """All that decides the result besides the model: our own code and the libraries."""
    files = [*Path(__file__).parent.glob("*.py"), Path(card.__file__), Path(worker.__file__)]
    code = {path.name: store.digest_file(path) for path in sorted(files)}
    return {"code": code, "tools": _versions(TOOLS), "python": platform.python_version()}


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _make(
    where: store.Store,
    key: str,
    inputs: dict[str, object],
    spec: ModelSpec,
    batch: int,
    progress: Progress,
) -> store.Entry:
    """Convert into a new store entry; weights made here get an entry of their own."""
    with contextlib.ExitStack() as stack:
        arguments = {
            "spec": _plain(spec),
            "batch": batch,
            "weights_in": None,
            "weights_out": None,
        }
        if spec.entry is not None and spec.weights is None:
            made_from = {**inputs, "step": "weights", "batch": None}
            weights_key = store.digest_of(made_from)
            stack.enter_context(where.locked(weights_key))
            weights = where.entry(weights_key)
            if weights is not None:
                arguments["weights_in"] = str(weights.folder)
            else:
                arguments["weights_out"] = str(
                    stack.enter_context(where.building(weights_key, made_from))
                )
        folder = stack.enter_context(where.building(key, inputs))
        arguments["folder"] = str(folder)
        worker.call(
            "toolchain.convert.work:convert",
            arguments,
            what=f"converting {spec.name}",
            progress=progress,
        )
    entry = where.entry(key)
    assert entry is not None
    return entry


def _plain(spec: ModelSpec) -> dict[str, object]:
    """A spec as JSON; `work` reads it back."""
    fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    fields["entry"] = spec.entry.model_dump(mode="json") if spec.entry else None
    fields["path"] = str(spec.path) if spec.path else None
    fields["weights"] = str(spec.weights) if spec.weights else None
    return fields


def _publish(entry: store.Entry, folder: Path) -> ModelCard:
    """Copy an entry into its folder of dist; the card last, so that it never names a lie."""
    made = ModelCard.load(entry.folder)
    kept = _kept(folder, made)
    if kept is not None:
        made = kept
    for name, digest in sorted(entry.files.items()):
        place = folder / name
        if name == card.FILE or (place.is_file() and store.digest_file(place) == digest):
            continue
        with store.explain_no_space(folder):
            store.write_atomically(place, entry.file(name).read_bytes())
    if not (folder / card.FILE).is_file() or (folder / card.FILE).read_text() != made.dump():
        made.save(folder)
    _remove_stale(folder, made)
    return made


def _kept(folder: Path, made: ModelCard) -> ModelCard | None:
    """The folder's own card when it differs from the new one only by libraries still there."""
    try:
        old = json.loads((folder / card.FILE).read_text())
        present = ModelCard.model_validate(old)
    except (OSError, ValueError):
        return None
    bare = present.model_copy(
        update={"libraries": {}, "checks": [c for c in present.checks if c.opt_level is None]}
    )
    if bare != made:
        return None
    for levels in present.libraries.values():
        for library in levels.values():
            place = folder / library.file
            if not place.is_file() or store.digest_file(place) != library.sha256:
                return None
    return present


def _remove_stale(folder: Path, made: ModelCard) -> None:
    """Remove libraries of an earlier model that the card doesn't name."""
    named = {lib.file for levels in made.libraries.values() for lib in levels.values()}
    for path in folder.iterdir():
        if not path.is_dir():
            continue
        if not any(name.startswith(f"{path.name}/") for name in named):
            shutil.rmtree(path)
            continue
        for file in path.iterdir():
            if f"{path.name}/{file.name.removesuffix(provenance.SUFFIX)}" not in named:
                file.unlink()
