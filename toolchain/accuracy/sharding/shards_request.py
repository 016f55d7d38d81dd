"""What preparing labelled images is asked in its own process: light on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from toolchain.core.confinement import Rights
from toolchain.core.worker import Job
from toolchain.models.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class ShardsRequest:
    """Images to decode, crop and resize.

    Attributes:
        images: each one's file and label.
        preprocessing: the model's.
        shape: height, width, channels of one input, in pixels.
        channels_first: whether the network takes them as channels, height, width.
        size: images in a shard.
        skip: leave out what can't be read, rather than refuse.
        folder: takes the shards and `summary.json`.
    """

    images: tuple[tuple[Path, int], ...]
    preprocessing: Preprocessing
    shape: tuple[int, int, int]
    channels_first: bool
    size: int
    skip: bool
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach; folders, as images are many."""
        folders = {path.resolve().parent for path, _ in self.images}
        return Rights(read=tuple(sorted(folders)), write=(self.folder,))


SUMMARY = "summary.json"


class Summary(BaseModel):
    """`summary.json`: the images in all shards, and the names of those that were left out."""

    model_config = ConfigDict(frozen=True)
    total: int
    unreadable: list[str]


@dataclass(frozen=True, kw_only=True)
class ReferencesRequest:
    """Shards to run through a model here.

    Attributes:
        model: a TFLite or ONNX file.
        batch: that it is fixed at.
        shards: the files.
        folder: takes an npy file for each shard.
    """

    model: Path
    batch: int
    shards: tuple[Path, ...]
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return Rights(read=(self.model, *self.shards), write=(self.folder,))


@dataclass(frozen=True, kw_only=True)
class OutputsRequest:
    """Shards to run through a model here, all of whose outputs are kept.

    Attributes:
        model: a TFLite or ONNX file, of one input and of batch 1.
        names: what to call its outputs, in the file's order.
        shards: the files.
        folder: takes an npz file for each shard: `out:NAME` (images, *shape).
    """

    model: Path
    names: tuple[str, ...]
    shards: tuple[Path, ...]
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return Rights(read=(self.model, *self.shards), write=(self.folder,))


PREPARE = Job("toolchain.accuracy.sharding.shards_job:prepare", ShardsRequest, type(None))
OUTPUTS = Job("toolchain.accuracy.sharding.shards_job:outputs", OutputsRequest, type(None))
REFERENCES = Job("toolchain.accuracy.sharding.shards_job:references", ReferencesRequest, type(None))
