"""ONNX Runtime's wheel on emulated devices, with vectors and without: ONNX's own cases."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import conformance
from tests.support.conformance import cases
from tests.support.conformance.cases import Case
from tests.support.conformance.verdict import compared
from toolchain import targets
from toolchain.core.store import Store, digest_of
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.wheels import build, elf

TARGET = targets.target("rv64gc")
RECIPE = "onnxruntime"
# without vectors, and with
CPUS = (
    "rv64,v=false",
    "rv64,v=true,vlen=128,vext_spec=v1.0",
    "rv64,v=true,vlen=256,vext_spec=v1.0",
)
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


def wheel() -> Path | None:
    """The wheel, when the cache has it."""
    entry = Store().entry(digest_of(build.inputs(RECIPE, TARGET)))
    if entry is None:
        return None
    return next(entry.file(name) for name in entry.files if name.endswith(".whl"))


pytestmark = pytest.mark.skipif(
    wheel() is None,
    reason="it takes an hour to build: invoke build-wheels --target rv64gc --only onnxruntime",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked."""
    found, folder = wheel(), tmp_path_factory.mktemp("site")
    assert found is not None
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder)
    return folder


def taken() -> Iterator[Case]:
    """The cases that this release can read."""
    for case in cases.every()[::EVERY]:
        opsets = {entry.domain: entry.version for entry in case.model.opset_import}
        arrays = [*case.inputs.values(), *case.outputs]
        if opsets.get("", 0) <= OPSET and all(array.dtype.kind in "biuf" for array in arrays):
            yield case


def run(program: Path, folder: Path, installed: Path, cpu: str) -> dict[str, Any]:
    """What a program says that is run on a folder in an emulated device."""
    spec = specification.spec("device", TARGET)
    image = images.build(spec, Engine(), Store(), progress=lambda _line: None)
    mounts = [
        Mount(source=installed, target="/site", read_only=True),
        Mount(source=program.parent, target="/program", read_only=True),
        Mount(source=folder, target="/cases"),
    ]
    env = {"PYTHONPATH": "/site", "QEMU_CPU": cpu, "PYTHONDONTWRITEBYTECODE": "1"}
    owner = f"{os.getuid()}:{os.getgid()}"
    with Engine().container(image.tag, mounts=mounts, env=env, user=owner) as device:
        said = device.call(["python3", f"/program/{program.name}", "/cases"])
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("cpu", CPUS)
def test_onnxs_own_cases_are_right(cpu: str, installed: Path, tmp_path: Path) -> None:
    every = {case.name: case for case in taken()}
    for case in every.values():
        case.model.ir_version = min(case.model.ir_version, IR_VERSION)
        (tmp_path / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
        np.savez(tmp_path / f"{case.name}.in.npz", **case.inputs)  # type: ignore[arg-type]
    program = Path(conformance.__file__).with_name("on_device.py")
    said = run(program, tmp_path, installed, cpu)
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


def test_it_needs_nothing_beyond_the_system_and_says_what_is_inside(installed: Path) -> None:
    (library,) = installed.rglob("*.so*")
    found = elf.read(library)
    system = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"}
    assert {name for name in found.needed if not name.startswith("ld-linux")} <= system
    assert {name.split("@")[0] for name in found.exports} >= {"OrtGetApiBase"}
    assert b"/edgewright/" not in library.read_bytes()
    shipped = {path.parent.name for path in installed.glob("*.dist-info/licenses/*/*")}
    assert shipped == {one.source for one in build.recipe(RECIPE)[0].licences}
