"""What evaluating a model on a user's labelled images takes, before a device is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import runtimes, targets
from toolchain.accuracy import classes, dataset
from toolchain.accuracy.counts import Run
from toolchain.accuracy.sharding import shards
from toolchain.accuracy.sharding.shards import Shards
from toolchain.core import store, worker
from toolchain.core.errors import UsageError
from toolchain.core.worker import Progress
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec
from toolchain.results.configuration import Configuration

CHANNELS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model and the images that it is run on.

    Attributes:
        spec: the model.
        folder: of its manifest, at batch 1.
        manifest: its manifest.
        dataset: the images' folder's name.
        matching: how labels and the model's classes were matched.
        shards: the prepared images.
    """

    spec: ModelSpec
    folder: Path
    manifest: ModelManifest
    dataset: str
    matching: str
    shards: Shards

    def name(self, host: str) -> str:
        """The name of the file of a run: host, model, images."""
        return f"{host}-{self.manifest.model}-{self.shards.entry.key[:12]}"

    def references(self, variants: set[str], progress: Progress) -> dict[str, store.Entry]:
        """What each variant gives for the images on this machine."""
        return {
            variant: shards.references(
                self.shards, self.folder, self.manifest, variant, progress=progress
            )
            for variant in sorted(variants)
        }

    def run(self, *, host: str, release: str, emulated: bool) -> Run:
        """A run with nothing measured."""
        entry = self.spec.entry
        return Run(
            host=host,
            model=self.manifest.model,
            dataset=self.dataset,
            classes_matched=self.matching,
            images=self.shards.total,
            unreadable=self.shards.unreadable,
            published_top1=entry.published_top1 if entry else None,
            published_top5=entry.published_top5 if entry else None,
            emulated=emulated,
            release=release,
            content=self.shards.entry.key,
        )

    def resumed(self, before: Run | None, fresh: Run) -> Run:
        """A run with the counts of an earlier one on the same images."""
        if before is None or before.content != fresh.content:
            return fresh
        tried_again = [s.model_copy(update={"error": ""}) for s in before.subjects]
        return fresh.model_copy(update={"subjects": tried_again})

    def refuse_others(self, there: Mapping[Configuration, str], target: str) -> None:
        """Refuse a device whose files are not the ones here, whose outputs would be compared.

        Args:
            there: the hash of the file of each configuration on the device.
            target: the device's.

        Raises:
            UsageError: one differs.
        """
        here = {
            (runtime.name, artifact.variant, artifact.opt_level): artifact.file.sha256
            for runtime, artifact in runtimes.executed(self.manifest, targets.target(target))
        }
        for its, sha256 in there.items():
            if here.get((its.runtime, its.variant, its.opt_level)) != sha256:
                raise UsageError(
                    f"{self.manifest.model}: the device's {its.runtime} {its.variant_label} is not "
                    "the one here",
                    resolution="deploy again, then run the same command",
                )


def prepare(
    folder: Path,
    labels: Path | None,
    *,
    model: str,
    model_file: Path | None,
    limit: int = 0,
    skip_unreadable: bool = False,
    progress: Progress = worker.silent,
) -> Evaluation:
    """Read a data set for a model that was converted, and prepare its images.

    Args:
        folder: of the images.
        labels: the list of labels; None for a folder a class.
        model: the catalogue's name, or the name of the model of `model_file`.
        model_file: a user's model, whose preprocessing stands in the file beside it.
        limit: so many of the images; all when 0.
        skip_unreadable: leave out images that can't be read.
        progress: called with each step.

    Raises:
        UsageError: no such model, images or labels, or the model's inputs are no images.
        ModelError: the model was not converted, or images can't be read.
    """
    spec = resolve_model(model or None, model_file=model_file)
    converted = place.folder_of(spec.name, 1)
    manifest = ModelManifest.load(converted)
    (height, width, channels), first = image_shape(manifest.model, _image(manifest))
    how = preprocessing(spec)
    known = classes.of_model(spec, manifest.outputs[0].shape[-1])
    labelled = dataset.read(folder, labels, known, limit=limit)
    prepared = shards.prepare(
        labelled.images,
        how,
        (height, width, channels),
        channels_first=first,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    return Evaluation(
        spec=spec,
        folder=converted,
        manifest=manifest,
        dataset=folder.name,
        matching=labelled.matching,
        shards=prepared,
    )


def _image(manifest: ModelManifest) -> Sequence[int]:
    """The shape of a classifier's only input.

    Raises:
        UsageError: the model has several inputs or outputs, or gives no row of scores.
    """
    tensors = [*manifest.inputs, *manifest.outputs]
    floats = all(tensor.dtype == "float32" for tensor in tensors)
    if len(tensors) != 2 or not floats or len(manifest.outputs[0].shape) != 2:
        listed = [f"{tensor.name}: {tensor.dtype} {tensor.shape}" for tensor in tensors]
        raise UsageError(
            f"{manifest.model} is no classifier of images, whose accuracy is counted",
            detail="\n".join(listed),
            resolution="give a model with one float32 image in and one row of scores out",
        )
    return manifest.inputs[0].shape


def image_shape(model: str, shape: Sequence[int]) -> tuple[tuple[int, int, int], bool]:
    """Height, width and channels of a network's images, and whether it takes channels first.

    Args:
        model: its name.
        shape: of its input, batch first.

    Raises:
        UsageError: it takes no images.
    """
    if len(shape) == 4 and shape[3] in CHANNELS:
        return (shape[1], shape[2], shape[3]), False
    if len(shape) == 4 and shape[1] in CHANNELS:
        return (shape[2], shape[3], shape[1]), True
    raise UsageError(
        f"{model} takes no images",
        detail=f"its input is {tuple(shape)}",
        resolution="export it with inputs (batch, height, width, channels) or "
        "(batch, channels, height, width) of 1 or 3 channels",
    )


def preprocessing(spec: ModelSpec) -> Preprocessing:
    """How an image becomes a model's input.

    Raises:
        UsageError: nothing says it.
        ModelError: the catalogue's network takes no images.
    """
    if spec.entry is not None:
        return spec.entry.image_preprocessing()
    if spec.own is not None and spec.own.preprocessing is not None:
        return spec.own.preprocessing
    raise UsageError(
        f"{spec.name}: nothing says how images become its inputs",
        resolution="write [preprocessing] into a .toml file beside the model; "
        "docs/how-to/your-model.md has an example",
    )
