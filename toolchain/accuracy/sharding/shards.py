"""Labelled images prepared once on this machine, in files of some that a device takes one by one.

A shard holds pixels after crop and resize, as bytes, with the numbers that make the network's input
of them, so a quarter of the inputs' size is sent. `references` adds what a variant of the model
gives here. Both are entries of the store: the same images are prepared once.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.accuracy.dataset import Image
from toolchain.accuracy.sharding.shards_request import (
    OUTPUTS,
    PREPARE,
    REFERENCES,
    SUMMARY,
    OutputsRequest,
    ReferencesRequest,
    ShardsRequest,
    Summary,
)
from toolchain.core import fingerprint, store, worker
from toolchain.core.worker import Progress
from toolchain.models.manifest import ModelManifest
from toolchain.models.preprocessing import Preprocessing

SIZE = 64  # images; 10 MB of 224 x 224 x 3
TOOLS = ("opencv-python-headless", "pillow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The prepared images.

    Attributes:
        entry: of the store, with shard-NNNN.npz and summary.json.
        files: the shards' names, in order.
        total: images in them.
        unreadable: names of images that were left out.
    """

    entry: store.Entry
    files: list[str]
    total: int
    unreadable: list[str]


def prepare(
    images: Sequence[Image],
    how: Preprocessing,
    shape: tuple[int, int, int],
    *,
    channels_first: bool = False,
    skip_unreadable: bool,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> Shards:
    """Decode, crop and resize images into shards.

    Args:
        images: from `dataset.read`.
        how: the model's preprocessing.
        shape: height, width, channels of one input.
        channels_first: whether the network takes them as channels, height, width.
        skip_unreadable: leave out what can't be read, rather than refuse.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        ModelError: images can't be read, which are named; or none is left.
    """
    where = store.Store() if cache is None else cache
    progress("reading the images")
    made_from = {
        "step": "shards",
        "code": fingerprint.of(PREPARE.module),
        "tools": {name: importlib.metadata.version(name) for name in TOOLS},
        "images": [[store.digest_file(image.path), image.label] for image in images],
        "preprocessing": how.model_dump(mode="json"),
        "shape": list(shape),
        "channels_first": channels_first,
        "size": SIZE,
        "skip": skip_unreadable,
    }

    def build(folder: Path) -> None:
        request = ShardsRequest(
            images=tuple((image.path, image.label) for image in images),
            preprocessing=how,
            shape=shape,
            channels_first=channels_first,
            size=SIZE,
            skip=skip_unreadable,
            folder=folder,
        )
        rights, what = request.rights(), "preparing the images"
        worker.call(PREPARE, request, what=what, progress=progress, rights=rights)

    entry = where.get_or_build(made_from, build)
    summary = Summary.model_validate_json(entry.file(SUMMARY).read_bytes())
    return Shards(
        entry=entry,
        files=sorted(name for name in entry.files if name.startswith("shard-")),
        total=summary.total,
        unreadable=summary.unreadable,
    )


def references(
    shards: Shards,
    folder: Path,
    manifest: ModelManifest,
    variant: str,
    *,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> store.Entry:
    """What a variant of a model gives for each shard here, in reference-NNNN.npy.

    Its TFLite file by this machine's TensorFlow Lite; where it has none, its ONNX graph by ONNX
    Runtime.

    Raises:
        ModelError: it can't be run.
    """
    where = store.Store() if cache is None else cache
    file = manifest.tflite.get(variant) or manifest.graph(variant)
    made_from = {
        "step": "references",
        "code": fingerprint.of(REFERENCES.module),
        "shards": shards.entry.key,
        "model": file.sha256,
        "batch": manifest.batch,
    }

    def build(filled: Path) -> None:
        request = ReferencesRequest(
            model=folder / file.file,
            batch=manifest.batch,
            shards=tuple(shards.entry.file(name) for name in shards.files),
            folder=filled,
        )
        what = f"running {manifest.model} here"
        worker.call(REFERENCES, request, what=what, progress=progress, rights=request.rights())

    return where.get_or_build(made_from, build)


def outputs(
    shards: Shards,
    folder: Path,
    manifest: ModelManifest,
    variant: str,
    *,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> store.Entry:
    """All outputs of a variant for each shard here, in reference-NNNN.npz, by the manifest's names.

    Args:
        shards: the prepared images.
        folder: of the model, at batch 1.
        manifest: the model's.
        variant: of it.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        ModelError: it can't be run.
    """
    where = store.Store() if cache is None else cache
    tflite = manifest.tflite.get(variant)
    file = tflite or manifest.graph(variant)
    names = (tflite.outputs if tflite else None) or [tensor.name for tensor in manifest.outputs]
    made_from = {
        "step": "outputs",
        "code": fingerprint.of(OUTPUTS.module),
        "shards": shards.entry.key,
        "model": file.sha256,
        "names": names,
    }

    def build(filled: Path) -> None:
        request = OutputsRequest(
            model=folder / file.file,
            names=tuple(names),
            shards=tuple(shards.entry.file(name) for name in shards.files),
            folder=filled,
        )
        what = f"running {manifest.model} here"
        worker.call(OUTPUTS, request, what=what, progress=progress, rights=request.rights())

    return where.get_or_build(made_from, build)
