"""Each program that `example` writes is run, by the library on the device and plain numpy."""

from __future__ import annotations

import ast
import functools
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import edgewright_device
import numpy as np
import PIL.Image
import pytest
from edgewright_runner import backends
from invoke import Context

from tests.support.device_releases import Arrays, NumpyBackend, release
from tests.support.manifests import a_manifest
from toolchain.examples import python_program
from toolchain.formats.signature import Tensor
from toolchain.formats.state import Feed, State
from toolchain.models import place
from toolchain.models.detection import Detection
from toolchain.models.manifest import ModelManifest
from toolchain.models.metadata import Metadata
from toolchain.models.preprocessing import Preprocessing, Spectrogram
from toolchain.tasks import example

IMAGE = Tensor(name="x", shape=(1, 8, 8, 3))
PICTURES = Preprocessing(fit="stretch")
Run = Callable[..., str]


def network(inputs: list[Tensor], outputs: list[Tensor], **more: object) -> ModelManifest:
    return a_manifest().model_copy(update={"inputs": inputs, "outputs": outputs, **more})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program of a network whose function is given; what it prints."""

    def running(
        manifest: ModelManifest,
        function: Callable[[Arrays], Arrays],
        *arguments: str,
        labels: tuple[str, ...] = (),
    ) -> str:
        told = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
        card = {key: told[key] for key in ("metadata", "state") if key in told}
        folder = release(
            tmp_path / "release", told["inputs"], told["outputs"], labels=list(labels), **card
        )
        monkeypatch.setattr(backends, "open_runtime", lambda *_: NumpyBackend(function))
        load = functools.partial(edgewright_device.load, release=folder)
        monkeypatch.setattr(edgewright_device, "load", load)
        program = tmp_path / "program.py"
        program.write_text(python_program.program(manifest, labels))
        monkeypatch.setattr(sys, "argv", ["program.py", *arguments])
        runpy.run_path(str(program), run_name="__main__")
        return capsys.readouterr().out

    return running


@pytest.fixture
def picture(tmp_path: Path) -> str:
    PIL.Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_a_classifier_names_the_best_classes_of_each_picture(run: Run, picture: str) -> None:
    metadata = Metadata(task="classification", preprocessing=PICTURES)
    manifest = network([IMAGE], [Tensor(name="y", shape=(1, 3))], metadata=metadata)
    said = run(
        manifest,
        lambda given: {"y": given["x"].mean(axis=(1, 2))},
        picture,
        picture,
        labels=("red", "green", 'b"lue'),
    )
    assert said.count("1.0000  red") == 2
    assert said.index("red") < said.index("green")


def test_a_network_that_listens_is_given_a_sound(run: Run) -> None:
    metadata = Metadata(
        task="classification", spectrogram=Spectrogram(window=480, hop=320, bands=16)
    )
    manifest = network(
        [Tensor(name="x", shape=(1, 5, 16))],
        [Tensor(name="y", shape=(1, 2))],
        metadata=metadata,
    )
    text = python_program.program(manifest, ())
    assert "program.py word.wav" in text
    assert "16,000 Hz, 16 a frame" in text
    assert run(manifest, lambda _: {"y": np.zeros((1, 2), np.float32)}) == ""


def test_a_detector_says_where_things_are(run: Run, picture: str) -> None:
    rows = np.zeros((1, 5, 1), np.float32)
    rows[0, :, 0] = (4, 4, 2, 4, 0.9)
    metadata = Metadata(
        task="detection",
        preprocessing=PICTURES,
        detection=Detection(head="yolo"),
        classes=1,
    )
    manifest = network([IMAGE], [Tensor(name="y", shape=(1, 5, 1))], metadata=metadata)
    said = run(manifest, lambda _: {"y": rows}, picture)
    assert "0.900  class 0 from (8, 2) to (12, 8)" in said


def test_a_segmenter_writes_a_mask_of_the_pictures_size(run: Run, picture: str) -> None:
    scores = np.zeros((1, 8, 8, 2), np.float32)
    scores[..., 1] = 1
    metadata = Metadata(task="segmentation", preprocessing=PICTURES, classes=2)
    manifest = network([IMAGE], [Tensor(name="y", shape=(1, 8, 8, 2))], metadata=metadata)
    assert "100.0%  class 1" in run(manifest, lambda _: {"y": scores}, picture)
    assert (np.load(f"{picture}.mask.npy") == np.ones((10, 20))).all()


def test_several_inputs_are_arrays_of_their_types_and_shapes(run: Run) -> None:
    inputs = [
        Tensor(name="ids:0", shape=(1, 6), dtype="int64"),
        Tensor(name="mask", shape=(1, 6), dtype="bool"),
        Tensor(name="rate", shape=()),
    ]
    manifest = network(inputs, [Tensor(name="y", shape=(1, 6))], title='A "title"\\')
    said = run(manifest, lambda given: {"y": given["ids:0"].astype(np.float32)})
    assert "y: float32 (1, 6), 0.0 to 0.0" in said


def test_a_state_goes_from_step_to_step(run: Run) -> None:
    manifest = network(
        [Tensor(name="x", shape=(1, 2)), Tensor(name="h", shape=(1, 1))],
        [Tensor(name="y", shape=(1, 2)), Tensor(name="hn", shape=(1, 1))],
        state=State(feeds=(Feed(input="h", output="hn"),)),
    )
    said = run(manifest, lambda given: {"y": given["x"] + given["h"], "hn": given["h"] + 1})
    assert "3 y: (1, 2), 3.0 to 3.0" in said


def test_names_and_labels_are_no_lines_of_the_program() -> None:
    # a Tensor refuses such a name; what is written here doesn't rely on that
    given, made = (f"{end}\nraise SystemExit('a name ran')\n#" for end in ("h", "hn"))
    manifest = network(
        [Tensor(name="x", shape=(1, 2))],
        [Tensor(name="y", shape=(1, 2))],
        state=State(feeds=(Feed(input=given, output=made),)),
        title='a\n"""\nraise SystemExit',
    )
    labels = ["\\" * odd + "x" for odd in range(70, 90)] + ['\u2028raise SystemExit\n"""']
    for label in labels:
        tree = ast.parse(python_program.program(manifest, [label]))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def test_a_program_that_is_there_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    manifest = a_manifest()
    folder = place.folder_of(manifest.model, manifest.batch)
    folder.mkdir(parents=True)
    manifest.save(folder)
    out = tmp_path / "program.py"
    example.example.body(Context(), model=manifest.model, out=str(out))
    assert "load(" in out.read_text()
    out.write_text("mine")
    with pytest.raises(SystemExit):
        example.example.body(Context(), model=manifest.model, out=str(out))
    assert out.read_text() == "mine"
