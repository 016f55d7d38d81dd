"""Canvases of held-out digits as files: images, the classes of their pixels, COCO's annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image

from toolchain.models import catalogue
from toolchain.samples import catalogue_inputs

SEGMENTER = "digits-segmenter"
IMAGES, CLASSES, ANNOTATIONS = "images", "classes", "annotations.json"


def write(folder: Path, count: int) -> None:
    """Write `images/`, `classes/` and `annotations.json`: what --labels of the metrics takes.

    Args:
        folder: takes them.
        count: of canvases.
    """
    canvases = catalogue_inputs.held_out_canvases(catalogue.entries()[SEGMENTER], count)
    for name in (IMAGES, CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(canvases.images):
        file = f"{number:05}.png"
        PIL.Image.fromarray(image[..., 0]).save(folder / IMAGES / file)
        PIL.Image.fromarray(canvases.classes[number]).save(folder / CLASSES / file)
        height, width = image.shape[:2]
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        for left, top, right, bottom, digit in canvases.boxes[number].tolist():
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(digit),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": digit, "name": str(digit)} for digit in range(10)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / ANNOTATIONS).write_text(json.dumps(content, indent=1) + "\n")
