"""The library on the device, with a runtime that is plain numpy."""

from __future__ import annotations

import random
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgewright_device
import numpy as np
import PIL.Image
import pytest
from edgewright_device import EdgewrightError, InputError, MeaningError, Network, NotDeployedError
from edgewright_device import pictures as on_device
from edgewright_runner import backends

from tests.support.damage import damaged
from tests.support.device_releases import Arrays, NumpyBackend, release, tensor
from toolchain.accuracy.sharding import shards_job
from toolchain.core import process
from toolchain.models.preprocessing import Preprocessing, Spectrogram
from toolchain.samples import synthetic_sounds

Opened = Callable[..., Network]
METHODS = ["bilinear", "bicubic", "area", "nearest"]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes a release whose network is a function, and loads it."""

    def make(function: Callable[[Arrays], Arrays], *args: Any, **said: Any) -> Network:
        monkeypatch.setattr(backends, "open_runtime", lambda *_: NumpyBackend(function))
        return edgewright_device.load("net", release=release(tmp_path / "release", *args, **said))

    return make


def doubled(given: Arrays) -> Arrays:
    return {"y": given["x"] * 2}


def test_arrays_go_in_and_come_out_by_name(opened: Opened) -> None:
    net = opened(doubled, [tensor("x", 1, 3)], [tensor("y", 1, 3)])
    for given in (np.ones((1, 3), np.float32), np.ones(3), [[1, 1, 1]]):
        outputs = net(x=given)
        assert outputs["y"].dtype == np.float32
        assert outputs["y"].tolist() == [[2, 2, 2]]
    assert net({"x": np.ones(3)})["y"].tolist() == [[2, 2, 2]]
    assert net.seconds > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": np.ones(4)}, r"shape \(4,\) was given; x is float32 \(1, 3\)"),
        ({"z": np.ones(3)}, "was given no x; x is float32"),
        ({"x": np.ones(3), "z": np.ones(3)}, "was given z, which is none of its inputs"),
        ({"x": np.array(["a", "b", "c"])}, r"an array of <U1 was given"),
    ],
)
def test_what_the_network_does_not_take_is_said_in_one_line(
    opened: Opened, given: Arrays, said: str
) -> None:
    net = opened(doubled, [tensor("x", 1, 3)], [tensor("y", 1, 3)])
    with pytest.raises(InputError, match=said) as caught:
        net(given)
    assert isinstance(caught.value, EdgewrightError)
    assert "\n" not in str(caught.value)


def test_whole_numbers_that_do_not_fit_are_refused(opened: Opened) -> None:
    net = opened(doubled, [tensor("x", 2, dtype="int8")], [tensor("y", 2, dtype="int8")])
    assert net(x=np.array([1, -3]))["y"].tolist() == [2, -6]
    with pytest.raises(InputError, match="does not fit into int8"):
        net(x=np.array([1, 300]))
    with pytest.raises(InputError, match="float64 was given"):
        net(x=np.array([1.0, 3.0]))


def test_a_rounded_input_takes_real_numbers_and_labels_their_scores(opened: Opened) -> None:
    scale = {"scale": 0.5, "zero": 10}
    net = opened(
        lambda given: {"y": given["x"]},
        [tensor("x", 1, 3, dtype="int8", quantization=scale)],
        [tensor("y", 1, 3, dtype="int8", quantization=scale)],
        labels=["cat", "dog", "owl"],
    )
    assert net(x=np.array([[1.0, -2.0, 900.0]]))["y"].tolist() == [[12, 6, 127]]
    assert net.classify({"x": np.array([[1.0, -2.0, 4.0]])}, top=2) == [("owl", 4.0), ("cat", 1.0)]


def test_a_state_is_carried_from_call_to_call_and_begins_anew(opened: Opened) -> None:
    net = opened(
        lambda given: {"y": given["x"] + given["h"], "hn": given["h"] + 1},
        [tensor("x", 1, 2), tensor("h", 1, 1)],
        [tensor("y", 1, 2), tensor("hn", 1, 1)],
        state={"feeds": [{"input": "h", "output": "hn"}], "steps": 8},
    )
    assert [net(x=np.zeros(2))["y"][0, 0] for _ in range(3)] == [0, 1, 2]
    net.reset()
    assert net(x=np.zeros(2))["y"][0, 0] == 0
    assert net(x=np.zeros(2), h=np.full((1, 1), 40))["y"][0, 0] == 40
    assert net(np.zeros((1, 2), np.float32))["y"][0, 0] == 41


def test_a_form_is_chosen_by_what_a_program_asks_for(tmp_path: Path, opened: Opened) -> None:
    forms = (("tvm", "fp32", 3), ("tflite", "fp32", None), ("tvm", "int8", 3))
    net = opened(doubled, [tensor("x", 1, 3)], [tensor("y", 1, 3)], forms=forms)
    assert (net.runtime, net.variant, net.opt_level, net.threads) == ("tvm", "fp32", 3, 1)
    folder = tmp_path / "release"
    other = edgewright_device.load("net", runtime="tflite", threads=2, release=folder)
    assert (other.runtime, other.threads) == ("tflite", 2)
    assert edgewright_device.load("net", variant="int8", release=folder).runtime == "tvm"
    with pytest.raises(NotDeployedError, match="as tflite int8; it is there as tvm fp32 O3, tfl"):
        edgewright_device.load("net", runtime="tflite", variant="int8", release=folder)
    with pytest.raises(NotDeployedError, match="no model other in this release; it holds net"):
        edgewright_device.load("other", release=folder)
    with pytest.raises(NotDeployedError, match="at batch 4; it is at batch 1"):
        edgewright_device.load("net", batch=4, release=folder)
    assert edgewright_device.models(folder) == ["net"]


def test_a_list_of_labels_that_is_gone_is_one_line(tmp_path: Path, opened: Opened) -> None:
    opened(doubled, [tensor("x", 1, 3)], [tensor("y", 1, 3)], labels=["a", "b", "c"])
    (tmp_path / "release/models/net/b1/labels.txt").unlink()
    with pytest.raises(EdgewrightError, match=r"labels.txt can't be read; deploy again"):
        edgewright_device.load("net", release=tmp_path / "release")


def test_a_program_keeps_the_release_that_it_has_begun_with(tmp_path: Path) -> None:
    current, package = tmp_path / "current", Path(edgewright_device.__file__).parent
    for name in ("first", "second"):
        (tmp_path / name / "runner").mkdir(parents=True)
        for each in ("edgewright_device", "edgewright_runner"):
            (tmp_path / name / "runner" / each).symlink_to(package.with_name(each))
    current.symlink_to("first")
    program = (
        "import edgewright_device as library, pathlib, sys\n"
        "link = pathlib.Path(sys.argv[1])\n"
        "link.unlink(); link.symlink_to('second')\n"
        "print(library.OWN.resolve().name)\n"
    )
    said = process.run(
        [sys.executable, "-c", program, current], env={"PYTHONPATH": str(current / "runner")}
    )
    assert said == "first\n"


def test_what_a_runtime_raises_is_the_cause(opened: Opened) -> None:
    net = opened(lambda given: {"y": given["z"]}, [tensor("x", 1, 3)], [tensor("y", 1, 3)])
    with pytest.raises(edgewright_device.RuntimeFailedError, match="tflite failed with net") as e:
        net(x=np.ones(3))
    assert isinstance(e.value.__cause__, KeyError)


@pytest.mark.parametrize("resize", METHODS)
@pytest.mark.parametrize("fit", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("opencv", [True, False])
def test_a_picture_becomes_what_accuracy_is_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resize: str, fit: str, opencv: bool
) -> None:
    """Without OpenCV the rounding of a resized pixel may differ by one."""
    smooth = np.cumsum(np.random.default_rng(0).integers(0, 5, (67, 45, 3)), axis=0) % 256
    PIL.Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.png")
    said = {"resize": resize, "fit": fit, "channels": "BGR", "mean": (1, 2, 3), "std": (2, 2, 4)}
    how = Preprocessing.model_validate({**said, "scale": 1.0})
    if not opencv:
        monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    pixels = on_device.decoded(tmp_path / "a.png", grey=False)
    given = on_device.prepared(pixels, how, (1, 3, 32, 40))
    wanted = shards_job.read(tmp_path / "a.png", how, 32, 40, 3)[..., ::-1]
    real = ((wanted - np.asarray(how.mean)) / np.asarray(how.std)).transpose(2, 0, 1)[np.newaxis]
    # in pixels again; a nearest pixel is the same one
    off = np.abs(given - real) * np.asarray(how.std).reshape(1, 3, 1, 1)
    assert off.max() <= (1e-4 if opencv or resize == "nearest" else 1.001)
    assert given.dtype == np.float32


def test_a_picture_may_be_a_path_an_array_or_pillows(tmp_path: Path, opened: Opened) -> None:
    how = Preprocessing(resize="nearest", scale=1.0, fit="stretch").model_dump(mode="json")
    net = opened(
        lambda given: {"y": given["x"].reshape(1, -1)[:, :3]},
        [tensor("x", 1, 4, 4, 3)],
        [tensor("y", 1, 3)],
        metadata={"preprocessing": how},
    )
    image = PIL.Image.fromarray(np.full((9, 9, 3), (10, 20, 30), np.uint8))
    image.save(tmp_path / "a.png")
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), image, np.asarray(image)):
        assert net(given)["y"].tolist() == [[10, 20, 30]]
    grey = np.full((9, 9), 7, np.uint8)
    assert net(grey)["y"].tolist() == [[7, 7, 7]]
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="is no picture"):
        net(tmp_path / "b.jpg")
    with pytest.raises(InputError, match=r"float32 \(1, 4, 4, 3\)"):
        net(np.zeros((9, 9, 3)))


def test_without_preprocessing_a_picture_is_refused_with_what_to_write(opened: Opened) -> None:
    net = opened(doubled, [tensor("x", 1, 4, 4, 3)], [tensor("y", 1, 3)])
    with pytest.raises(MeaningError, match=r"write \[preprocessing\] into the model's TOML"):
        net(np.zeros((9, 9, 3), np.uint8))


def test_a_sound_becomes_the_spectrogram_that_the_samples_have(
    tmp_path: Path, opened: Opened
) -> None:
    how = Spectrogram(window=480, hop=320, bands=16)
    net = opened(
        lambda given: {"y": given["x"]},
        [tensor("x", 1, 5, 16)],
        [tensor("y", 1, 5, 16)],
        metadata={"spectrogram": how.model_dump(mode="json", exclude_none=True)},
    )
    sound = synthetic_sounds.sound(0, 480 + 4 * 320)
    wanted = synthetic_sounds.spectrograms(1, (5, 16), how)
    assert np.array_equal(net(sound)["y"], wanted)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    assert np.abs(net(tmp_path / "a.wav")["y"] - wanted).max() < 0.2


def test_damaged_sounds_and_arrays_are_read_or_refused(tmp_path: Path, opened: Opened) -> None:
    net = opened(doubled, [tensor("x", 1, 4)], [tensor("y", 1, 4)])
    sound, array = tmp_path / "a.wav", tmp_path / "a.npy"
    with wave.open(str(sound), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(400))
    np.save(array, np.zeros(4, np.float32))
    rng = random.Random(23)  # noqa: S311 (the same each time)
    for path in (sound, array):
        content, refused = path.read_bytes(), 0
        for _ in range(400):
            path.write_bytes(damaged(content, rng))
            try:
                net.taken(path)
            except InputError:
                refused += 1
        assert refused > 100, path.name


def test_the_best_class_is_that_of_the_greatest_score_of_any_type(opened: Opened) -> None:
    net = opened(
        lambda _: {"y": np.array([[0, 1, 0]], np.uint8)}, [tensor("x", 1, 4)], [tensor("y", 1, 3)]
    )
    assert net.classify(np.zeros(4, np.float32))[0] == ("class 1", 1.0)


def test_boxes_are_in_pixels_of_the_picture(opened: Opened) -> None:
    rows = np.zeros((1, 6, 2), np.float32)
    rows[0, :, 0] = (20, 20, 10, 10, 0.1, 0.9)
    rows[0, :, 1] = (5, 5, 2, 2, 0.05, 0.1)
    how = Preprocessing(resize="nearest", fit="stretch").model_dump(mode="json")
    detection = {"head": "yolo", "objectness": False, "score": 0.01, "overlap": 0.5, "most": 9}
    net = opened(
        lambda _: {"y": rows},
        [tensor("x", 1, 40, 40, 3)],
        [tensor("y", 1, 6, 2)],
        labels=["cat", "dog"],
        metadata={"task": "detection", "preprocessing": how, "detection": detection},
    )
    (box,) = net.detect(np.zeros((80, 40, 3), np.uint8))
    assert (box.label, round(box.score, 3)) == ("dog", 0.9)
    assert (box.left, box.top, box.right, box.bottom) == (15, 30, 25, 50)
    assert len(net.detect(np.zeros((80, 40, 3), np.uint8), score=0.06)) == 3


def test_boxes_lie_where_they_are_in_bytes_that_are_taken_as_they_are(opened: Opened) -> None:
    rows = np.asarray([20, 20, 10, 10, 0.9], np.float32).reshape(1, 5, 1)
    detection = {"head": "yolo", "objectness": False, "score": 0.01, "overlap": 0.5, "most": 9}
    net = opened(
        lambda _: {"y": rows},
        [tensor("x", 1, 40, 40, 3, dtype="uint8")],
        [tensor("y", 1, 5, 1)],
        labels=["cat"],
        metadata={
            "task": "detection",
            "preprocessing": Preprocessing(fit="crop", crop=0.5).model_dump(mode="json"),
            "detection": detection,
        },
    )
    (box,) = net.detect(np.zeros((40, 40, 3), np.uint8))
    assert (box.left, box.top, box.right, box.bottom) == (15, 15, 25, 25)


def test_a_mask_has_the_pictures_size_and_says_what_was_cut_off(opened: Opened) -> None:
    scores = np.zeros((1, 2, 2, 3), np.float32)
    scores[0, :, 1, 2] = 1
    how = Preprocessing(resize="nearest", crop=1.0).model_dump(mode="json")
    net = opened(
        lambda _: {"y": scores},
        [tensor("x", 1, 4, 4, 1)],
        [tensor("y", 1, 2, 2, 3)],
        metadata={"preprocessing": how, "classes": 3},
    )
    mask = net.segment(np.zeros((4, 8), np.uint8))
    assert mask.tolist() == [[255, 255, 0, 0, 2, 2, 255, 255]] * 4
