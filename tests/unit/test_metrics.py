"""What outputs are worth: segmenters', detectors', and by a metric of the user's own."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from toolchain.accuracy import box_decoding, class_map, framing, metrics, resizing
from toolchain.accuracy.metrics import Labelled, Network, coco_map, mean_iou
from toolchain.core.errors import ModelError, UsageError
from toolchain.models.detection import Detection
from toolchain.models.preprocessing import Preprocessing

HOW = Preprocessing(channels="RGB", resize="nearest", scale=1.0, mean=(0.0,), std=(1.0,), crop=1.0)
NETWORK = Network(preprocessing=HOW, width=4, height=4, classes=3)


def scores(classes: list[list[int]], count: int = 3) -> dict[str, np.ndarray]:
    """What a segmenter gives that is sure of these classes."""
    return {"scores": np.eye(count, dtype=np.float32)[np.asarray(classes)]}


def a_label(path: Path, classes: np.ndarray) -> Labelled:
    PIL.Image.fromarray(classes.astype(np.uint8)).save(path)
    return Labelled(path=path, label=str(path))


def test_a_mean_iou_is_over_all_images_and_the_classes_that_occur(tmp_path: Path) -> None:
    first = a_label(tmp_path / "a.png", np.zeros((4, 4)))
    second = a_label(tmp_path / "b.png", np.repeat([[0, 0, 1, 1]], 4, axis=0))
    given = [scores([[0] * 4] * 4), scores([[0, 0, 0, 1]] * 4)]
    found = mean_iou.METRIC.evaluate(given, [first, second], NETWORK)
    # class 0: 24 of 28 pixels; class 1: 4 of 8; class 2 is nowhere
    assert found["mean IoU"] == pytest.approx((24 / 28 + 4 / 8) / 2)
    assert found["pixel accuracy"] == pytest.approx(28 / 32)


def test_pixels_that_do_not_count_do_not(tmp_path: Path) -> None:
    wanted = np.full((4, 4), mean_iou.IGNORED)
    wanted[0] = 1
    found = mean_iou.METRIC.evaluate(
        [scores([[1] * 4, *[[2] * 4] * 3])], [a_label(tmp_path / "a.png", wanted)], NETWORK
    )
    assert found == {"mean IoU": 1.0, "pixel accuracy": 1.0}


@pytest.mark.parametrize(
    "given",
    [
        {"scores": np.moveaxis(np.eye(3, dtype=np.float32)[np.ones((4, 4), int)], 2, 0)},
        {"classes": np.ones((4, 4), np.int64)},
        {"classes": np.ones((4, 4, 1), np.uint8)},
    ],
    ids=["channels first", "whole numbers", "whole numbers with an axis of one"],
)
def test_a_class_map_is_found_in_each_layout(given: dict[str, np.ndarray]) -> None:
    found, classes = class_map.class_map(given, 3)
    assert (found.shape, classes) == ((4, 4), 3)
    assert (found == 1).all()


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(ModelError, match="no segmenter's"):
        mean_iou._class_map({"scores": np.zeros(10, np.float32)}, 10)
    with pytest.raises(ModelError, match="no segmenter's"):
        mean_iou._class_map({**scores([[0]]), "more": np.zeros(1)}, 3)


def test_a_label_with_a_class_that_the_network_has_not_is_refused(tmp_path: Path) -> None:
    label = a_label(tmp_path / "a.png", np.full((4, 4), 3))
    with pytest.raises(UsageError, match=r"a\.png has class 3; the network has 3"):
        mean_iou.METRIC.evaluate([scores([[0] * 4] * 4)], [label], NETWORK)


def test_labels_lie_as_the_image_does(tmp_path: Path) -> None:
    """A wide image is letterboxed; what is above and below it does not count."""
    how = HOW.model_copy(update={"fit": "letterbox"})
    label = a_label(tmp_path / "a.png", np.repeat([[1] * 4 + [2] * 4], 4, axis=0))
    network = Network(preprocessing=how, width=4, height=4, classes=3)
    given = scores([[0] * 4, [1, 1, 2, 2], [1, 1, 2, 2], [0] * 4])
    assert mean_iou.METRIC.evaluate([given], [label], network)["mean IoU"] == 1.0


def test_an_image_without_its_label_is_named(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name in ("a", "b"):
        PIL.Image.new("RGB", (4, 4)).save(images / f"{name}.jpg")
    a_label(labels / "a.png", np.zeros((4, 4)))
    with pytest.raises(UsageError, match="1 of 2 images have no label") as caught:
        mean_iou.METRIC.read(images, labels)
    assert caught.value.detail == "b.jpg"
    a_label(labels / "b.png", np.zeros((4, 4)))
    assert [one.path.name for one in mean_iou.METRIC.read(images, labels)] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("size", [(8, 4), (4, 8), (3, 5), (4, 4), (100, 7)])
@pytest.mark.parametrize("fit", ["crop", "letterbox", "stretch"])
def test_boxes_go_back_to_where_they_were_in_the_image(size: tuple[int, int], fit: str) -> None:
    how = HOW.model_copy(update={"fit": fit, "crop": 0.875})
    place = framing.frame(size, how, 64, 48)
    whole = np.asarray([[0.0, 0.0, *size]])
    there = whole * np.asarray(place.scale * 2) + np.asarray([place.left, place.top] * 2)
    np.testing.assert_allclose(place.original(there), whole, atol=1e-9)
    if fit == "letterbox":
        assert there.min() >= 0
        assert (there[0, 2:] <= (64, 48)).all()


def test_a_letterbox_fills_what_is_left_with_grey() -> None:
    how = HOW.model_copy(update={"fit": "letterbox", "resize": "bilinear"})
    image = np.full((10, 20, 3), 200, np.uint8)
    place = framing.frame((20, 10), how, 8, 8)
    lying = place.placed(resizing.resized(image, place.size, how.resize), how.pad)
    assert (lying[2:6] == 200).all()
    assert (lying[:2] == 114).all()
    assert (lying[6:] == 114).all()


def detections(*boxes: tuple[float, ...]) -> dict[str, np.ndarray]:
    """A YOLO head's output of two classes, (4 + classes, boxes)."""
    return {"found": np.asarray(boxes, np.float32).T}


SIZE = (64, 32)
YOLO = Detection(head="yolo", score=0.1, overlap=0.5)


def test_of_boxes_of_a_class_that_overlap_the_surest_stays() -> None:
    given = detections(
        (10, 10, 8, 8, 0.6, 0.0, 0.0), (10, 11, 8, 8, 0.9, 0.0, 0.0), (10, 10, 8, 8, 0.0, 0.7, 0.0),
        (30, 30, 8, 8, 0.05, 0.0, 0.0),
    )  # fmt: skip
    for layout in (given, {"found": given["found"].T}):
        found = box_decoding.decoded(layout, YOLO, 3, SIZE)
        np.testing.assert_allclose(found.scores, [0.9, 0.7], rtol=1e-6)
        assert found.classes.tolist() == [0, 1]
        np.testing.assert_allclose(found.corners, [[6, 7, 14, 15], [6, 6, 14, 14]])


def test_a_box_s_own_score_counts_where_there_is_one() -> None:
    how = YOLO.model_copy(update={"objectness": True})
    found = box_decoding.decoded(detections((10, 10, 8, 8, 0.5, 0.2, 0.8)), how, 2, SIZE)
    np.testing.assert_allclose(found.scores, [0.4, 0.1], rtol=1e-6)


def test_outputs_that_are_no_yolo_heads_are_refused() -> None:
    with pytest.raises(box_decoding.OtherHeadError, match="not a YOLO head's"):
        box_decoding.decoded({"found": np.zeros((7, 9), np.float32)}, YOLO, 10, SIZE)


def test_of_an_output_that_claims_everything_the_first_boxes_stay_at_once() -> None:
    rows = np.ones((8400, 84), np.float32)
    rows[:, :2] = np.stack(np.divmod(np.arange(8400), 100), axis=1) * 10
    how = Detection(head="yolo", score=0.25, overlap=0.45, most=300)
    started = time.process_time()
    found = box_decoding.decoded({"found": rows}, how, 80, SIZE)
    assert time.process_time() - started < 20  # by comparing each with all before it, hours
    assert found.scores.tolist() == [1.0] * 300


def test_the_boxes_that_stay_are_those_of_comparing_each_with_all() -> None:
    rng = np.random.default_rng(23)
    rows = rng.random((200, 7)) * [60, 30, 12, 12, 1, 1, 1]
    how = Detection(head="yolo", score=0.2, overlap=0.3, most=40)
    found = box_decoding.decoded({"found": rows}, how, 3, SIZE)
    kept: list[tuple[float, int, list[float]]] = []
    places = [(row, number) for row in range(200) for number in range(3)]
    for row, number in sorted(places, key=lambda place: -rows[place[0], 4 + place[1]]):
        x, y, wide, tall = rows[row, :4]
        box = [x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2]
        rivals = [other for _, n, other in kept if n == number]
        if rows[row, 4 + number] >= 0.2 and all(iou(box, other) <= 0.3 for other in rivals):
            kept.append((rows[row, 4 + number], number, box))
    assert found.classes.tolist() == [number for _, number, _ in kept[:40]]
    np.testing.assert_allclose(found.corners, [box for _, _, box in kept[:40]])


def iou(one: list[float], other: list[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(tall, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def test_a_box_that_is_nowhere_is_left_out() -> None:
    given = detections(
        (10, 10, 8, 8, 0.9, 0.0, 0.0), (math.nan, 10, 8, 8, 0.9, 0.0, 0.0),
        (10, math.inf, 8, 8, 0.9, 0.0, 0.0), (40, 10, 8, 8, math.inf, math.nan, 0.0),
    )  # fmt: skip
    found = box_decoding.decoded(given, YOLO, 3, SIZE)
    np.testing.assert_allclose(found.corners, [[6, 6, 14, 14]])


def annotated(folder: Path, sides: tuple[int, int]) -> list[Labelled]:
    """One image with a box of class 0 at (8, 8)-(16, 16) and one of class 1 at (24, 8)-(32, 16)."""
    PIL.Image.new("RGB", sides).save(folder / "a.png")
    boxes = [([8, 8, 8, 8], 5), ([24, 8, 8, 8], 7)]
    content = {
        "images": [{"id": 3, "file_name": "a.png", "width": sides[0], "height": sides[1]}],
        "annotations": [
            {"id": n, "image_id": 3, "category_id": c, "bbox": box, "area": 64, "iscrowd": 0}
            for n, (box, c) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 7, "name": "b"}, {"id": 5, "name": "a"}],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return coco_map.METRIC.read(folder, folder / "labels.json")


@pytest.mark.parametrize(
    ("boxes", "precision"),
    [
        ([(12, 12, 8, 8, 0.9, 0.0), (28, 12, 8, 8, 0.0, 0.8)], 1.0),
        ([(12, 12, 8, 8, 0.9, 0.0)], 0.5),
        ([(12, 12, 8, 8, 0.0, 0.9), (28, 12, 8, 8, 0.8, 0.0)], 0.0),
        ([(60, 60, 1, 1, 0.0, 0.0)], 0.0),
    ],
    ids=["both", "one of two", "the wrong classes", "none"],
)
def test_a_detector_is_judged_as_coco_does(
    tmp_path: Path, boxes: list[tuple[float, ...]], precision: float
) -> None:
    images = annotated(tmp_path, (64, 64))
    network = Network(preprocessing=HOW, width=64, height=64, classes=2, detection=YOLO)
    found = coco_map.METRIC.evaluate([detections(*boxes)], images, network)
    assert found == {"mAP": pytest.approx(precision), "mAP at 0.5": pytest.approx(precision)}


def test_boxes_of_a_letterboxed_image_are_judged_in_the_images_own_pixels(tmp_path: Path) -> None:
    images = annotated(tmp_path, (128, 64))
    how = HOW.model_copy(update={"fit": "letterbox"})
    network = Network(preprocessing=how, width=64, height=64, classes=2, detection=YOLO)
    given = detections((6, 22, 4, 4, 0.9, 0.0), (14, 22, 4, 4, 0.0, 0.9))
    assert coco_map.METRIC.evaluate([given], images, network)["mAP"] == pytest.approx(1.0)


def test_classes_are_matched_with_categories_by_name(tmp_path: Path) -> None:
    images = annotated(tmp_path, (64, 64))
    network = Network(
        preprocessing=HOW, width=64, height=64, classes=2, names=("b", "a"), detection=YOLO
    )
    given = detections((12, 12, 8, 8, 0.0, 0.9), (28, 12, 8, 8, 0.8, 0.0))
    assert coco_map.METRIC.evaluate([given], images, network)["mAP"] == pytest.approx(1.0)
    with pytest.raises(UsageError, match="2 categories, the network 3"):
        coco_map.METRIC.evaluate([given], images, dataclasses.replace(network, classes=3, names=()))


def test_a_detector_whose_head_nobody_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="how the model's outputs become boxes"):
        coco_map.METRIC.evaluate([{}], annotated(tmp_path, (64, 64)), NETWORK)


def a_users(path: Path, body: str) -> metrics.Metric:
    path.write_text(f"def evaluate(outputs, labels):\n    {body}\n")
    return metrics.metric_of(str(path))


def test_a_users_metric_gets_outputs_and_labels(tmp_path: Path) -> None:
    body = "return {'right': sum(int(o['y'].argmax()) == int(n) for o, n in zip(outputs, labels))}"
    metric = a_users(tmp_path / "own.py", body)
    for name in ("a b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.txt").write_text("c.png 1\n")
    images = metric.read(tmp_path, tmp_path / "list.txt")
    assert [(one.path.name, one.label) for one in images] == [("c.png", "1")]
    assert metric.evaluate([{"y": np.asarray([0.1, 0.9])}], images, NETWORK) == {"right": 1.0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "returned 3"),
        ("return {}", "returned {}"),
        ("return {'x': 'much'}", "x is 'much'"),
        ("return {'x': float('nan')}", "x is nan"),
        ("raise KeyError('y')", "failed"),
    ],
)
def test_what_a_users_metric_may_not_return_is_refused(
    tmp_path: Path, body: str, said: str
) -> None:
    metric = a_users(tmp_path / "own.py", body)
    with pytest.raises(UsageError) as caught:
        metric.evaluate([], [], NETWORK)
    assert said in caught.value.brief


def test_an_unknown_metric_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        metrics.metric_of("miou")
    assert "mean-iou" in caught.value.resolution
    with pytest.raises(UsageError, match="no such file"):
        metrics.metric_of(str(tmp_path / "none.py"))


def ssd(*scores: list[float]) -> dict[str, np.ndarray]:
    """Two boxes, at the left and at the right."""
    boxes = np.array([[0.25, 0, 0.75, 0.5], [0, 0.5, 1, 1]], np.float32)
    return {"boxes": boxes, "scores": np.array(scores, np.float32)}


def test_boxes_of_an_ssd_head_are_shares_of_its_input() -> None:
    how = Detection(head="ssd", background=True, score=0.1)
    found = box_decoding.decoded(ssd([0.9, 0.2, 0.0], [0.1, 0.0, 0.6]), how, 2, SIZE)
    assert found.corners.tolist() == [[32, 0, 64, 32], [0, 8, 32, 24]]
    assert found.scores == pytest.approx([0.6, 0.2])
    assert found.classes.tolist() == [1, 0]
    without = how.model_copy(update={"background": False})
    assert len(box_decoding.decoded(ssd([0.9, 0.2], [0.1, 0.6]), without, 2, SIZE).scores) == 4


def test_scores_of_an_ssd_head_may_be_as_wide_as_its_boxes() -> None:
    how = Detection(head="ssd", background=True, score=0.5)
    given = ssd([0.9, 0.1, 0.0, 0.0], [0.1, 0.0, 0.8, 0.0])
    found = box_decoding.decoded(given, how, 3, SIZE)
    assert (found.corners.tolist(), found.classes.tolist()) == ([[32, 0, 64, 32]], [1])


def test_outputs_that_are_no_ssd_heads_are_listed() -> None:
    how = Detection(head="ssd")
    with pytest.raises(box_decoding.OtherHeadError, match="not an SSD head's") as caught:
        box_decoding.decoded(ssd([0.9, 0.2, 0.0], [0.1, 0.0, 0.6]), how, 2, SIZE)
    assert "boxes (2, 4), scores (2, 3); (boxes, 4) and (boxes, 2)" in caught.value.detail


def test_what_an_ssd_head_is_asked_leaves_what_a_yolo_head_was_known_by() -> None:
    assert "background" not in YOLO.model_dump()
