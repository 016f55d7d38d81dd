"""TFLite Metadata into a .tflite file: how its image is normalised, and the names of its classes.

As TensorFlow's metadata_schema.fbs (M001) has it: a flatbuffer in a buffer of the model, and labels
in a zip archive behind the model. The Task library, MediaPipe and code generators take them from
there; `formats.graphs.tflite_metadata` reads them. No runtime looks at it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from toolchain.convert import network_metadata
from toolchain.convert.network_metadata import LABELS_FILE, Known
from toolchain.convert.tflite_binding import Bound
from toolchain.formats import tflite_file
from toolchain.formats.graphs.tflite_metadata import (
    AXIS_LABELS,
    BUFFER,
    FILES,
    IDENTIFIER,
    INPUTS,
    KIND,
    MEAN,
    NAME,
    NORMALIZATION,
    OPTIONS,
    OPTIONS_TYPE,
    OUTPUTS,
    STD,
    SUBGRAPHS,
    UNITS,
    UNREADABLE,
)
from toolchain.formats.signature import Tensor
from toolchain.models.detection import Detection
from toolchain.models.metadata import Metadata
from toolchain.models.preprocessing import Preprocessing, Spectrogram

PARSER = "1.0.0"  # the first version of the schema has all that is written here
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of zip's time
LARGEST_ARCHIVE = 1 << 24  # bytes of files that are taken over from a user's
ALIGNMENT = 16  # of a model's buffers, as schema.fbs asks
# Fields by their place in the schema, beside those that are read.
TITLE, PARSER_VERSION, MODEL_FILES = 0, 7, 6  # of ModelMetadata
TENSOR_NAME, TENSOR_DESCRIPTION, CONTENT = 0, 1, 3  # of TensorMetadata
FILE_DESCRIPTION = 1  # of AssociatedFile
DESCRIPTIONS = 1  # a kind of associated file, for people
CONTENT_TYPE, CONTENT_PROPERTIES = 0, 1  # of Content, a union
FEATURE, IMAGE, BOXES = 1, 2, 3  # its types
COLOUR_SPACE = 0  # of ImageProperties
COLOURS = {"RGB": 1, "L": 2}  # no other order of channels has a name
BOX_INDEX, BOX_TYPE = 0, 1  # of BoundingBoxProperties; its numbers are shares when left out
BOUNDARIES = 1  # left, top, right, bottom, in the order that the index says
YMIN_XMIN_YMAX_XMAX = (1, 0, 3, 2)
THRESHOLD = 0  # of ScoreThresholdingOptions
THRESHOLDING = 3  # the third of the process units' types

Fields = Mapping[int, Any]


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no types
    """A builder that aligns vectors of bytes as a model's buffers must be."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803 (flatbuffers' names)
        return super().StartVector(
            elemSize, numElems, ALIGNMENT if elemSize == 1 else alignment
        )  # fmt: skip

    def table(self, fields: Fields) -> int:
        """A table of places, and of bytes and floats where a field's value says its kind."""
        self.StartObject(max(fields, default=0) + 1)
        for field, value in fields.items():
            if isinstance(value, _Byte):
                self.PrependUint8Slot(field, int(value), 0)
            elif isinstance(value, float):
                self.PrependFloat32Slot(field, value, 0.0)
            else:
                self.PrependUOffsetTRelativeSlot(field, value, 0)
        return int(self.EndObject())

    def numbers(self, values: Sequence[float] | Sequence[int]) -> int:
        """A vector of float32, or of uint32 where they are integers."""
        prepend = self.PrependUint32 if isinstance(values[0], int) else self.PrependFloat32
        self.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return int(self.EndVector())

    def places(self, tables: Sequence[int]) -> int:
        """A vector of tables."""
        self.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.PrependUOffsetTRelative(table)
        return int(self.EndVector())


class _Byte(int):
    """A field of one byte: an enumeration's, or a union's type."""


def described(
    content: bytes, known: Known, outputs: Sequence[Tensor], order: Bound | None
) -> bytes:
    """A model with what is known of its inputs and outputs; one that says it itself as it is.

    Args:
        content: the model's bytes.
        known: the network.
        outputs: the network's.
        order: of the file's inputs and outputs; None where it is the network's own.

    Raises:
        ModelError: what is known of it contradicts its inputs, or its labels can't be read.
    """
    if known.spec.kind == tflite_file.FORMAT.name and known.spec.path is not None:
        content = _taken_over(content, known.spec.path.read_bytes())
    said = network_metadata.of_model(known) or Metadata()
    labels = network_metadata.label_names(known)
    if not (said.preprocessing or said.spectrogram or said.detection or labels):
        return content
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    entries = model.metadata or []
    # buffers behind the model, as those beyond 2 GB have, are at places that would change
    if any(one.name == BUFFER for one in entries) or any(one.offset for one in model.buffers):
        return content
    names = (
        (order and order.inputs) or [tensor.name for tensor in known.inputs],
        (order and order.outputs) or [tensor.name for tensor in outputs],
    )
    title = network_metadata.title(known.spec)
    metadata, files = _metadata(model.subgraphs[0], title, said, labels, names)
    entry, held = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, held.data = BUFFER, len(model.buffers), metadata
    model.buffers.append(held)
    model.metadata = [*entries, entry]
    builder = _Builder(len(content) + len(metadata))
    builder.Finish(model.Pack(builder), b"TFL3")
    return _with_files(bytes(builder.Output()), files)


def _taken_over(content: bytes, original: bytes) -> bytes:
    """A model with the files behind the one that it was made of, where it has lost them."""
    if content == original:
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(original)) as archive:
            if sum(one.file_size for one in archive.infolist()) > LARGEST_ARCHIVE:
                return content
            files = {one.filename: archive.read(one) for one in archive.infolist()}
    except UNREADABLE:
        return content
    return _with_files(content, files)


def _with_files(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """A model with an archive behind it, the same for the same files."""
    if not files:
        return content
    behind = io.BytesIO(content)
    with zipfile.ZipFile(behind, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, BEGINNING), text)
    return behind.getvalue()


def _metadata(
    graph: Any,
    title: str,
    said: Metadata,
    labels: Sequence[str],
    names: tuple[Sequence[str], Sequence[str]],
) -> tuple[bytes, dict[str, bytes]]:
    """The metadata's flatbuffer, and the files that it names."""
    builder = _Builder(0)
    sources = [graph.tensors[index] for index in graph.inputs]
    sinks = [graph.tensors[index] for index in graph.outputs]
    image = next((one for one in sources if _is_image(one)), None) if said.preprocessing else None
    inputs = [
        _input(builder, name, tensor, said, is_image=tensor is image)
        for name, tensor in zip(names[0], sources, strict=True)
    ]
    rows, scores = _axis(sinks, labels, said.detection)
    outputs = [
        _output(builder, name, tensor, said.detection, is_scores=tensor is scores)
        for name, tensor in zip(names[1], sinks, strict=True)
    ]
    subgraph = builder.table({INPUTS: builder.places(inputs), OUTPUTS: builder.places(outputs)})
    fields = {
        TITLE: builder.CreateString(title),
        SUBGRAPHS: builder.places([subgraph]),
        PARSER_VERSION: builder.CreateString(PARSER),
    }
    if rows and scores is None:
        fields[MODEL_FILES] = builder.places([_file(builder, DESCRIPTIONS)])
    builder.Finish(builder.table(fields), IDENTIFIER)
    text = "".join(f"{row}\n" for row in rows).encode()
    return bytes(builder.Output()), {LABELS_FILE: text} if rows else {}


def _axis(
    sinks: Sequence[Any], labels: Sequence[str], detection: Detection | None
) -> tuple[tuple[str, ...], Any]:
    """The lines of the file of labels, and the output whose last axis they name; None if none."""
    rows = tuple(labels)
    if not rows or (detection is not None and detection.head == "yolo"):
        return rows, None
    if detection is not None and detection.background:
        rows = ("background", *rows)
    fitting = (one for one in sinks if len(one.shape) > 1 and one.shape[-1] == len(rows))
    return rows, next(fitting, None)


def _is_image(tensor: Any) -> bool:
    """Whether a tensor is (batch, height, width, channels), or has its channels before."""
    return len(tensor.shape) == 4 and bool({1, 3} & {int(tensor.shape[1]), int(tensor.shape[3])})


def _input(builder: _Builder, name: str, tensor: Any, said: Metadata, *, is_image: bool) -> int:
    fields: dict[int, Any] = {TENSOR_NAME: builder.CreateString(name)}
    if is_image and said.preprocessing is not None:
        how = said.preprocessing
        mean, std = _normalization(how)
        options = builder.table({MEAN: builder.numbers(mean), STD: builder.numbers(std)})
        fields[TENSOR_DESCRIPTION] = builder.CreateString(_of_image(how))
        fields[UNITS] = builder.places([_unit(builder, NORMALIZATION, options)])
        if how.channels in COLOURS and tensor.shape[3] in (1, 3):
            space = builder.table({COLOUR_SPACE: _Byte(COLOURS[how.channels])})
            fields[CONTENT] = _content(builder, IMAGE, space)
    elif said.spectrogram is not None:
        fields[TENSOR_DESCRIPTION] = builder.CreateString(_of_sound(said.spectrogram))
        fields[CONTENT] = _content(builder, FEATURE, builder.table({}))
    return builder.table(fields)


def _output(
    builder: _Builder, name: str, tensor: Any, detection: Detection | None, *, is_scores: bool
) -> int:
    fields: dict[int, Any] = {TENSOR_NAME: builder.CreateString(name)}
    if detection is not None and detection.head == "yolo":
        fields[TENSOR_DESCRIPTION] = builder.CreateString(
            "boxes: middle x, middle y, width and height in pixels of the input, "
            + ("a score of the box, " if detection.objectness else "")
            + "a score of each class"
        )
    elif detection is not None and tensor.shape[-1] == 4 and not is_scores:
        index = builder.numbers(YMIN_XMIN_YMAX_XMAX)
        box = builder.table({BOX_INDEX: index, BOX_TYPE: _Byte(BOUNDARIES)})
        fields[CONTENT] = _content(builder, BOXES, box)
    elif detection is not None:
        options = builder.table({THRESHOLD: detection.score})
        fields[UNITS] = builder.places([_unit(builder, THRESHOLDING, options)])
    if is_scores:
        fields.setdefault(CONTENT, _content(builder, FEATURE, builder.table({})))
        fields[FILES] = builder.places([_file(builder, AXIS_LABELS)])
    return builder.table(fields)


def _content(builder: _Builder, kind: int, properties: int) -> int:
    return builder.table({CONTENT_TYPE: _Byte(kind), CONTENT_PROPERTIES: properties})


def _unit(builder: _Builder, kind: int, options: int) -> int:
    return builder.table({OPTIONS_TYPE: _Byte(kind), OPTIONS: options})


def _file(builder: _Builder, kind: int) -> int:
    said = "the names of the classes, one a line"
    fields = {NAME: builder.CreateString(LABELS_FILE), FILE_DESCRIPTION: builder.CreateString(said)}
    return builder.table({**fields, KIND: _Byte(kind)})


def _normalization(how: Preprocessing) -> tuple[list[float], list[float]]:
    """Mean and std by which (pixel - mean) / std is (pixel * scale - mean) / std of ours."""
    scale = how.scale or 1.0  # a scale of 0 has no inverse, and no picture either
    return [mean / scale for mean in how.mean], [std / scale for std in how.std]


def _of_image(how: Preprocessing) -> str:
    """In words what the schema has no field for."""
    fitted = {
        "crop": f"the middle {how.crop:.3f} of its shorter side",
        "letterbox": f"all of it, filled up with {how.pad}",
        "stretch": "all of it",
    }[how.fit]
    return f"{how.channels} image of 0 to 255, {fitted}, resized by {how.resize}"


def _of_sound(how: Spectrogram) -> str:
    kept = f", {how.coefficients} cosine coefficients" if how.coefficients else ""
    return (
        f"logarithm of {how.bands} mel bands from {how.lowest:g} to {how.highest:g} Hz{kept}: "
        f"frames of {how.window} samples, {how.hop} apart, of sound at 16000 Hz"
    )
