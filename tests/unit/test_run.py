"""Running an input on a device: what is read, what is asked, what is made of the answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from deploy.run import deployed_model, device_run, drawing, inputs, written
from deploy.run.deployed_model import Choice, DeployedModel
from deploy.run.inputs import Item
from deploy.run.meaning import Box, Meaning, Reader
from tests.support import measured
from tests.support.device_releases import release, tensor
from tests.support.manifests import SHA, a_manifest
from toolchain.bundle.assemble import Executable
from toolchain.core import paths
from toolchain.core.errors import BenchError, CommandError, UsageError
from toolchain.formats.signature import Quantization, Tensor
from toolchain.models.detection import Detection
from toolchain.models.manifest import Tflite
from toolchain.models.metadata import Metadata
from toolchain.models.preprocessing import Preprocessing
from toolchain.results import measurement

FAKES = Path(__file__).with_name("fake_runtimes")
X = Tensor(name="x", shape=(1, 4))
IDS = [Tensor(name="ids", shape=(1, 6), dtype="int64"), Tensor(name="mask", shape=(1, 6))]


def executable(runtime: str, variant: str = "fp32", opt_level: int | None = None) -> Executable:
    return Executable(
        runtime=runtime,
        variant=variant,
        opt_level=opt_level,
        file=f"models/net/b1/{variant}.{runtime}",
        inputs=["x"],
        outputs=["y"],
    )


def there(*executables: Executable, **more: Any) -> DeployedModel:
    manifest = a_manifest().model_copy(
        update={"inputs": [X], "outputs": [Tensor(name="y", shape=(1, 4))], **more}
    )
    return DeployedModel(release="c" * 64, manifest=manifest, executables=executables, labels=())


def chosen(model: DeployedModel, **said: Any) -> Choice:
    asked = {"runtime": "", "variant": "", "opt_level": None, "threads": None, "measured": None}
    return deployed_model.choose(model, **{**asked, **said})


class Here:
    """A connection to this machine, whose home is a folder."""

    def __init__(self, home: Path, python: str = "") -> None:
        self.home, self.python = home, python

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Run a command there; the release's Python is this one, with stand-ins for runtimes."""
        command = [sys.executable if arg.endswith("venv/bin/python") else arg for arg in args]
        ended = subprocess.run(
            [arg for arg in command if arg != "-E"],
            cwd=self.home,
            input=input_text,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(FAKES)},
            check=False,
        )
        if ended.returncode != 0:
            raise CommandError(list(args), ended.returncode, ended.stderr)
        for line in ended.stdout.splitlines() if on_line else ():
            on_line(line)  # type: ignore[misc]  # it is there: the line above says so
        return ended.stdout


@pytest.fixture
def device(tmp_path: Path) -> Here:
    """A device whose release has a network that gives its input twice as large."""
    root = tmp_path / "edgewright"
    folder = release(root / "releases/cc", [tensor("x", 1, 4)], [tensor("y", 1, 4)])
    (folder / "models/net/b1/0.bin").write_text(json.dumps({"scale": 2}))
    shutil.copytree(paths.ROOT / "deploy" / "runner", folder / "runner")
    (root / "current").symlink_to("releases/cc")
    return Here(tmp_path)


def an_item(**arrays: Any) -> Item:
    return Item(name="a.npz", path=Path("a.npz"), arrays=arrays)


def asked(device: Here, *items: Item, **more: Any) -> list[device_run.Ran]:
    model = there(executable("tflite"), **more)
    return device_run.run(device, "~/edgewright", model, chosen(model), items, inputs=True)


def test_an_item_goes_to_the_device_and_its_outputs_come_back(device: Here) -> None:
    items = [an_item(x=np.arange(4, dtype=np.float64)), an_item(x=np.ones((1, 4), np.float32))]
    first, second = asked(device, *items)
    assert first.outputs["y"].tolist() == [[0, 2, 4, 6]]
    assert first.inputs["x"].dtype == np.float32
    assert second.outputs["y"].tolist() == [[2, 2, 2, 2]]
    assert 0 < first.seconds < 10


def test_what_the_network_does_not_take_is_the_users_error(device: Here) -> None:
    with pytest.raises(UsageError, match=r"net: an array of shape \(3,\) was given") as caught:
        asked(device, an_item(x=np.zeros(3)))
    assert caught.value.resolution == "x is float32 (1, 4)"


def test_a_device_on_which_others_measure_is_let_be(device: Here) -> None:
    import fcntl

    with (device.home / "edgewright/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BenchError, match="a deployment or a measurement is under way"):
            asked(device, an_item(x=np.zeros(4)))


def test_a_network_that_crashes_the_runner_is_said(device: Here) -> None:
    says = json.dumps({"then": "segv"})
    (device.home / "edgewright/current/models/net/b1/0.bin").write_text(says)
    with pytest.raises(BenchError, match="could not be run on the device"):
        asked(device, an_item(x=np.zeros(4)))


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "data", "of": "outputs", "name": "z", "data": ""}',
        '{"event": "data", "of": "outputs", "name": "y", "data": "AAAAAAAAAAAAAAAAAAAAAAAAAA=="}',
        '{"event": "data", "of": "outputs", "name": "y", "data": "?"}',
        '{"event": "ran", "item": 0, "seconds": 0.1}',
        '{"event": "ran", "item": 1, "seconds": 0.1}',
        '{"event": "failed"}',
        '{"event": ' + "[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_is_refused(line: str) -> None:
    class Rogue(Here):
        def run(self, *_: Any, on_line: Any = None, **__: Any) -> str:
            on_line("Welcome")
            on_line(line)
            return ""

    with pytest.raises(BenchError, match="answers what can't be"):
        asked(Rogue(Path()), an_item(x=np.zeros(4)))


def test_nothing_deployed_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing is deployed on board") as caught:
        deployed_model.deployed(Here(tmp_path), "board", "~/edgewright", "", 1)
    assert caught.value.resolution == "run: invoke deploy --host board"


def test_a_release_without_the_model_says_what_it_has(device: Here) -> None:
    with pytest.raises(UsageError, match="no model other") as caught:
        deployed_model.deployed(device, "board", "~/edgewright", "other", 1)
    assert caught.value.detail == "board has net"
    with pytest.raises(UsageError, match="at batch 1, not 2"):
        deployed_model.deployed(device, "board", "~/edgewright", "", 2)


def saved(folder: Path, day: int, host: str = "board", **times: int) -> None:
    """A result with a latency in milliseconds for each runtime."""
    artifact = {"file": "fp32", "sha256": SHA, "size": 1}
    made = measured.result(
        *(
            measured.measurement(
                model="net",
                runtime=name,
                threads=2,
                samples_ns=[ms * 1_000_000 + n for n in range(20)],
                artifact=artifact,
            )
            for name, ms in times.items()
        ),
        host=host,
    )
    started = made.started.replace(year=2026, month=1, day=day)
    measurement.save(made.model_copy(update={"started": started}), folder)


def test_what_was_measured_last_says_which_runtime_is_taken(tmp_path: Path) -> None:
    file = Tflite(file="fp32.tflite", sha256=SHA, size=1)
    model = there(executable("tflite"), executable("tvm"), tflite={"fp32": file})
    assert deployed_model.fastest(tmp_path, "board", model, "") is None
    assert "nothing was measured" in chosen(model).why
    saved(tmp_path, 1, tflite=5, tvm=9)
    saved(tmp_path, 2, tflite=5, tvm=3)
    saved(tmp_path, 3, host="board-2", tflite=1, tvm=3)
    fastest = deployed_model.fastest(tmp_path, "board", model, "")
    assert fastest is not None
    found = chosen(model, measured=fastest)
    assert (found.executable.runtime, found.threads) == ("tvm", 2)
    assert chosen(model, measured=fastest, runtime="tflite").executable.runtime == "tflite"
    assert deployed_model.fastest(tmp_path, "board", model, "int8") is None


def test_a_form_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(UsageError, match="no such form of net") as caught:
        chosen(there(executable("tvm", opt_level=3)), variant="int8")
    assert caught.value.detail == "it has tvm fp32 O3"


def test_samples_are_as_many_inferences_and_begin_one_sequence(tmp_path: Path) -> None:
    arrays = {"in:x": np.zeros((3, 1, 4), np.float32), "in:h": np.zeros((3, 1, 2), np.float32)}
    np.savez(tmp_path / "samples.npz", **arrays)  # type: ignore[arg-type]  # numpy's stubs
    state = Tensor(name="h", shape=(1, 2))
    found = inputs.read(tmp_path / "samples.npz", [X, state], ["h"])
    assert [item.begins for item in found] == [True, False, False]
    assert [sorted(item.arrays) for item in found] == [["h", "x"], ["x"], ["x"]]
    np.save(tmp_path / "x.npy", np.zeros(4))
    assert len(inputs.read(tmp_path / "x.npy", [X], [])) == 1


def test_a_folder_gives_each_of_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg"):
        PIL.Image.new("RGB", (5, 3)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    found = inputs.read(tmp_path, [Tensor(name="x", shape=(1, 8, 8, 3))], [])
    assert [item.name for item in found] == ["a.jpg", "b.png"]
    assert found[0].picture is not None
    assert found[0].picture.shape == (3, 5, 3)
    grey = inputs.read(tmp_path, [Tensor(name="x", shape=(1, 8, 8, 1))], [])
    assert grey[0].picture is not None
    assert grey[0].picture.shape == (3, 5)


def unusable(tmp_path: Path, name: str) -> Path:
    """A file that can't be run."""
    path = tmp_path / name
    if name == "rate.wav":
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 44100, 0, "NONE", ""))
    elif name == "other.npz":
        np.savez(path, y=np.zeros(4), z=np.zeros(4))
    elif name == "shape.npz":
        np.savez(path, x=np.zeros((2, 5)))
    elif name == "type.npz":
        np.savez(path, x=np.zeros(4, np.complex64))
    elif name == "claims.npy":
        np.save(path, np.zeros(0))
        path.write_bytes(path.read_bytes().replace(b"(0,), }" + b" " * 12, b"(1000000000000,), }"))
    elif name == "grows.npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", bytes(inputs.MOST_BYTES + 1))
    elif name == "pickled.npy":
        np.save(path, np.array([{}]), allow_pickle=True)
    elif name == "empty":
        path.mkdir()
    elif name != "absent.png":
        path.write_bytes(b"nothing of the kind")
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.png", "no such file"),
        ("cat.jpg", "is no picture that can be read"),
        ("cat.txt", "is nothing that can be run"),
        ("sound.wav", "is no sound that can be read"),
        ("rate.wav", "44100 samples a second"),
        ("bad.npz", "holds no arrays that can be read"),
        ("pickled.npy", "holds no arrays that can be read"),
        ("claims.npy", "holds no arrays that can be read"),
        ("grows.npz", "holds more than 256 MiB"),
        ("other.npz", "has none of the model's inputs"),
        ("shape.npz", r"x has shape \(2, 5\)"),
        ("type.npz", "x is complex64"),
        ("empty", "holds nothing to run"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_give(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        inputs.read(unusable(tmp_path, name), [X], [])
    assert "\n" not in caught.value.brief
    assert caught.value.resolution


def test_the_only_array_of_a_file_is_the_only_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.full(4, 2.0))
    (item,) = inputs.read(tmp_path / "a.npz", [X], [])
    assert item.arrays["x"].tolist() == [2, 2, 2, 2]
    with pytest.raises(UsageError) as caught:
        inputs.read(unusable(tmp_path, "other.npz"), [X], [])
    assert caught.value.detail.startswith("it has y, z\n")


def test_one_picture_for_several_inputs_is_refused_with_their_names(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (5, 3)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"takes 2 inputs, and a\.png is one") as caught:
        inputs.read(tmp_path / "a.png", IDS, [])
    assert "input ids: int64 (1, 6)" in caught.value.detail
    np.savez(tmp_path / "a.npz", ids=np.zeros(6, np.int64))
    with pytest.raises(UsageError, match="no array mask"):
        inputs.read(tmp_path / "a.npz", IDS, [])


def a_picture(width: int, height: int) -> Item:
    pixels = np.zeros((height, width, 3), np.uint8)
    return Item(name="a.png", path=Path("a.png"), picture=pixels, arrays={})


def reader(metadata: Metadata, outputs: list[Tensor], labels: Sequence[str] = ()) -> Reader:
    image = Tensor(name="x", shape=(1, 3, 40, 40))
    manifest = there(metadata=metadata).manifest
    manifest = manifest.model_copy(update={"inputs": [image], "outputs": outputs})
    return Reader(manifest, labels, top=2, score=0.25)


def test_boxes_are_told_in_pixels_of_the_picture_and_drawn(tmp_path: Path) -> None:
    rows = np.zeros((1, 6, 1), np.float32)
    rows[0, :, 0] = (20, 20, 10, 10, 0.1, 0.9)
    metadata = Metadata(
        task="detection",
        preprocessing=Preprocessing(fit="stretch"),
        detection=Detection(head="yolo", score=0.2),
    )
    told = reader(metadata, [Tensor(name="y", shape=(1, 6, 1))], ["cat", "dog"])
    item = a_picture(400, 800)
    meaning = told.meaning({"y": rows}, item)
    assert meaning.boxes is not None
    (box,) = meaning.boxes
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("dog", 150, 300, 250, 500)
    assert item.picture is not None
    image = drawing.boxes(item.picture, meaning.boxes)
    assert image.getpixel((150, 400)) != (0, 0, 0)
    assert image.getpixel((200, 400)) == (0, 0, 0)
    ran = [device_run.Ran(item=item, seconds=0.1, outputs={"y": rows}, inputs={})]
    (path,) = written.files(there().manifest, ran, [meaning], tmp_path / "found.png")
    with PIL.Image.open(path) as opened:
        assert opened.size == (400, 800)


def test_rounded_scores_are_told_as_the_numbers_that_they_stand_for() -> None:
    scale = Quantization(scale=0.5, zero=-2)
    output = Tensor(name="y", shape=(1, 3), dtype="int8", quantization=scale)
    told = reader(Metadata(task="classification"), [output], ["a", "b", "c"])
    meaning = told.meaning({"y": np.array([[0, 4, 2]], np.int8)}, an_item())
    assert [(s.label, s.score) for s in meaning.scores] == [("b", 3.0), ("c", 2.0)]


@pytest.mark.parametrize(
    "output", [Tensor(name="y", shape=(1, 3), dtype=t) for t in ("uint8", "bool", "int64")]
)
def test_the_best_class_is_that_of_the_greatest_score_of_any_type(output: Tensor) -> None:
    told = reader(Metadata(task="classification"), [output])
    meaning = told.meaning({"y": np.array([[0, 1, 0]], output.dtype)}, an_item())
    assert [(s.number, s.score) for s in meaning.scores] == [(1, 1.0), (0, 0.0)]


def test_a_box_is_shown_beside_the_one_of_the_same_place_here() -> None:
    def box(left: float, score: float) -> Box:
        return Box(label="cat", number=0, score=score, left=left, top=0, right=left + 10, bottom=10)

    ran = device_run.Ran(item=a_picture(9, 9), seconds=0.1, outputs={}, inputs={})
    device, here = Meaning(boxes=[box(0, 0.9), box(50, 0.8)]), Meaning(boxes=[box(1, 0.7)])
    columns, rows = written.table(there().manifest, ran, device, {}, here)
    assert columns[-1] == "here"
    assert [row[-1] for row in rows] == ["0.700", "-"]


def test_arrays_of_several_inputs_are_stacked_in_one_file(tmp_path: Path) -> None:
    one = device_run.Ran(item=an_item(), seconds=0.1, outputs={"y": np.ones((1, 4))}, inputs={})
    (path,) = written.files(there().manifest, [one, one], [Meaning()] * 2, tmp_path / "a.npz")
    assert np.load(path)["y"].shape == (2, 1, 4)
    with pytest.raises(UsageError, match="no file for arrays"):
        written.files(there().manifest, [one], [Meaning()], tmp_path / "a.png")
    with pytest.raises(UsageError, match="no file that is written here"):
        written.refuse_unknown("a.txt")
