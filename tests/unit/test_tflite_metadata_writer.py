"""TFLite Metadata as conversion writes it, read by what reads that of other tools."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from tests.support import tflite_models
from tests.support.manifests import SHA
from toolchain.convert import tflite_metadata_writer
from toolchain.convert.network_metadata import Known
from toolchain.convert.tflite_binding import Bound
from toolchain.core.store import Store
from toolchain.formats.graphs import tflite_metadata
from toolchain.formats.network import Described
from toolchain.formats.signature import Tensor
from toolchain.inspection import inspection
from toolchain.models import user_model
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec
from toolchain.tasks import inspection as shown

IMAGE = Tensor(name="picture", shape=(1, 2, 2, 3))
SCORES = Tensor(name="scores", shape=(1, 3))
LABELLED = 'labels = "classes.txt"\n'
NORMALISED = "[preprocessing]\nmean = [0.5, 0.25, 0]\nstd = [0.5, 1, 2]\n"


def a_classifier() -> bytes:
    """A sum over an image, of which nothing is said."""
    axes = tflite_models.constant(np.array([1, 2], np.int32))
    return tflite_models.model(
        {
            "x": tflite_models.Tensor(shape=(1, 2, 2, 3), kind="float32"),
            "axes": axes,
            "y": tflite_models.Tensor(shape=(1, 3), kind="float32"),
        },
        [
            tflite_models.Operator(
                name="SUM", inputs=["x", "axes"], outputs=["y"], options="ReducerOptions"
            )
        ],
    )


def known(folder: Path, text: str, kind: str = "onnx", content: bytes = b"") -> Known:
    """A user's classifier with such a TOML file beside it."""
    path = folder / f"net.{kind}"
    path.write_bytes(content)
    (folder / "net.toml").write_text(text)
    (folder / "classes.txt").write_text("cat\ndog\nowl\n")
    own = user_model.beside(path)
    spec = ModelSpec(name="net", kind=kind, path=path, own=own, digest=SHA)
    return Known(spec=spec, inputs=(IMAGE,), scores=3)


def described(content: bytes, of: Known, order: Bound | None = None) -> bytes:
    return tflite_metadata_writer.described(content, of, [SCORES], order)


def archive(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def test_labels_and_normalisation_are_written_as_they_are_read(tmp_path: Path) -> None:
    made = described(a_classifier(), known(tmp_path, LABELLED + NORMALISED))
    assert tflite_metadata.read(made) == Described(
        labels=("cat", "dog", "owl"), mean=(127.5, 63.75, 0.0), std=(127.5, 255.0, 510.0)
    )


def test_they_are_shown_when_the_file_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "looked-at.tflite"
    file.write_bytes(described(a_classifier(), known(tmp_path, LABELLED + NORMALISED)))
    spec = resolve_model(model_file=file)
    found = inspection.inspect(spec, 1, cache=Store(tmp_path / "cache"))
    assert found.reading.described == tflite_metadata.read(file.read_bytes())
    shown._show(found)
    said = capsys.readouterr().err
    assert "pixels, as the file says: less 127.5 63.75 0, divided by 127.5 255 510" in said
    assert "classes, as the file says: 3: cat, dog, owl" in said


def test_a_network_of_which_nothing_is_known_keeps_its_bytes(tmp_path: Path) -> None:
    content = a_classifier()
    assert described(content, known(tmp_path, 'title = "Net"\n')) == content


def test_the_same_network_gets_the_same_bytes(tmp_path: Path) -> None:
    first, again = (
        described(a_classifier(), known(tmp_path, LABELLED + NORMALISED)) for _ in range(2)
    )
    assert first == again
    assert [one.date_time[0] for one in archive(first).infolist()] == [1980]


def test_a_described_model_computes_what_it_did(tmp_path: Path) -> None:
    given = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    content = a_classifier()
    made = described(content, known(tmp_path, LABELLED + NORMALISED))
    assert made != content
    for one in (content, made):
        (found,) = tflite_models.reference(one, [given])
        np.testing.assert_array_equal(found, given.sum((1, 2)))


def test_buffers_stay_aligned_as_the_schema_asks(tmp_path: Path) -> None:
    made = described(a_classifier(), known(tmp_path, LABELLED + NORMALISED))
    model = schema.Model.GetRootAsModel(made, 0)
    places = [
        buffer.DataAsNumpy().__array_interface__["data"][0]
        - np.frombuffer(made, np.uint8).__array_interface__["data"][0]
        for buffer in map(model.Buffers, range(model.BuffersLength()))
        if not buffer.DataIsNone()
    ]
    assert len(places) > 1
    assert {place % 16 for place in places} == {0}


def test_names_are_those_of_the_file_s_own_order(tmp_path: Path) -> None:
    order = Bound(inputs=["other"], outputs=["sums"], found={})
    made = described(a_classifier(), known(tmp_path, LABELLED), order)
    assert b"other" in made
    assert b"sums" in made
    assert b"picture" not in made


def test_a_file_that_says_it_itself_is_left_as_it_is(tmp_path: Path) -> None:
    own = described(a_classifier(), known(tmp_path, LABELLED + NORMALISED))
    again = known(tmp_path, LABELLED + "[preprocessing]\n", "tflite", own)
    assert described(own, again) == own


def test_files_behind_a_user_s_model_outlive_the_fixing_of_its_shapes(tmp_path: Path) -> None:
    own = described(a_classifier(), known(tmp_path, LABELLED + NORMALISED))
    fixed = own[: archive(own).infolist()[0].header_offset]
    made = described(fixed, known(tmp_path, "", "tflite", own))
    assert tflite_metadata.read(fixed) != tflite_metadata.read(own)
    assert tflite_metadata.read(made) == tflite_metadata.read(own)


def test_labels_that_name_no_axis_go_along_for_people(tmp_path: Path) -> None:
    """Those of a detector whose boxes and scores are one output."""
    made = described(a_classifier(), known(tmp_path, LABELLED + '[detection]\nhead = "yolo"\n'))
    assert tflite_metadata.read(made) is None
    assert archive(made).read("labels.txt") == b"cat\ndog\nowl\n"
