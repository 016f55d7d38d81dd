"""The wheel of ExecuTorch: what it needs, and a program through it where there is no PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import executorch_program, named_wheels
from toolchain import targets
from toolchain.core.store import Store
from toolchain.wheels import build, elf

RECIPE = "executorch"
TARGET = "x86_64"
PROGRAM = Path(named_wheels.__file__).with_name("executorch_on_device.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this machine's kind, unpacked; it is built in seconds."""
    build.build(targets.target(TARGET), RECIPE, Store(), progress=lambda _line: None)
    return named_wheels.unpacked(RECIPE, tmp_path_factory.mktemp("site"), TARGET)


def test_it_needs_the_system_and_itself_and_exports_ours(installed: Path) -> None:
    libraries = {path.name: elf.read(path) for path in installed.rglob("*.so")}
    needed = {name for read in libraries.values() for name in read.needed} - libraries.keys()
    others = {"libdl.so.2", "libpthread.so.0"}
    assert {
        name for name in needed if not name.startswith("ld-linux")
    } <= named_wheels.SYSTEM | others
    ours = {name.split("@")[0] for name in libraries["libexecutorch_c.so"].exports} - {""}
    assert "executorch_run" in ours
    assert all(name.startswith("executorch_") for name in ours)
    (licences,) = installed.glob("*.dist-info/licenses/executorch")
    assert {path.name for path in licences.iterdir()} >= {"LICENSE", "xnnpack", "eigen3"}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_program_runs_without_pytorch_and_what_is_wrong_is_said(
    installed: Path, tmp_path: Path, threads: str
) -> None:
    (tmp_path / "network.pte").write_bytes(executorch_program.PROGRAM)
    (tmp_path / "bad.pte").write_bytes(b"no program of anything" * 20)
    np.save(tmp_path / "x.npy", executorch_program.X)
    np.save(tmp_path / "i.npy", executorch_program.INDICES)
    seen = named_wheels.run(PROGRAM, tmp_path, installed, "", threads, target=TARGET)
    for number, wanted in enumerate(executorch_program.expected()):
        found = np.load(tmp_path / f"out{number}.npy")
        assert found.dtype == wanted.dtype
        assert np.allclose(found, wanted, rtol=1e-6)
    assert seen["version"] == build.recipe(RECIPE)[0].version
    assert seen["same"]
    assert seen["inputs"] == [[[1, 4], "float32"], [[3], "int64"]]
    assert seen["outputs"] == 2
    assert not seen["torch"]
    refused = seen["refused"]
    assert "none.pte" in refused["file"]
    assert "identifier" in refused["program"]
    assert "backward" in refused["method"]
    assert "open on another number of threads" in refused["threads"]
    assert refused["none"]
    assert "(1, 2)" in refused["shape"]
    assert "Double" in refused["type"]
    assert "2 inputs, 1 were given" in refused["number"]
    assert "complex" in refused["complex"]


def test_a_program_whose_offsets_lead_out_of_it_is_refused(installed: Path, tmp_path: Path) -> None:
    good = bytearray(executorch_program.PROGRAM)
    (tmp_path / "network.pte").write_bytes(good)
    np.save(tmp_path / "x.npy", executorch_program.X)
    np.save(tmp_path / "i.npy", executorch_program.INDICES)
    good[40:44] = b"\xff\xff\xff\x7f"
    (tmp_path / "bad.pte").write_bytes(good)
    seen = named_wheels.run(PROGRAM, tmp_path, installed, "", "1", target=TARGET)
    assert seen["refused"]["program"]
