"""TFLite Metadata: what a .tflite file says of its inputs and outputs beyond their shapes.

Labels, and how an image is normalised, as TensorFlow's metadata_schema.fbs (M001) has them: a
flatbuffer in a buffer of the model, and the files that it names in a zip archive behind the model.
Nothing is written here, and whatever can't be read counts as not said.
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator

import flatbuffers
from flatbuffers.number_types import UOffsetTFlags
from flatbuffers.table import Table
from tensorflow.lite.python import schema_py_generated as schema

from toolchain.formats.network import Described

BUFFER, IDENTIFIER = b"TFLITE_METADATA", b"M001"
MOST_LABELS = 1 << 20  # bytes of a list of labels
MOST_ENTRIES = 1000  # of a vector
# what zipfile raises for damaged archives, and for those that are encrypted or packed otherwise
UNREADABLE = (
    zipfile.BadZipFile, KeyError, OSError, RuntimeError, EOFError, zlib.error, lzma.LZMAError,
)  # fmt: skip
# The fields of each table, by their place in the schema: 4 + 2 * n is where a vtable has field n.
SUBGRAPHS = 3  # of ModelMetadata
INPUTS, OUTPUTS = 2, 3  # of SubGraphMetadata
UNITS, FILES = 4, 6  # of TensorMetadata
OPTIONS_TYPE, OPTIONS = 0, 1  # of ProcessUnit, a union
MEAN, STD = 0, 1  # of NormalizationOptions
NAME, KIND = 0, 2  # of AssociatedFile
NORMALIZATION = 1  # the first of the union's types
AXIS_LABELS, VALUE_LABELS = 2, 3  # kinds of associated files


def read(content: bytes) -> Described | None:
    """What a file says; None where it says nothing that is used here.

    Args:
        content: its bytes, which are a model's.
    """
    try:
        root = _root(content)
        if root is None:
            return None
        graph = next(_tables(root, SUBGRAPHS), None)
        if graph is None:
            return None
        mean, std = _normalization(graph)
        labels = _labels(graph, content)
    except (struct.error, ValueError, TypeError, IndexError, OverflowError):
        return None
    return Described(labels=labels, mean=mean, std=std) if labels or mean else None


def _root(content: bytes) -> Table | None:
    """The metadata's root table; None where the model has none."""
    model = schema.Model.GetRootAsModel(content, 0)
    for number in range(min(model.MetadataLength(), MOST_ENTRIES)):
        entry = model.Metadata(number)
        if entry is not None and entry.Name() == BUFFER:
            held = model.Buffers(entry.Buffer())
            data = b"" if held is None or held.DataIsNone() else held.DataAsNumpy().tobytes()
            if data[4:8] != IDENTIFIER:
                return None
            return Table(data, flatbuffers.encode.Get(UOffsetTFlags.packer_type, data, 0))
    return None


def _place(table: Table, field: int) -> int:
    """Where a field's value is in the buffer; 0 where it was left out."""
    offset = table.Offset(4 + 2 * field)
    return int(offset + table.Pos) if offset else 0


def _tables(table: Table, field: int) -> Iterator[Table]:
    """The tables of a vector."""
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return
    start, count = table.Vector(offset), min(table.VectorLen(offset), MOST_ENTRIES)
    for number in range(count):
        yield Table(table.Bytes, table.Indirect(start + 4 * number))


def _floats(table: Table, field: int) -> tuple[float, ...]:
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return ()
    start, count = table.Vector(offset), min(table.VectorLen(offset), MOST_ENTRIES)
    return struct.unpack_from(f"<{count}f", table.Bytes, start)


def _normalization(graph: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the first input's normalisation; nothing where it has none."""
    tensor = next(_tables(graph, INPUTS), None)
    for unit in _tables(tensor, UNITS) if tensor is not None else ():
        kind, place = _place(unit, OPTIONS_TYPE), _place(unit, OPTIONS)
        if kind and place and unit.Bytes[kind] == NORMALIZATION:
            options = Table(unit.Bytes, unit.Indirect(place))
            mean, std = _floats(options, MEAN), _floats(options, STD)
            if mean and std and 0 not in std and all(map(math.isfinite, mean + std)):
                return mean, std
    return (), ()


def _labels(graph: Table, content: bytes) -> tuple[str, ...]:
    """The names of the first output's classes that there are names for."""
    for tensor in _tables(graph, OUTPUTS):
        for file in _tables(tensor, FILES):
            kind, name = _place(file, KIND), _place(file, NAME)
            if kind and name and file.Bytes[kind] in (AXIS_LABELS, VALUE_LABELS):
                text = _packed(content, file.String(name).decode("utf-8", "replace"))
                if text:
                    return tuple(line.strip() for line in text.strip().splitlines())
    return ()


def _packed(content: bytes, name: str) -> str:
    """A file of the archive behind the model; empty where there is none, or an endless one."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(name) as packed:
            text = packed.read(MOST_LABELS + 1)
    except UNREADABLE:
        return ""
    return text.decode("utf-8", "replace") if len(text) <= MOST_LABELS else ""
