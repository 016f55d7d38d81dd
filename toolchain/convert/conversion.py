"""A model of any source to ONNX and TFLite, with a fixed batch, checked against its source.

`convert` is the plan and the cache; the work is done by `conversion_job` in a process of its own,
so that TensorFlow is imported only when there is something to do.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from toolchain import formats
from toolchain.convert import networks
from toolchain.convert.requests import CONVERT, ConversionRequest, Part
from toolchain.core import fingerprint, provenance, store, worker
from toolchain.core.errors import UsageError
from toolchain.core.worker import Progress
from toolchain.formats import keras_file
from toolchain.lock import fetch, pins
from toolchain.models import manifest, place
from toolchain.models.manifest import ModelManifest
from toolchain.models.specification import ModelSpec
from toolchain.workstation import extras

TOOLS = (
    *("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy"),
    *("scikit-learn", "pillow"),
)
LARGEST_BATCH = 1024


def convert(
    spec: ModelSpec,
    batch: int = 1,
    *,
    out: Path | None = None,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> ModelManifest:
    """Convert a model and put the result in OUT/<model>/b<batch>, by the batch that it has.

    Does nothing but check hashes when it was done before with the same input and tools. Libraries
    compiled from the same ONNX bytes stay.

    Args:
        spec: the model, from `resolve_model`.
        batch: the batch that its graphs are fixed at, where the model's is open.
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

    def build(made: Path) -> None:
        with weights(where, spec) as part:
            request = ConversionRequest(spec=spec, batch=batch, weights=part, folder=made)
            worker.call(
                CONVERT,
                request,
                what=f"converting {spec.name}",
                progress=progress,
                rights=request.rights(),
            )

    entry = where.get_or_build(identity(spec, batch), build)
    found = ModelManifest.load(entry.folder).batch
    return _publish(where, entry, place.folder_of(spec.name, found, out))


def identity(spec: ModelSpec, batch: int, by: str = CONVERT.module) -> dict[str, object]:
    """All that decides a conversion; its key in the store is the hash of it.

    Args:
        spec: the model.
        batch: that its graphs are fixed at.
        by: the module that does the work, whose code counts with all that it imports.
    """
    kind = format_of(spec)
    used = {name: extras.identity(name) for name in kind.extras}
    return {
        "step": "convert",
        "recipe": {
            "code": fingerprint.of(by, kind.code, *_own_module(spec)),
            "tools": _versions(TOOLS),
            "python": platform.python_version(),
            **({"extras": used} if used else {}),
        },
        "model": spec.digest,
        **_pinned(spec),
        "batch": batch,
        "name": spec.name,
    }


def _pinned(spec: ModelSpec) -> dict[str, object]:
    """The hash of the file of the lock that holds a catalogue network's weights."""
    if spec.entry is None or spec.entry.pin is None or spec.weights is not None:
        return {}
    return {"pinned": pins.source(spec.entry.pin).sha256}


def _own_module(spec: ModelSpec) -> list[str]:
    """The module of a catalogue network that has one of its own, which is found by its name."""
    if spec.entry is None or spec.entry.source != "network" or spec.entry.constructor is None:
        return []
    return [networks.module(spec.entry.constructor)]


def format_of(spec: ModelSpec) -> formats.Format:
    """The kind of file that a model is read as; the catalogue's are Keras models."""
    return keras_file.FORMAT if spec.path is None else formats.all_formats()[spec.kind]


@functools.cache
def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def weights(where: store.Store, spec: ModelSpec) -> Iterator[Part]:
    """Where the weights of a catalogue model are, or are put within the block."""
    if spec.entry is None or spec.weights is not None:
        yield Part()
        return
    if spec.entry.pin is not None:
        yield Part(pinned=fetch.path_of(pins.source(spec.entry.pin), where))
        return
    made_from = {**identity(spec, 0), "step": "weights", "batch": None}
    with made_once(where, made_from) as part:
        yield part


@contextlib.contextmanager
def made_once(where: store.Store, made_from: Mapping[str, object]) -> Iterator[Part]:
    """Where a part is; when the store has none, what is put there within the block is kept."""
    with where.entry_or_folder(made_from) as found:
        if isinstance(found, store.Entry):
            yield Part(found=found.folder)
        else:
            yield Part(wanted=found)


def _publish(where: store.Store, entry: store.Entry, folder: Path) -> ModelManifest:
    """Copy an entry into its folder of dist; the manifest last, so that it never names a lie."""
    made = ModelManifest.load(entry.folder)
    with where.locked(store.digest_of(["manifest", str(folder.resolve())])):
        made = _kept(folder, made, set(entry.files)) or made
        copy_files(entry, folder, but=manifest.FILE)
        if (
            not (folder / manifest.FILE).is_file()
            or (folder / manifest.FILE).read_text() != made.dump()
        ):
            made.save(folder)
        remove_stale(folder, made)
    return made


def copy_files(entry: store.Entry, folder: Path, *, but: str) -> None:
    """Copy an entry's files that differ into a folder, all but the one that describes them.

    Raises:
        NoSpaceError: the disk is full.
    """
    for name, digest in sorted(entry.files.items()):
        file = folder / name
        if name == but or (file.is_file() and store.digest_file(file) == digest):
            continue
        with store.explain_no_space(folder):
            store.write_atomically(file, entry.file(name).read_bytes())


def _kept(folder: Path, made: ModelManifest, written: set[str]) -> ModelManifest | None:
    """The folder's own manifest when it differs only by variants and libraries still there."""
    try:
        present = ModelManifest.model_validate(json.loads((folder / manifest.FILE).read_text()))
    except (OSError, ValueError):
        return None
    if present.plain() != made:
        return None
    for name, digest in present.files().items():
        file = folder / name
        if name not in written and (not file.is_file() or store.digest_file(file) != digest):
            return None
    return present


def remove_stale(folder: Path, made: ModelManifest) -> None:
    """Remove what the manifest doesn't name: libraries and variants of an earlier model."""
    named = {manifest.FILE, *made.files()}
    named |= {f"{name}{provenance.SUFFIX}" for name in named}
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        if path.relative_to(folder).as_posix() not in named:
            path.unlink()
    for path in sorted((p for p in folder.iterdir() if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
