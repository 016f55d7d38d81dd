"""TFLite Metadata of files as TensorFlow's own tools write it, built here field by field."""

from __future__ import annotations

import io
import math
import random
import zipfile
from collections.abc import Sequence

import flatbuffers
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from tests.support.damage import damaged
from toolchain.formats.graphs import tflite_metadata
from toolchain.formats.network import Described


def vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def table(builder: flatbuffers.Builder, size: int, **fields: tuple[int, str]) -> int:
    """A table whose fields `fN` are offsets or bytes."""
    builder.StartObject(size)
    for name, (value, kind) in fields.items():
        slot = int(name[1:])
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            builder.PrependUint8Slot(slot, value, 0)
    return int(builder.EndObject())


def metadata(mean: Sequence[float], std: Sequence[float], labels: str) -> bytes:
    """A root of metadata_schema.fbs, with one input and one output."""
    b = flatbuffers.Builder(0)
    options = table(b, 2, f0=(floats(b, mean), "offset"), f1=(floats(b, std), "offset"))
    unit = table(b, 2, f0=(1, "byte"), f1=(options, "offset"))
    given = table(b, 7, f4=(vector(b, [unit]), "offset"))
    file = table(b, 5, f0=(b.CreateString(labels), "offset"), f2=(2, "byte"))
    made = table(b, 7, f6=(vector(b, [file]), "offset"))
    graph = table(b, 10, f2=(vector(b, [given]), "offset"), f3=(vector(b, [made]), "offset"))
    root = table(b, 8, f3=(vector(b, [graph]), "offset"))
    b.Finish(root, b"M001")
    return bytes(b.Output())


def a_model(said: bytes, files: dict[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    """A model with such metadata, and files in an archive behind it."""
    held, entry = schema.BufferT(), schema.MetadataT()
    held.data = said
    entry.name, entry.buffer = b"TFLITE_METADATA", 0
    model = schema.ModelT()
    model.version, model.buffers, model.metadata = 3, [held], [entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    behind = io.BytesIO(bytes(builder.Output()))
    behind.seek(0, io.SEEK_END)
    with zipfile.ZipFile(behind, "a", method) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return behind.getvalue()


MODEL = a_model(metadata([127.5], [128.0], "labels.txt"), {"labels.txt": "cat\ndog\n"})


def test_labels_and_normalisation_are_read() -> None:
    assert tflite_metadata.read(MODEL) == Described(
        labels=("cat", "dog"), mean=(127.5,), std=(128.0,)
    )


@pytest.mark.parametrize(
    ("said", "files", "found"),
    [
        (metadata([1], [2], "gone.txt"), {}, Described(mean=(1,), std=(2,))),
        (metadata([1], [0], "a.txt"), {"a.txt": "cat"}, Described(labels=("cat",))),
        (metadata([], [], "gone.txt"), {}, None),
        (b"no metadata", {}, None),
        (b"", {}, None),
    ],
)
def test_what_is_not_there_is_not_said(
    said: bytes, files: dict[str, str], found: Described | None
) -> None:
    assert tflite_metadata.read(a_model(said, files)) == found


def test_an_endless_list_of_labels_is_left_out() -> None:
    said = metadata([1], [2], "a.txt")
    assert tflite_metadata.read(a_model(said, {"a.txt": "a" * (2 << 20)})) == Described(
        mean=(1,), std=(2,)
    )


def test_damaged_metadata_counts_as_not_said() -> None:
    """Every damage is read to an answer: it ends, and raises nothing."""
    said, chance = metadata([127.5], [128.0], "labels.txt"), random.Random(0)  # noqa: S311 (damage, no secret)
    answers = set()
    for _ in range(400):
        broken = bytearray(said)
        for _ in range(3):
            broken[chance.randrange(8, len(broken))] = chance.randrange(256)
        found = tflite_metadata.read(a_model(bytes(broken), {"labels.txt": "cat\ndog\n"}))
        answers.add(found is None)
    assert answers == {True, False}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_of_labels_ends_no_conversion(method: int) -> None:
    names = "".join(f"class number {number}\n" for number in range(300))
    whole = a_model(metadata([127.5], [128.0], "labels.txt"), {"labels.txt": names}, method)
    chance = random.Random(7)  # noqa: S311 (damage, no secret)
    labelled = 0
    for _ in range(1000):
        found = tflite_metadata.read(damaged(whole, chance))
        labelled += found is not None and len(found.labels) == 300
    assert 0 < labelled < 1000


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_normalisation_by_no_finite_number_is_none(number: float) -> None:
    for mean, std in (([number], [1.0]), ([0.0], [number])):
        assert tflite_metadata.read(a_model(metadata(mean, std, "a.txt"), {})) is None
