"""A detector's mean average precision as COCO has it, by pycocotools.

Over IoU 0.50 to 0.95 in steps of 0.05 (Lin et al., 2014), and at 0.50 alone. Boxes are judged in
pixels of the images, whatever the network's input made of these.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from toolchain.accuracy import box_decoding, dataset, framing
from toolchain.accuracy.metrics import Labelled, Metric, Network, refuse_unlabelled
from toolchain.core.errors import ModelError, UsageError

KEYS = ("images", "annotations", "categories")
MEAN, HALF = 0, 1  # where pycocotools' summary has them
Json = dict[str, Any]


class _CocoMap(Metric):
    name = "coco-map"
    labels = "a JSON file of annotations in COCO's form"

    def read(self, folder: Path, labels: Path) -> list[Labelled]:
        content = _annotations(labels)
        names = {str(image["file_name"]): str(image["id"]) for image in content["images"]}
        refuse_unlabelled(len(names), folder, labels)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(names)} images of {labels.name} are not in {folder}",
                detail=dataset.shortened(missing),
                resolution="give the folder that the file's names are relative to",
            )
        return [
            Labelled(path=folder / name, label=f"{number} {labels.resolve()}")
            for name, number in sorted(names.items())
        ]

    def evaluate(
        self,
        outputs: Sequence[Mapping[str, npt.NDArray[np.generic]]],
        images: Sequence[Labelled],
        network: Network,
    ) -> dict[str, float]:
        if network.detection is None or network.classes is None:
            raise UsageError(
                "nothing says how the model's outputs become boxes",
                resolution="write [detection] into the model's TOML file, and name its classes "
                "(labels); docs/how-to/accuracy.md has an example",
            )
        content = _annotations(Path(images[0].label.partition(" ")[2]))
        categories = _categories(content, network)
        found: list[Json] = []
        for image, given in zip(images, outputs, strict=True):
            size = network.width, network.height
            try:
                boxes = box_decoding.decoded(given, network.detection, network.classes, size)
            except box_decoding.OtherHeadError as error:
                raise ModelError(
                    error.brief, detail=error.detail, resolution=error.resolution
                ) from error
            corners = _frame(image.path, network).original(boxes.corners)
            number = int(image.label.partition(" ")[0])
            for box, score, of_class in zip(corners, boxes.scores, boxes.classes, strict=True):
                left, top, right, bottom = box.tolist()
                found.append(
                    {
                        "image_id": number,
                        "category_id": categories[int(of_class)],
                        "bbox": [left, top, right - left, bottom - top],
                        "score": float(score),
                    }
                )
        return average_precision(content, found, [int(i.label.partition(" ")[0]) for i in images])


def average_precision(content: Json, found: list[Json], images: Sequence[int]) -> dict[str, float]:
    """COCO's mean average precision of detections against annotations, on some of the images."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not found:
        return {"mAP": 0.0, "mAP at 0.5": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(found), "bbox")
        judged.params.imgIds = sorted(images)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {"mAP": float(judged.stats[MEAN]), "mAP at 0.5": float(judged.stats[HALF])}


def _annotations(path: Path) -> Json:
    try:
        content = json.loads(path.read_text())
        missing = [key for key in KEYS if not isinstance(content[key], list)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} can't be used as annotations",
            detail=str(error),
            resolution="give COCO's instances JSON, with images, annotations and categories",
        ) from error
    if missing:
        raise UsageError(f"{path}: {missing[0]} is no list")
    annotations: Json = content
    return annotations


def _categories(content: Json, network: Network) -> list[int]:
    """The id of each of the network's classes: by name where they have names, else in order.

    Raises:
        UsageError: they don't match.
    """
    by_name = {str(one["name"]): int(one["id"]) for one in content["categories"]}
    if network.names and set(network.names) <= by_name.keys():
        return [by_name[name] for name in network.names]
    if len(by_name) == network.classes:
        return sorted(by_name.values())
    raise UsageError(
        f"the annotations have {len(by_name)} categories, the network {network.classes} classes",
        resolution="name the network's classes as the annotations do, in its TOML file (labels)",
    )


def _frame(path: Path, network: Network) -> framing.Frame:
    with PIL.Image.open(path) as opened:
        size = PIL.ImageOps.exif_transpose(opened).size
    return framing.frame(size, network.preprocessing, network.width, network.height)


METRIC = _CocoMap()
