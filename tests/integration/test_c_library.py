"""The library for C and C++ on a device: the same bits as Python's, and programs that use it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.inventory import reading
from deploy.ssh import connection
from tests.support import device_releases, tflite_models
from tests.support.device_releases import tensor
from tests.support.product import TARGET, Product
from tests.support.tflite_models import Operator, Tensor
from toolchain import targets
from toolchain.core import paths, process
from toolchain.core.errors import CommandError
from toolchain.core.store import Store
from toolchain.images import build, specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.samples import public_images

PROGRAM = paths.ROOT / "tests/support/c_library_on_device.py"
ON_DEVICE = "c-library"
PICTURES = {"channels": "RGB", "scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
# what pkg-config makes of a file whose variables are paths
PKG_CONFIG = """
import os, pathlib, re, sys
folder = pathlib.Path(os.environ["PKG_CONFIG_PATH"])
known = {"pcfiledir": str(folder)}
said = {}
for line in (folder / f"{sys.argv[-1]}.pc").read_text().splitlines():
    line = re.sub(r"\\$\\{(\\w+)\\}", lambda found: known[found[1]], line)
    if found := re.fullmatch(r"(\\w+)=(.*)", line):
        known[found[1]] = found[2]
    elif found := re.fullmatch(r"(\\w+): *(.*)", line):
        said[found[1]] = found[2]
print(said["Cflags"], said["Libs"])
"""


@pytest.fixture(scope="module")
def library(product: Product, wheels: list[dict[str, Any]]) -> Path:
    """The library of the target; `wheels` has its objects compiled."""
    assert wheels
    return Path(product.json("build-library", "--target", TARGET)["folder"])


def operator(
    name: str, inputs: list[str], output: str, options: str, **settings: object
) -> Operator:
    return Operator(name=name, inputs=inputs, outputs=[output], options=options, settings=settings)


def pictures(folder: Path, kind: str, resize: str, fit: str, shape: tuple[int, ...]) -> None:
    """A release with a network that gives what it is given, of pictures in numbers of a kind."""
    rounded = {} if kind == "float32" else {"quantization": {"scale": 0.02, "zero": 7}}
    how = {**PICTURES, "resize": resize, "fit": fit}
    device_releases.release(
        folder,
        [tensor("x", *shape, dtype=kind, **rounded)],
        [tensor("y", *shape, dtype=kind, **rounded)],
        labels=["red", "grün"],
        metadata={"task": "classification", "preprocessing": how},
    )
    scale, zero = ([0.02], [7]) if rounded else ([], [])
    numbers = Tensor(shape=shape, kind=kind, scale=scale, zero=zero)
    same_shape = operator("RESHAPE", ["x"], "y", "ReshapeOptions", newShape=shape)
    content = tflite_models.model({"x": numbers, "y": numbers}, [same_shape])
    (folder / "models/net/b1/0.bin").write_bytes(content)


def with_state(folder: Path) -> None:
    """A release with a network of two inputs and a state: y = x + rate + h, and h is then 2 y."""
    four = Tensor(shape=(1, 4), kind="float32")
    names = ("x", "rate", "h", "between", "y", "hn")
    adds = [
        operator("ADD", pair, out, "AddOptions")
        for pair, out in ((["x", "rate"], "between"), (["between", "h"], "y"), (["y", "y"], "hn"))
    ]
    device_releases.release(
        folder,
        [tensor(name, 1, 4) for name in ("x", "rate", "h")],
        [tensor(name, 1, 4) for name in ("y", "hn")],
        state={"feeds": [{"input": "h", "output": "hn"}], "steps": 3},
    )
    content = tflite_models.model(
        dict.fromkeys(names, four), adds, inputs=("x", "rate", "h"), outputs=("y", "hn")
    )
    (folder / "models/net/b1/0.bin").write_bytes(content)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases with small networks, by their names."""
    folder = tmp_path_factory.mktemp("releases")
    pictures(folder / "float", "float32", "bicubic", "crop", (1, 8, 8, 3))
    pictures(folder / "first", "float32", "area", "letterbox", (1, 3, 16, 12))
    pictures(folder / "int8", "int8", "bilinear", "stretch", (1, 8, 8, 3))
    pictures(folder / "uint8", "uint8", "nearest", "crop", (1, 9, 5, 3))
    with_state(folder / "state")
    (folder / "damaged").mkdir()
    (folder / "damaged/manifest.json").write_text('{"release": "a\nb", "models": [{"model": ')
    return folder


def test_outputs_are_pythons_bit_for_bit_and_what_is_wrong_is_said_in_a_line(
    product: Product, device: str, deployed: dict[str, Any], release: str, releases: Path
) -> None:
    host = reading.load(product.inventory).host(device)
    current = f"{host.root.removeprefix('~/')}/current"
    archive = releases / "releases.tar"
    with tarfile.open(archive, "w") as opened:
        for path in sorted(releases.iterdir()):
            if path != archive:
                opened.add(path, path.name)
    with connection.connect(host) as conn:
        conn.run(["mkdir", "-p", f"{ON_DEVICE}/releases"])
        conn.push(PROGRAM, f"{ON_DEVICE}/compare.py")
        conn.push(archive, f"{ON_DEVICE}/releases.tar")
        conn.run(["tar", "-xf", f"{ON_DEVICE}/releases.tar", "-C", f"{ON_DEVICE}/releases"])
        # TVM's own libraries are beside it there
        given = [f"{release}/library/lib/libedgewright.so", current, f"{ON_DEVICE}/releases"]
        text = conn.run(
            [f"{current}/venv/bin/python", f"{ON_DEVICE}/compare.py", *given], timeout=300
        )
    said = json.loads(text.strip().splitlines()[-1])
    networks = {"digits-cnn", "mobilenetv3-large", "float", "first", "int8", "uint8", "state"}
    networks |= {"digits-cnn by tvm", "mobilenetv3-large by tvm"}
    assert {name: all(same) for name, same in said["same"].items()} == dict.fromkeys(networks, True)
    assert len(said["same"]["state"]) == 6
    refused = said["refused"]
    assert all("\n" not in line and len(line) > 10 for line in refused.values())
    assert "compile it again with edgewright.h" in refused["another ABI"]
    assert refused["no such model"] == "there is no model cat in this release; it holds net"
    assert refused["another runtime"].startswith("net can't be run as onnxruntime by this library")
    assert refused["no such form"].startswith("net is not in this release as tvm; it is there as")
    assert refused["another size"].startswith("3 numbers were given; x is int8 (1, 8, 8, 3)")
    assert refused["nothing given"].startswith("net was given no x; call edgewright_set")
    assert refused["too large"].startswith("a number does not fit into int8")
    assert refused["a damaged manifest"].endswith("it is no JSON object; deploy again")


@pytest.fixture(scope="module")
def release(
    product: Product,
    device: str,
    deployed: dict[str, Any],
    library: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """A release with the library in it, as it is written for devices elsewhere; where it is."""
    assert library
    folder = tmp_path_factory.mktemp("elsewhere") / "release"
    about = ["--target", TARGET, "--model", "digits-cnn", "--library"]
    product.invoke("export", "--to", str(folder), *about)
    archive = folder.with_name("release.tar")
    with tarfile.open(archive, "w") as opened:
        # what C reads of it: no wheels, no runner
        for name in ("manifest.json", "models", "library"):
            opened.add(folder / name, name)
    where = f"{ON_DEVICE}/release"
    with connection.connect(reading.load(product.inventory).host(device)) as conn:
        conn.run(["mkdir", "-p", where])
        conn.push(archive, f"{ON_DEVICE}/release.tar")
        conn.run(["tar", "-xf", f"{ON_DEVICE}/release.tar", "-C", where])
    return where


def compiled(folder: Path, library: Path, language: str, search: str) -> Path:
    """The program of a folder as its Makefile, or for C++ its CMakeLists.txt, has it compiled.

    Args:
        folder: of the program.
        library: the library's.
        language: of the program.
        search: where it looks for the library on the device.
    """
    target = targets.target(TARGET)
    engine, spec = Engine(), specification.spec("cross", target)
    image = build.build(spec, engine, Store(), progress=lambda _: None)
    mounts = [Mount(source=path, target=str(path)) for path in (folder, library)]
    if language == "c":
        tool = folder / "pkg_config.py"
        tool.write_text(PKG_CONFIG)
        given = [f"EDGEWRIGHT={library}", f"PKG_CONFIG={sys.executable} {tool}"]
        told = [f"CC={target.triple}-gcc", f"RPATH={search}"]
        asked = ["make", "--no-print-directory", "-n", *given, *told]
        # a make that runs the tests would have this one warn of its jobs
        text = process.run(asked, cwd=folder, env={"MAKEFLAGS": ""})
        commands = [shlex.split(line) for line in text.splitlines()]
        program = folder / "program"
    else:
        into = f"{folder}/build"
        configure = ["cmake", "-G", "Ninja", "-S", str(folder), "-B", into]
        about = [f"-DCMAKE_CXX_COMPILER={target.triple}-g++", f"-DCMAKE_PREFIX_PATH={library}"]
        system = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
        system += ["-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", f"-DCMAKE_INSTALL_RPATH={search}"]
        commands = [[*configure, *about, *system], ["cmake", "--build", into]]
        program = folder / "build/program"
    user = f"{os.getuid()}:{os.getgid()}"
    with engine.container(image.tag, mounts=mounts, user=user) as executor:
        for command in commands:
            executor.call(command, cwd=str(folder))
    return program


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_the_program_that_example_writes_runs_by_the_library_of_the_release(
    product: Product, device: str, library: Path, release: str, tmp_path: Path, language: str
) -> None:
    folder = tmp_path / "program"
    product.invoke("example", "--model", "digits-cnn", "--language", language, "--out", str(folder))
    _, _, images, labels = public_images.digits()
    pixels = images[0, ..., 0].astype(np.uint8)
    (tmp_path / "digit.pgm").write_bytes(b"P5\n8 8\n255\n" + pixels.tobytes())
    (tmp_path / "large.pgm").write_bytes(b"P5\n9 9\n255\n" + bytes(81))
    with connection.connect(reading.load(product.inventory).host(device)) as conn:
        home = conn.run(["pwd"]).strip()
        program = compiled(folder, library, language, f"{home}/{release}/library/lib")
        for path in (program, *tmp_path.glob("*.pgm")):
            conn.push(path, f"{ON_DEVICE}/{path.name}")
        conn.run(["chmod", "+x", f"{ON_DEVICE}/program"])
        found = conn.run([f"{ON_DEVICE}/program", f"{ON_DEVICE}/digit.pgm"])
        _, best, *_, last = found.splitlines()
        assert best.split()[-1] == str(labels[0])
        assert last.endswith(" ms under tflite")
        with pytest.raises(CommandError) as refused:
            conn.run([f"{ON_DEVICE}/program", f"{ON_DEVICE}/large.pgm"])
    assert "the picture is 9 x 9 pixels, and this network takes 8 x 8" in refused.value.output
