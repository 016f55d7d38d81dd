"""Networks of the catalogue whose weights recognise something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support import multiply_adds
from tests.support.conversion import Bench
from toolchain.accuracy.metrics import Network, coco_map, mean_iou
from toolchain.convert import catalogue_networks, conversion
from toolchain.convert.networks import ssd_mobilenet
from toolchain.core import paths
from toolchain.models import catalogue, samples_file
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.resolve import resolve_model
from toolchain.samples import canvas_files, catalogue_inputs

FIFTH = ((0.2 / 2**0.5, 0.2 * 2**0.5), (0.2 * 2**0.5, 0.2 / 2**0.5))
PALACE, MONASTERY, DAISY = 698, 663, 985  # of ImageNet's 1,000 classes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(root=tmp_path_factory.mktemp("bench"))


def test_efficientnet_lite0_sees_a_palace_and_a_daisy(bench: Bench) -> None:
    spec = resolve_model("efficientnet-lite0")
    made = bench.convert(spec)
    assert made.source.weights.startswith("published:")
    assert conversion.identity(spec, 1)["pinned"] == made.source.weights.partition(":")[2]
    scores = outputs(bench.out / "efficientnet-lite0" / "b1")[:, 0]
    # the samples are crops of the two photographs in turn, the largest first
    assert scores[0].argmax() in (PALACE, MONASTERY)
    assert scores[1].argmax() == DAISY


def test_the_page_of_the_catalogue_says_what_each_network_is() -> None:
    """A network that is new, or another now, is missing here by the line that the page needs."""
    page = (paths.ROOT / "docs" / "reference" / "catalogue.md").read_text().splitlines()
    needed = [line_of(entry) for entry in catalogue.entries().values()]
    assert [line for line in needed if line not in page] == []
    assert sum(line.startswith("| `") for line in page) == len(needed)


def line_of(entry: CatalogueEntry) -> str:
    source = catalogue_networks.source_of(entry)
    model = source.architecture(entry)
    shape = "×".join(str(n) for n in entry.shape)
    parameters = f"{model.count_params() / 1e6:.3f}"
    products = f"{multiply_adds.of_model(model) / 1e6:.1f}"
    cells = (f"`{entry.name}`", entry.title, shape, parameters, products, source.weights)
    return f"| {' | '.join(cells)} |"


def outputs(folder: Path) -> npt.NDArray[np.float32]:
    """What a network's source gives for its samples, (inferences, batch, ...)."""
    with np.load(folder / "samples.npz") as arrays:
        (name,) = [name for name in arrays.files if name.startswith(samples_file.OUTPUT)]
        given: npt.NDArray[np.float32] = arrays[name]
    return given


def test_an_ssds_anchors_are_those_of_its_six_maps() -> None:
    """1,917 of an input of 300 pixels, as TensorFlow's detection models have them."""
    anchors = ssd_mobilenet.anchors([(n, n) for n in (19, 10, 5, 3, 2, 1)])
    assert anchors.shape == (1917, 4)
    # of the first cell: the smallest, and two of a fifth of the image, lying and standing
    np.testing.assert_allclose(
        anchors[:3], [[1 / 38, 1 / 38, h, w] for h, w in ((0.1, 0.1), *FIFTH)], rtol=1e-5
    )
    # the largest cell's last is between its own size and the whole image
    np.testing.assert_allclose(anchors[-1], [0.5, 0.5, 0.95**0.5, 0.95**0.5], rtol=1e-5)
    decoded = np.asarray(ssd_mobilenet.decoded(np.zeros((1, 1917, 4), np.float32), anchors))
    half = 0.95**0.5 / 2
    corners = [0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half]
    np.testing.assert_allclose(decoded[0, -1], corners, rtol=1e-5)


def test_a_voice_activity_detectors_state_is_found_and_changes_what_it_says(bench: Bench) -> None:
    made = bench.convert(resolve_model("voice-activity"))
    assert made.state is not None
    assert dict(made.state.inputs) == {"h": "hn", "c": "cn"}
    assert {check.stage for check in made.checks} == {"onnx", "tflite"}
    with np.load(bench.out / "voice-activity" / "b1" / "samples.npz") as arrays:
        h = arrays["in:h"]
    assert np.abs(h[7] - h[1]).max() > 0.01


def test_digits_on_a_canvas_are_segmented(bench: Bench) -> None:
    spec = resolve_model("digits-segmenter")
    bench.convert(spec)
    given = outputs(bench.out / spec.name / "b1")[:, 0]
    assert spec.entry is not None
    wanted = catalogue_inputs.held_out_canvases(spec.entry, len(given)).classes
    counted = sum(
        mean_iou.confusion(classes.astype(np.int64), scores.argmax(axis=-1), 11, "a canvas")
        for classes, scores in zip(wanted, given, strict=True)
    )
    assert mean_iou.of_confusion(np.asarray(counted))["mean IoU"] > 0.7


def test_digits_on_a_canvas_are_found(bench: Bench, tmp_path: Path) -> None:
    spec = resolve_model("digits-detector")
    bench.convert(spec)
    given = outputs(bench.out / spec.name / "b1")[:, 0]
    canvas_files.write(tmp_path, len(given))
    labels = tmp_path / canvas_files.ANNOTATIONS
    images = coco_map.METRIC.read(tmp_path / canvas_files.IMAGES, labels)
    assert spec.entry is not None
    network = Network(
        preprocessing=spec.entry.image_preprocessing(),
        width=48,
        height=48,
        classes=10,
        detection=spec.entry.detection,
    )
    found = coco_map.METRIC.evaluate([{"output": one} for one in given], images, network)
    assert found["mAP at 0.5"] > 0.8
