"""Digits strewn over canvases: what is on them is known, pixel by pixel and box by box."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from toolchain.accuracy import box_decoding
from toolchain.accuracy.metrics import coco_map, mean_iou
from toolchain.convert.networks import digits_detector
from toolchain.models import catalogue
from toolchain.models.detection import Detection
from toolchain.samples import canvas_files, catalogue_inputs, digits_canvas
from toolchain.samples.digits_canvas import Canvases

SIDE = 48


@pytest.fixture(scope="module")
def canvases() -> Canvases:
    return digits_canvas.drawn(20, SIDE, 3, held_out=True)


def test_a_box_holds_all_of_its_digit_and_nothing_else(canvases: Canvases) -> None:
    for classes, boxes in zip(canvases.classes, canvases.boxes, strict=True):
        left_over = classes.copy()
        assert len(boxes) >= 1
        for left, top, right, bottom, digit in boxes.astype(int):
            inside = classes[top:bottom, left:right]
            assert set(np.unique(inside)) <= {0, digit + 1}
            ink = inside == digit + 1
            assert ink.any(axis=0)[[0, -1]].all()
            assert ink.any(axis=1)[[0, -1]].all()
            left_over[top:bottom, left:right] = 0
        assert not left_over.any()


def test_ink_is_brighter_than_the_background(canvases: Canvases) -> None:
    ink = canvases.classes > 0
    assert canvases.images[..., 0][ink].min() >= digits_canvas.INK
    assert canvases.images[..., 0][~ink].max() < digits_canvas.INK


def test_the_same_seed_gives_the_same_canvases(canvases: Canvases) -> None:
    again = digits_canvas.drawn(20, SIDE, 3, held_out=True)
    assert again.images.tobytes() == canvases.images.tobytes()
    other = digits_canvas.drawn(20, SIDE, 4, held_out=True)
    assert other.images.tobytes() != canvases.images.tobytes()


def test_the_detectors_targets_are_the_boxes(canvases: Canvases) -> None:
    """What it is trained to give is decoded to what is on the canvas."""
    wanted = digits_detector.targets(canvases.boxes, SIDE, 10)
    how = Detection(head="yolo", score=0.5)
    for given, boxes in zip(wanted, canvases.boxes, strict=True):
        found = box_decoding.decoded({"detections": given}, how, 10, (48, 48))
        rows = np.column_stack([found.corners, found.classes])
        assert sorted(rows.tolist()) == sorted(boxes.astype(float).tolist())


def test_what_is_trained_with_and_what_is_measured_are_other_canvases() -> None:
    entry = catalogue.entries()["digits-segmenter"]
    seen = {image.tobytes() for image in catalogue_inputs.training_canvases(entry).images}
    measured = {image.tobytes() for image in catalogue_inputs.held_out_canvases(entry, 50).images}
    assert len(measured) == 50
    assert not seen & measured


def test_canvases_are_written_as_the_metrics_take_them(tmp_path: Path) -> None:
    canvas_files.write(tmp_path, 3)
    images = tmp_path / canvas_files.IMAGES
    of_pixels = mean_iou.METRIC.read(images, tmp_path / canvas_files.CLASSES)
    of_boxes = coco_map.METRIC.read(images, tmp_path / canvas_files.ANNOTATIONS)
    assert [one.path for one in of_pixels] == [one.path for one in of_boxes]
    assert len(of_boxes) == 3
    content = json.loads((tmp_path / canvas_files.ANNOTATIONS).read_text())
    first = next(a for a in content["annotations"] if a["image_id"] == 0)
    left, top, width, height = (int(n) for n in first["bbox"])
    classes = np.asarray(PIL.Image.open(tmp_path / canvas_files.CLASSES / "00000.png"))
    assert classes[top : top + height, left : left + width].max() == first["category_id"] + 1
