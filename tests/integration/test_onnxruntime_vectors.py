"""ONNX Runtime's kernel for RISC-V's vectors by itself: it is right, its sums in registers.

The wheel's own tests run it in whole networks; this compiles one file of the patch.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from toolchain import targets
from toolchain.core.store import Store
from toolchain.images import build, specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.wheels.sources import patch_series

TARGET = targets.target("rv64gc")
PATCH = patch_series.FOLDER / "onnxruntime-1.21.0" / "0006-riscv-vectors.patch"
KERNEL = "SgemmKernelRvv.cpp"
PROGRAM = Path(__file__).with_name("rvv_products.cpp")
CPU = "rv64,v=true,vlen={},vext_spec=v1.0"
WHOLE_REGISTERS = re.compile(r"\bv(s|l)[1248](r|re\d+)\.v\b")  # what spills are made of


def kernel() -> str:
    """The file that the patch adds."""
    text = PATCH.read_text().partition(f"/{KERNEL}\n@@")[2].partition("\n--- a/")[0]
    return "\n".join(line[1:] for line in text.splitlines()[1:]) + "\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the kernel's assembly and a program over it, compiled as the patch says."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / KERNEL).write_text(kernel())
    (folder / PROGRAM.name).write_text(PROGRAM.read_text())
    found = re.search(rf'{KERNEL} PROPERTIES COMPILE_OPTIONS "([^"]+)"', PATCH.read_text())
    assert found is not None
    flags = [*TARGET.cflags, "-O2", "-fPIC", "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    compiler = [f"{TARGET.triple}-g++", *flags]
    image = build.build(
        specification.spec("cross", TARGET), Engine(), Store(), progress=lambda _: None
    )
    user = f"{os.getuid()}:{os.getgid()}"
    mounts = [Mount(source=folder, target="/made")]
    with Engine().container(image.tag, mounts=mounts, user=user) as executor:
        for command in (
            [*compiler, *found[1].split(";"), "-S", f"/made/{KERNEL}", "-o", "/made/kernel.s"],
            [
                *compiler,
                "-static",
                f"/made/{PROGRAM.name}",
                "/made/kernel.s",
                "-o",
                "/made/program",
            ],
        ):
            executor.call(command)
    return folder


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_products_of_every_small_shape_are_right(bits: int, built: Path) -> None:
    image = build.build(
        specification.spec("device", TARGET), Engine(), Store(), progress=lambda _: None
    )
    mounts = [Mount(source=built, target="/made", read_only=True)]
    env = {"QEMU_CPU": CPU.format(bits)}
    with Engine().container(image.tag, mounts=mounts, env=env) as device:
        count, worst = device.call(["/made/program"]).split()
    assert int(count) == 630
    assert float(worst) < 1e-6


def test_no_sum_is_kept_in_memory_meanwhile(built: Path) -> None:
    assembly = (built / "kernel.s").read_text()
    assert assembly.count("vfmacc.vf") > 200
    assert WHOLE_REGISTERS.findall(assembly) == []
