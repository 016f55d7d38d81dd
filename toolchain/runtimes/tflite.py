"""TensorFlow Lite: a .tflite file of each variant, the same for every target.

A file says which version of each operator it needs, and the interpreter on the device may be older
than the converter that wrote it: what it lacks is read here, before anything is sent.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core.errors import ModelError
from toolchain.runtimes import Artifact, Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target


LIST = Path(__file__).with_name("tflite_operators.txt")
UNREADABLE = (struct.error, UnicodeDecodeError)
CUSTOM, CUSTOM_NUMBER = "custom", 32  # in our list, and in the files
# Of a file's own: every entry may point to the same long name, and each is read with the user's
# rights. A megabyte of these took 11 s.
MOST_OPERATORS, LONGEST_NAME = 1 << 16, 1 << 10


class TensorFlowLite(Runtime):
    """What conversion leaves as `tflite` in a model's manifest."""

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """A file for each variant."""
        del target  # one file serves all of them
        return [
            Artifact(variant=name, file=file, inputs=file.inputs, outputs=file.outputs)
            for name, file in sorted(manifest.tflite.items())
        ]

    def lacks(self, artifact: Path) -> list[str]:
        """The operators whose versions the interpreter's wheel has not registered."""
        try:
            used = sorted(set(_operators(artifact.read_bytes())))
        except UNREADABLE as error:
            raise ModelError(f"{artifact.name}: it can't be read", detail=str(error)) from error
        found = []
        for key, version in used:
            name, newest = _known().get(key, (f"operator {key}", 0))
            if version > newest:
                has = f"it knows {newest} and older" if newest else "it has none"
                found.append(f"{name} version {version}; {has}")
        return found

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The interpreter's, built here with XNNPACK."""
        del target, manifests
        return Wheels(built=("tflite_runtime",))


@functools.cache
def _known() -> dict[str, tuple[str, int]]:
    """The name and the newest version of each operator, by its number or its custom name."""
    lines = LIST.read_text().splitlines()
    fields = (line.split() for line in lines if not line.startswith("#"))
    return {
        f"{CUSTOM} {name}" if number == CUSTOM else number: (name, int(version))
        for number, name, version in fields
    }


def _operators(content: bytes) -> Iterator[tuple[str, int]]:
    """The operators that a file names, by number or custom name, with their versions.

    By the flatbuffer's layout: a table begins with where its own list of fields lies before it; a
    field is looked up there, and 0 says that it has its default.
    """
    model = _at(content, 0, "<I")
    codes = _field(content, model, 1)
    if not codes:
        return
    codes += _at(content, codes, "<I")
    count = _at(content, codes, "<I")
    if count > MOST_OPERATORS:
        raise struct.error(f"it says that it has {count} kinds of operators")
    for index in range(count):
        entry = codes + 4 + 4 * index
        code = entry + _at(content, entry, "<I")
        short, custom, version, builtin = (_field(content, code, field) for field in range(4))
        number = max(
            _at(content, short, "<b") if short else 0, _at(content, builtin, "<i") if builtin else 0
        )
        name = str(number)
        if number == CUSTOM_NUMBER and custom:
            custom += _at(content, custom, "<I")
            length = _at(content, custom, "<I")
            if length > LONGEST_NAME:
                raise struct.error(f"an operator has a name of {length} bytes")
            name = f"{CUSTOM} {content[custom + 4 : custom + 4 + length].decode()}"
        yield name, _at(content, version, "<i") if version else 1


def _field(content: bytes, table: int, number: int) -> int:
    """Where a field of a table lies; 0 where it has its default."""
    listed = table - _at(content, table, "<i")
    offset = 4 + 2 * number
    if offset >= _at(content, listed, "<H"):
        return 0
    lies = _at(content, listed + offset, "<H")
    return table + lies if lies else 0


def _at(content: bytes, offset: int, form: str) -> int:
    """The number at an offset; raises struct.error where the file has none."""
    if offset < 0:
        raise struct.error("an offset leads before the file's beginning")
    (found,) = struct.unpack_from(form, content, offset)
    return int(found)


RUNTIME = TensorFlowLite(name="tflite", label="TFLite", title="TensorFlow Lite")
