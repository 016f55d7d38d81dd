"""The work of preparing labelled images, in the worker: decode, crop, resize, run here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from toolchain import formats
from toolchain.accuracy import dataset, framing, resizing
from toolchain.accuracy.sharding.shards_request import (
    SUMMARY,
    OutputsRequest,
    ReferencesRequest,
    ShardsRequest,
    Summary,
)
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.models import samples_file
from toolchain.models.preprocessing import Preprocessing
from toolchain.samples import public_images


def prepare(request: ShardsRequest, progress: Progress) -> None:
    """Fill `folder` with shards of the images; the worker's entry.

    Raises:
        ModelError: images can't be read, or all of them were left out.
    """
    cv2.setNumThreads(1)
    how, folder, size = request.preprocessing, request.folder, request.size
    height, width, channels = request.shape
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    unreadable: list[str] = []
    written = 0

    def write() -> None:
        nonlocal written
        np.savez(
            folder / f"shard-{written // size:04}.npz",
            allow_pickle=False,
            pixels=np.stack(pixels),
            labels=np.asarray(labels, np.int64),
            scale=np.float64(how.scale),
            mean=np.asarray(how.mean, np.float64),
            std=np.asarray(how.std, np.float64),
            reverse=np.bool_(how.channels == "BGR"),
            channels_first=np.bool_(request.channels_first),
        )
        written += len(pixels)
        pixels.clear()
        labels.clear()

    for number, (path, label) in enumerate(request.images, start=1):
        try:
            pixels.append(read(path, how, height, width, channels))
            labels.append(label)
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
            unreadable.append(path.name)
        if len(pixels) == size:
            write()
            progress(f"{number} of {len(request.images)} images")
    if pixels:
        write()
    if (unreadable and not request.skip) or not written:
        raise ModelError(
            f"{len(unreadable)} of {len(request.images)} images can't be used",
            detail=dataset.shortened(unreadable),
            resolution="mend or remove them, or leave them out with --skip-unreadable"
            if written
            else "give images that Pillow reads; where the model doesn't resize, of its size",
        )
    summary = Summary(total=written, unreadable=unreadable)
    (folder / SUMMARY).write_text(summary.model_dump_json())


def read(
    path: Path, how: Preprocessing, height: int, width: int, channels: int
) -> npt.NDArray[np.uint8]:
    """One image (height, width, channels): fitted by its preprocessing, upright as its camera was.

    Pillow decodes, because OpenCV hands out half of a damaged file without a word.

    Raises:
        OSError, SyntaxError: it can't be decoded.
        ValueError: it has another size than the network takes, and nothing resizes it.
    """
    with PIL.Image.open(path) as opened:
        upright = PIL.ImageOps.exif_transpose(opened)
        image = np.asarray(upright.convert("L" if channels == 1 else "RGB"), np.uint8)
    place = framing.frame((image.shape[1], image.shape[0]), how, width, height)
    fitted = place.placed(resizing.resized(image, place.size, how.resize), how.pad)
    return fitted.reshape(height, width, channels)


def inputs(path: Path) -> public_images.Array:
    """A shard's images as the network takes them; the device's runner computes the same."""
    with np.load(path, allow_pickle=False) as shard:
        pixels = shard["pixels"][..., ::-1] if shard["reverse"] else shard["pixels"]
        x = (pixels.astype(np.float64) * shard["scale"] - shard["mean"]) / shard["std"]
        x = x.transpose(0, 3, 1, 2) if shard["channels_first"] else x
    return np.ascontiguousarray(x, dtype=np.float32)


def references(request: ReferencesRequest, progress: Progress) -> None:
    """Run each shard through a TFLite or ONNX file; the worker's entry."""
    path, batch = request.model, request.batch
    network = formats.format_of(path).load(path, progress)
    (given,), (made,) = network.signature.inputs, network.signature.outputs
    for number, shard in enumerate(request.shards):
        x = inputs(shard)
        x = x[: len(x) // batch * batch]
        progress(f"shard {number + 1} of {len(request.shards)}")
        scores = [
            network.run({given.name: x[start : start + batch]})[made.name]
            for start in range(0, len(x), batch)
        ]
        file = request.folder / f"reference-{number:04}.npy"
        np.save(file, np.concatenate(scores).reshape(len(x), -1), allow_pickle=False)


def outputs(request: OutputsRequest, progress: Progress) -> None:
    """Run each shard through a TFLite or ONNX file and keep every output; the worker's entry."""
    network = formats.format_of(request.model).load(request.model, progress)
    (given,) = network.signature.inputs
    said = [output.name for output in network.signature.outputs]
    for number, shard in enumerate(request.shards):
        progress(f"shard {number + 1} of {len(request.shards)}")
        made = [network.run({given.name: x[np.newaxis]}) for x in inputs(shard)]
        stacked = {
            samples_file.OUTPUT + name: np.stack([one[there] for one in made])
            for name, there in zip(request.names, said, strict=True)
        }
        np.savez(request.folder / f"reference-{number:04}.npz", allow_pickle=False, **stacked)
