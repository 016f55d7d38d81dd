"""The library for C and C++ on a device gives the same bits as that for Python."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import reading
from deploy.ssh import connection
from tests.support import c_library_releases, c_programs
from tests.support.faults.bench import LONG
from tests.support.product import TARGET, Product
from toolchain.core import paths

PROGRAM = paths.ROOT / "tests/support/c_library_on_device.py"
DAMAGE = PROGRAM.with_name("c_library_damage.py")
SWITCH = PROGRAM.with_name("c_library_switch.py")
ON_DEVICE = "c-library"


@pytest.fixture(scope="module")
def library(product: Product, wheels: list[dict[str, Any]]) -> Path:
    """The library of the target; `wheels` has its objects compiled."""
    assert wheels
    return Path(product.json("build-library", "--target", TARGET)["folder"])


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases with small networks, by their names."""
    folder = tmp_path_factory.mktemp("releases")
    c_library_releases.pictures(folder / "float", "float32", "bicubic", "crop", (1, 8, 8, 3))
    c_library_releases.pictures(folder / "first", "float32", "area", "letterbox", (1, 3, 16, 12))
    c_library_releases.pictures(folder / "int8", "int8", "bilinear", "stretch", (1, 8, 8, 3))
    c_library_releases.pictures(folder / "uint8", "uint8", "nearest", "crop", (1, 9, 5, 3))
    c_library_releases.with_state(folder / "state")
    c_library_releases.with_meanings(folder)
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
            [f"{current}/venv/bin/python", f"{ON_DEVICE}/compare.py", *given], timeout=900
        )
    said = json.loads(text.strip().splitlines()[-1])
    networks = {"digits-cnn", "mobilenetv3-large", "float", "first", "int8", "uint8", "state"}
    networks |= {"digits-cnn by tvm", "mobilenetv3-large by tvm"}
    networks |= {"yolo", "yolov5", "ssd", "mask", "mask-first", "bands", "cepstrum"}
    assert {name: all(same) for name, same in said["same"].items()} == dict.fromkeys(networks, True)
    assert len(said["same"]["state"]) == 6
    refused = said["refused"]
    assert all("\n" not in line and len(line) > 10 for line in refused.values())
    assert "compile it again with edgewright.h" in refused["another ABI"]
    assert refused["no such model"] == "there is no model cat in this release; it holds net"
    assert refused["another runtime"].startswith("net can't be run as onnxruntime by this library")
    assert refused["no such form"].startswith("net is not in this release as tvm; it is there as")
    assert refused["no such level"].startswith("net is not in this release as tflite O2; it is")
    assert refused["no detector"].startswith("nothing says how outputs of net become boxes")
    assert refused["no sound"].startswith("nothing says how a sound becomes the input of net")
    assert refused["no picture"] == "net has not run; call edgewright_run"
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


def test_what_was_changed_or_cut_there_ends_in_an_error_of_one_line(
    product: Product, device: str, deployed: dict[str, Any], release: str
) -> None:
    host = reading.load(product.inventory).host(device)
    python = f"{host.root.removeprefix('~/')}/current/venv/bin/python"
    count = 400 if LONG else 20
    with connection.connect(host) as conn:
        conn.run(["mkdir", "-p", f"{ON_DEVICE}/tests/support"])
        for path in (PROGRAM, DAMAGE):
            conn.push(path, f"{ON_DEVICE}/tests/support/{path.name}")
        program = ["env", f"PYTHONPATH={ON_DEVICE}", python, "-m", f"tests.support.{DAMAGE.stem}"]
        given = [f"{release}/library/lib/libedgewright.so", release, str(count)]
        text = conn.run([*program, *given], timeout=3600)
    said = json.loads(text.strip().splitlines()[-1])
    assert sum(said["statuses"].values()) == 2 * count
    # the whole ones run; nothing else than a release that can't be read, or another network
    assert {status.split()[0] for status in said["statuses"]} == {"tflite", "tvm"}
    assert said["cut"] == ["it was cut; deploy again"] * 10


def test_a_process_keeps_its_release_and_follows_the_link_that_it_names(
    product: Product, device: str, deployed: dict[str, Any], library: Path, tmp_path: Path
) -> None:
    on = f"{ON_DEVICE}/switch"
    page = (paths.ROOT / "docs/how-to/own-program-in-c.md").read_text()
    _, _, after = page.partition("## A new release without a restart")
    source = after.partition("```c\n")[2].partition("```")[0]
    for of_the_page, ours in (("/home/pi/edgewright/current", f"{on}/current"),
                              ("efficientnet-lite0", "net")):  # fmt: skip
        assert of_the_page in source
        source = source.replace(of_the_page, ours)
    (tmp_path / "program.c").write_text(source)
    program = c_programs.compiled_alone(tmp_path / "program.c", library, TARGET)
    for number in "12":
        folder = tmp_path / number
        c_library_releases.pictures(folder, "float32", "area", "crop", (1, 8, 8, 3), number)
        shutil.copytree(library, folder / "library")
    archive = tmp_path / "switch.tar"
    with tarfile.open(archive, "w") as opened:
        for path in (tmp_path / "1", tmp_path / "2", program):
            opened.add(path, path.name)
    host = reading.load(product.inventory).host(device)
    python = f"{host.root.removeprefix('~/')}/current/venv/bin/python"
    with connection.connect(host) as conn:
        conn.run(["mkdir", "-p", on, f"{ON_DEVICE}/tests/support"])
        conn.push(archive, f"{on}/switch.tar")
        conn.run(["tar", "-xf", f"{on}/switch.tar", "-C", on])
        for path in (PROGRAM, SWITCH):
            conn.push(path, f"{ON_DEVICE}/tests/support/{path.name}")
        run = ["env", f"PYTHONPATH={ON_DEVICE}", python, "-m", f"tests.support.{SWITCH.stem}"]
        given = [f"{on}/{name}" for name in ("current", "1", "2", "program")]
        text = conn.run([*run, *given], timeout=600)
    said = json.loads(text.strip().splitlines()[-1])
    assert [release[0] for release in said] == ["1", "1", "2", "1", "2"]
