"""A .tflite file that needs newer operators than the device's interpreter has is refused here."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.manifests import a_manifest
from toolchain import runtimes, targets
from toolchain.bundle import assemble
from toolchain.core.errors import BuildError, ModelError
from toolchain.models.manifest import File
from toolchain.runtimes import runtime, tflite
from toolchain.wheels import build

TFLITE = runtime("tflite")


def a_file(*codes: tuple[int, str, int]) -> bytes:
    """A file that names operators: number, custom name, version."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = []
    for number, custom, version in codes:
        code: Any = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.customCode, code.version = custom or None, version
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


FULLY_CONNECTED = (9, "", 12)
CASES = {
    "as it is": ([(9, "", 10), (3, "", 1), (3, "", 7)], []),
    "newer": ([FULLY_CONNECTED, (0, "", 2)], ["FULLY_CONNECTED version 12; it knows 10 and older"]),
    "none of it": ([(206, "", 1)], ["STABLEHLO_COMPOSITE version 1; it has none"]),
    "of the future": ([(900, "", 1)], ["operator 900 version 1; it has none"]),
    "beyond a byte": ([(150, "", 1)], []),
    "custom, known": ([(32, "TFLite_Detection_PostProcess", 1)], []),
    "custom": ([(32, "FlexErf", 1)], ["operator custom FlexErf version 1; it has none"]),
    "custom that is named as a number": (
        [(32, "9", 1)],
        ["operator custom 9 version 1; it has none"],
    ),
    "none": ([], []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_interpreter_lacks_is_said_by_operator_and_version(
    tmp_path: Path, case: str
) -> None:
    codes, expected = CASES[case]
    (tmp_path / "net.tflite").write_bytes(a_file(*codes))
    assert TFLITE.lacks(tmp_path / "net.tflite") == expected


def test_the_list_is_that_of_the_wheel_that_is_built() -> None:
    made, _ = build.recipe("tflite_runtime")
    assert tflite.LIST.read_text().splitlines()[0].endswith(f"that TensorFlow {made.version}")


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"TFL3", a_file(FULLY_CONNECTED)[:40]):
        (tmp_path / "net.tflite").write_bytes(content)
        with pytest.raises(ModelError, match="can't be read"):
            TFLITE.lacks(tmp_path / "net.tflite")


def test_a_bundle_is_not_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.tflite").write_bytes(a_file(FULLY_CONNECTED))
    file = File(file="net.tflite", sha256="0" * 64, size=1)
    manifest = a_manifest()
    one = runtimes.Artifact(variant="dynamic", file=file)
    monkeypatch.setattr(runtimes, "executed", lambda _m, _t: [(TFLITE, one)])
    with pytest.raises(BuildError) as caught:
        assemble._refuse_newer(manifest, tmp_path, targets.target("rv64gc"))
    assert "net.tflite" in caught.value.brief
    assert "FULLY_CONNECTED version 12" in caught.value.detail
    (tmp_path / "net.tflite").write_bytes(a_file((9, "", 9)))
    assemble._refuse_newer(manifest, tmp_path, targets.target("rv64gc"))


WHOLE = a_file(FULLY_CONNECTED, (32, "FlexErf", 3), (150, "", 1))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for offset, value in changes:
        content[offset] = value
    for cut in (len(content), len(content) // 2, changes[0][0] if changes else 0):
        with suppress(*tflite.UNREADABLE):
            list(tflite._operators(bytes(content[:cut])))


def test_many_operators_of_one_long_name_take_no_time(tmp_path: Path) -> None:
    """A file in which each kind of operator points to the same name, of a megabyte."""
    kinds, name = 20_000, 1 << 20
    codes, listed = 64, 64 + 4 + 4 * kinds
    content = bytearray(listed + 28 + name)
    struct.pack_into("<I", content, 0, 16)
    struct.pack_into("<iI", content, 16, 16 - 40, codes - 20)
    struct.pack_into("<HHHH", content, 40, 8, 8, 0, 4)
    struct.pack_into("<I", content, codes, kinds)
    for place in range(codes + 4, listed, 4):
        struct.pack_into("<I", content, place, listed - place)
    struct.pack_into("<ibxxxI", content, listed, -16, 32, 16)
    struct.pack_into("<HHHH", content, listed + 16, 8, 16, 4, 8)
    struct.pack_into("<I", content, listed + 24, name)
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    started = time.process_time()
    with pytest.raises(ModelError, match="can't be read") as caught:
        TFLITE.lacks(path)
    assert "a name of 1048576 bytes" in caught.value.detail
    assert time.process_time() - started < 2
    struct.pack_into("<I", content, codes, 1 << 30)
    path.write_bytes(content)
    with pytest.raises(ModelError, match="can't be read"):
        TFLITE.lacks(path)
