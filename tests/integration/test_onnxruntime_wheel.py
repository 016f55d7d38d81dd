"""ONNX Runtime's wheel on emulated devices, with vectors and without: ONNX's own cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import conformance, named_wheels
from tests.support.conformance import cases
from tests.support.conformance.cases import Case
from tests.support.conformance.verdict import compared
from toolchain.wheels import build

RECIPE = "onnxruntime"
# riscv64 without vectors, and with; 32-bit Arm without fused multiply-adds, and with
CPUS = {
    "rv64gc": (
        "rv64,v=false",
        "rv64,v=true,vlen=128,vext_spec=v1.0",
        "rv64,v=true,vlen=256,vext_spec=v1.0",
    ),
    "armv7l": ("cortex-a9", "cortex-a15"),
}
OPSET, IR_VERSION = 22, 10  # the newest that this release knows
EVERY = 3  # of the cases: an emulated session takes a tenth of a second
# Not right under this release on any machine: types that it has no kernel for, operators newer than
# it, sums whose last digits differ from the reference's.
NOT_RIGHT = re.compile(
    r"test_(affine_grid_\dd(_align_corners)?_expanded|(basic_)?deform_conv_\w+"
    r"|clip_default_int8_(max|min)_expanded|convinteger_with_padding|dft\w*|stft\w*"
    r"|(gru|lstm|simple_rnn)_batchwise|l[12]normalization_\w+|lpnormalization_default"
    r"|(max|min)_u?int(8|16)|maxunpool_export_with_output_shape|pow_types_float32_uint(32|64)"
    r"|reduce_max_empty_set_bool|roialign_\w+)"
)


def needed(target: str) -> pytest.MarkDecorator:
    """Skips what the cache has no wheel for."""
    return named_wheels.needed(RECIPE, "an hour", target)


def taken() -> Iterator[Case]:
    """The cases that this release can read."""
    for case in cases.every()[::EVERY]:
        opsets = {entry.domain: entry.version for entry in case.model.opset_import}
        arrays = [*case.inputs.values(), *case.outputs]
        if opsets.get("", 0) <= OPSET and all(array.dtype.kind in "biuf" for array in arrays):
            yield case


@pytest.mark.parametrize(
    ("target", "cpu"),
    [pytest.param(name, cpu, marks=needed(name)) for name, cpus in CPUS.items() for cpu in cpus],
)
def test_onnxs_own_cases_are_right(
    target: str, cpu: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installed = named_wheels.unpacked(RECIPE, tmp_path_factory.mktemp("site"), target)
    every = {case.name: case for case in taken()}
    for case in every.values():
        case.model.ir_version = min(case.model.ir_version, IR_VERSION)
        (tmp_path / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
        np.savez(tmp_path / f"{case.name}.in.npz", **case.inputs)  # type: ignore[arg-type]
    program = Path(conformance.__file__).with_name("on_device.py")
    said = named_wheels.run(program, tmp_path, installed, cpu, target=target)
    assert said["version"] == build.recipe(RECIPE)[0].version
    wrong = {}
    for name, case in every.items():
        if name in said["refused"]:
            result, why = "refused", said["refused"][name]
        else:
            with np.load(tmp_path / f"{name}.out.npz") as made:
                result, why = compared(case, [made[f"arr_{n}"] for n in range(len(made.files))])
        if result != "right" and not NOT_RIGHT.fullmatch(name):
            wrong[name] = f"{result}: {why}"
    assert len(every) > 300
    assert wrong == {}


@pytest.mark.parametrize("target", [pytest.param(name, marks=needed(name)) for name in CPUS])
def test_it_needs_nothing_beyond_the_system_and_says_what_is_inside(
    target: str, tmp_path: Path
) -> None:
    installed = named_wheels.unpacked(RECIPE, tmp_path, target)
    (library,) = installed.rglob("*.so*")
    assert named_wheels.exported(library) >= {"OrtGetApiBase"}
    shipped = {path.parent.name for path in installed.glob("*.dist-info/licenses/*/*")}
    assert shipped == {one.source for one in build.recipe(RECIPE)[0].licences}
