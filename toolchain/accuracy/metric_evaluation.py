"""What judging a model by a metric takes: its images and labels, and what its outputs are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.accuracy import classes, evaluation
from toolchain.accuracy.classes import Classes
from toolchain.accuracy.dataset import Image
from toolchain.accuracy.evaluation import Evaluation
from toolchain.accuracy.metric_request import EVALUATE, MetricRequest
from toolchain.accuracy.metrics import Labelled, Metric, Network
from toolchain.accuracy.sharding import shards
from toolchain.core import store, worker
from toolchain.core.errors import UsageError
from toolchain.core.worker import Progress
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec


@dataclass(frozen=True, kw_only=True)
class MetricEvaluation:
    """A model, a metric, and the images that it is judged on.

    Attributes:
        of: the model and its prepared images.
        metric: the metric.
        images: with their labels, in the shards' order.
        network: what the metric may ask of the model.
    """

    of: Evaluation
    metric: Metric
    images: tuple[Labelled, ...]
    network: Network

    def name(self, host: str) -> str:
        """The name of the files of a run: host, model, images, metric."""
        return f"{self.of.name(host)}-{store.digest_of(self.metric.name)[:8]}"

    def here(self, variants: set[str], progress: Progress) -> dict[str, store.Entry]:
        """All outputs of each variant on this machine."""
        manifest, its = self.of.manifest, self.of
        return {
            variant: shards.outputs(its.shards, its.folder, manifest, variant, progress=progress)
            for variant in sorted(variants)
        }

    def values(self, outputs: Sequence[Path], progress: Progress) -> dict[str, float]:
        """What outputs are worth.

        Args:
            outputs: a file for each shard, in their order.
            progress: called with each step.

        Raises:
            ModelError: they are not what the metric takes.
            UsageError: a label can't be used, or the user's metric failed.
        """
        request = MetricRequest(
            metric=self.metric.name,
            images=self.images,
            network=self.network,
            outputs=tuple(outputs),
        )
        answer = worker.call(EVALUATE, request, what="computing the metric", progress=progress)
        return answer.values


def prepare(
    folder: Path,
    labels: Path,
    *,
    metric: Metric,
    model: str,
    model_file: Path | None,
    limit: int = 0,
    progress: Progress = worker.silent,
) -> MetricEvaluation:
    """Read images and labels as a metric has them, and prepare the images.

    Args:
        folder: of the images.
        labels: what the metric takes as labels.
        metric: the metric.
        model: the catalogue's name, or the name of the model of `model_file`.
        model_file: a user's model, whose preprocessing stands in the file beside it.
        limit: the first so many of the images; all when 0.
        progress: called with each step.

    Raises:
        UsageError: no such model, images or labels, or the model takes more than one image.
        ModelError: the model was not converted, or images can't be read.
    """
    spec = resolve_model(model or None, model_file=model_file)
    converted = place.folder_of(spec.name, 1)
    manifest = ModelManifest.load(converted)
    shape, first = _image_shape(manifest)
    how = evaluation.preprocessing(spec)
    found = metric.read(folder, labels)
    images = tuple(found[:limit] if limit else found)
    prepared = shards.prepare(
        # the metric keeps the labels; the runner runs all images of a shard that has any
        [Image(path=image.path, label=0) for image in images],
        how,
        shape,
        channels_first=first,
        skip_unreadable=False,
        progress=progress,
    )
    return MetricEvaluation(
        of=Evaluation(
            spec=spec,
            folder=converted,
            manifest=manifest,
            dataset=folder.name,
            matching="",
            shards=prepared,
        ),
        metric=metric,
        images=images,
        network=_network(spec, how, shape),
    )


def _image_shape(manifest: ModelManifest) -> tuple[tuple[int, int, int], bool]:
    """Of a network's only input, as `evaluation.image_shape`."""
    (given, *others) = manifest.inputs
    if others or given.dtype != "float32":
        raise UsageError(
            f"{manifest.model} doesn't take one image of float32, whose accuracy is measured",
            detail="\n".join(f"{t.name}: {t.dtype} {t.shape}" for t in manifest.inputs),
        )
    return evaluation.image_shape(manifest.model, given.shape)


def _network(spec: ModelSpec, how: Preprocessing, shape: tuple[int, int, int]) -> Network:
    """What a metric may ask of a model whose images are (height, width, channels)."""
    said, known = spec.entry or spec.own, _classes(spec)
    return Network(
        preprocessing=how,
        width=shape[1],
        height=shape[0],
        classes=known.count or None,
        names=known.names,
        detection=said.detection if said is not None else None,
    )


def _classes(spec: ModelSpec) -> Classes:
    """The classes of a model, none where nothing says how many there are."""
    if spec.own is not None and spec.own.labels is not None:
        return classes.of_model(
            spec, len(spec.own.labels.read_text("utf-8-sig").strip().splitlines())
        )
    count = spec.entry.classes if spec.entry is not None else None
    return classes.of_model(spec, count or 0)
