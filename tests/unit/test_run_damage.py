"""What was damaged or made up, on its way to a run's inputs and its pictures."""

from __future__ import annotations

import os
import random
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from deploy.run import device_run, drawing, inputs, written
from deploy.run.deployed_model import Choice, DeployedModel
from deploy.run.inputs import Item
from deploy.run.meaning import Box, Meaning, Reader
from tests.support.damage import damaged
from tests.support.manifests import a_manifest
from toolchain.accuracy import dataset
from toolchain.bundle.assemble import Executable
from toolchain.core.errors import BenchError, ModelError, UsageError
from toolchain.formats.signature import Tensor
from toolchain.models.metadata import Metadata

X = Tensor(name="x", shape=(1, 4))


def inputs_of_each_kind(tmp_path: Path) -> list[Path]:
    """A sound in stereo, and arrays in each form."""
    sound, one, some, packed = (tmp_path / n for n in ("a.wav", "a.npy", "a.npz", "packed.npz"))
    with wave.open(str(sound), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(400))
    np.save(one, np.zeros(4, np.float32))
    np.savez(some, x=np.zeros(4, np.float32))
    np.savez_compressed(packed, x=np.random.default_rng(1).random((50, 4)))
    return [sound, one, some, packed]


def test_damaged_sounds_and_arrays_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(23)  # noqa: S311 (the same each time)
    for whole in inputs_of_each_kind(tmp_path):
        content, refused = whole.read_bytes(), 0
        for _ in range(400):
            whole.write_bytes(damaged(content, rng))
            try:
                inputs.read(whole, [X], [])
            except UsageError:
                refused += 1
        assert refused > 100, whole.name


def test_a_recording_that_was_cut_short_is_taken_as_far_as_it_goes(tmp_path: Path) -> None:
    sound = inputs_of_each_kind(tmp_path)[0]
    sound.write_bytes(sound.read_bytes()[:-3])
    (item,) = inputs.read(sound, [X], [])
    assert item.sound is not None
    assert item.sound.shape == (99,)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**40, 2**40)])
def test_a_device_that_says_its_outputs_are_endless_fills_no_memory(
    shape: tuple[int, ...],
) -> None:
    manifest = a_manifest().model_copy(update={"outputs": [Tensor(name="y", shape=shape)]})
    executable = Executable(runtime="tflite", variant="fp32", file="a", inputs=["x"], outputs=["y"])
    there = DeployedModel(release="a" * 64, manifest=manifest, executables=(executable,), labels=())
    with pytest.raises(BenchError, match="bytes an inference"):
        device_run.run(
            Silent(), "~/edgewright", there, Choice(executable=executable, threads=1),
            [Item(name="a", path=Path("a"), arrays={"x": np.zeros(4)})], inputs=False,
        )  # fmt: skip


class Silent:
    """A device that says nothing."""

    def run(self, *_: object, **__: object) -> str:
        return ""


def test_a_drawing_takes_neither_an_inputs_place_nor_anothers(tmp_path: Path) -> None:
    meaning, ran = Meaning(boxes=[]), []
    for name in ("cat.jpg", "cat.png", "dog.png"):
        PIL.Image.new("RGB", (5, 3)).save(tmp_path / name)
        (item,) = inputs.read(tmp_path / name, [Tensor(name="x", shape=(1, 3, 5, 3))], [])
        ran.append(device_run.Ran(item=item, seconds=0.1, outputs={}, inputs={}))
    found = written.files(a_manifest(), ran, [meaning] * 3, tmp_path / "found")
    assert [path.name for path in found] == ["cat.jpg.png", "cat.png.png", "dog.png"]
    before = (tmp_path / "dog.png").read_bytes()
    (tmp_path / "other.png").hardlink_to(tmp_path / "dog.png")
    for out in (tmp_path, tmp_path / "dog.png", tmp_path / "other.png"):
        with pytest.raises(UsageError, match="not written over"):
            written.files(a_manifest(), ran[2:], [meaning], out)
    assert (tmp_path / "dog.png").read_bytes() == before


def test_arrays_take_no_inputs_place(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, x=np.ones(4, np.float32))
    before = path.read_bytes()
    (item,) = inputs.read(path, [Tensor(name="x", shape=(4,))], [])
    ran = [device_run.Ran(item=item, seconds=0.1, outputs={"y": np.zeros(2)}, inputs={})]
    (tmp_path / "link.npz").symlink_to(path)
    manifest = a_manifest().model_copy(update={"model": "net"})
    for out in (path, tmp_path / "link.npz", tmp_path):
        with pytest.raises(UsageError, match="not written over"):
            written.files(manifest, ran, [Meaning()], out)
    assert path.read_bytes() == before
    assert written.files(manifest, ran, [Meaning()], tmp_path / "found.npz")


def test_an_edge_that_a_device_made_up_is_drawn_at_the_pictures_own() -> None:
    far = Box(label="x" * 10_000, number=0, score=0.5, left=-3e9, top=9, right=3e9, bottom=1e300)
    pixels = np.zeros((480, 640, 3), np.uint8)
    started = time.process_time()
    image = drawing.boxes(pixels, [far])
    assert time.process_time() - started < 10
    assert image.getpixel((320, 9)) != (0, 0, 0)
    assert image.getpixel((0, 240)) == (0, 0, 0)


def test_a_pipe_among_the_inputs_is_not_waited_for(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (5, 3)).save(tmp_path / "cat.png")
    for name in ("pipe.png", "pipe.wav", "pipe.npz"):
        os.mkfifo(tmp_path / name)
    found = inputs.read(tmp_path, [Tensor(name="x", shape=(1, 3, 5, 3))], [])
    assert [item.name for item in found] == ["cat.png"]
    assert [path.name for path in dataset.images_of(tmp_path)] == ["cat.png"]


PICTURE, FLAT = (1, 8, 8, 3), (1, 192)
MADE_UP: dict[str, dict[str, Any]] = {
    "no values to detect in": {"outputs": [(0, 5)], "task": "detection"},
    "no values to segment": {"outputs": [(1, 0)], "task": "segmentation"},
    "a single number": {"outputs": [()], "task": "segmentation"},
    "no picture to detect in": {"inputs": [FLAT], "outputs": [(1, 84, 100)], "task": "detection"},
    "no picture to segment": {"inputs": [FLAT], "task": "segmentation"},
    "two pictures": {"inputs": [PICTURE, PICTURE], "task": "segmentation"},
    "a picture without pixels": {"inputs": [(1, 0, 0, 3)], "task": "segmentation"},
    "nothing about pictures": {"task": "segmentation", "preprocessing": None},
}


@pytest.mark.parametrize("case", MADE_UP)
def test_a_manifest_that_a_device_made_up_is_refused_in_one_line(case: str) -> None:
    said = {"inputs": [PICTURE], "outputs": [(1, 8, 8, 2)], "preprocessing": {}, **MADE_UP[case]}
    metadata = Metadata.model_validate(
        {
            "task": said["task"],
            "preprocessing": said["preprocessing"],
            "detection": {"head": "yolo"},
        }
    )
    given, made = (
        [Tensor(name=f"{name}{n}", shape=shape) for n, shape in enumerate(said[f"{name}puts"])]
        for name in ("in", "out")
    )
    manifest = a_manifest().model_copy(
        update={"inputs": given, "outputs": made, "metadata": metadata}
    )
    item = Item(name="a", path=Path("a"), picture=np.zeros((20, 30, 3), np.uint8), arrays={})
    outputs = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in made}
    with pytest.raises(ModelError) as caught:
        Reader(manifest, ["a", "b"], top=5, score=0.25).meaning(outputs, item)
    assert caught.value.resolution
