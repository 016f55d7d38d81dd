"""An engine on another machine, which sees no folder of this one: the same images and wheels."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.other_engine import OtherEngine, other_engine
from tests.support.product import LONG, Product
from toolchain import targets
from toolchain.core import paths, process
from toolchain.core.store import Store, digest_file
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.wheels import build
from toolchain.wheels.variations import Conditions

TARGET = "x86_64"  # its images are small, and need no emulator
WHEEL = "tvm_ffi"


def silent(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherEngine]:
    # neither in what is hidden, nor in the user's own
    state = Path(tempfile.mkdtemp(prefix="edgewright-test-", dir="/var/lib"))
    folder = tmp_path_factory.mktemp("other-engine")
    try:
        hidden = [paths.cache(), paths.ROOT, Path(tempfile.gettempdir())]
        with other_engine(state, folder, hidden) as engine:
            yield engine
    finally:
        shutil.rmtree(state)


@pytest.fixture
def there(other: OtherEngine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The other engine, asked for as a user does."""
    for variable, value in other.env.items():
        monkeypatch.setenv(variable, value)
    return Engine()


@pytest.fixture
def image(there: Engine) -> images.Image:
    """A small image there."""
    spec = specification.spec("device", targets.target(TARGET))
    return images.build(spec, there, Store(), progress=silent)


def test_an_image_has_the_id_that_it_has_here(
    image: images.Image, there: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert there.image_id(image.tag) == image.id
    monkeypatch.delenv("DOCKER_HOST")
    spec = specification.spec("device", targets.target(TARGET))
    assert images.build(spec, Engine(), Store(), progress=silent).id == image.id


def test_a_context_names_the_engine_as_the_variable_does(
    image: images.Image, other: OtherEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    context = ["docker", "context"]
    process.run([*context, "create", "builder", "--docker", f"host={other.address}"])
    assert Engine().shares_files  # nobody has asked for it yet
    process.run([*context, "use", "builder"])
    there = Engine()
    assert not there.shares_files
    assert there.image_id(image.tag) == image.id
    spec = specification.spec("device", targets.target(TARGET))
    assert images.build(spec, there, Store(), progress=silent).id == image.id
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert Engine().shares_files
    process.run([*context, "use", "default"])
    monkeypatch.setenv("DOCKER_CONTEXT", "builder")
    assert not Engine().shares_files


def test_a_container_leaves_in_folders_what_a_mount_would(
    image: images.Image, there: Engine, tmp_path: Path
) -> None:
    source, read = tmp_path / "source", tmp_path / "read"
    for folder in (source / "inner", source / "old", read, tmp_path / "cache"):
        folder.mkdir(parents=True)
    (source / "inner" / "kept.txt").write_text("kept\n")
    (source / "old" / "gone.txt").write_text("gone\n")
    (read / "script").write_text("cat /w/inner/kept.txt > /w/made.txt; rm -r /w/old")
    (tmp_path / "cache" / "here").write_text("")
    mounts = [
        Mount(source=source, target="/w"),
        Mount(source=read, target="/r", read_only=True),
        Mount(source=read / "script", target="/one", read_only=True),
        Mount(source=tmp_path / "cache", target="/cache"),
    ]
    assert not there.shares_files
    user = f"{os.getuid()}:{os.getgid()}"
    with there.container(image.tag, mounts=mounts, user=user, kept={"/cache": ""}) as container:
        container.call(["sh", "-e", "/r/script"])
        assert (source / "made.txt").read_text() == "kept\n"
        assert not (source / "old").exists()
        # what changes here between two commands is seen by the second
        (source / "made.txt").unlink()
        (source / "inner" / "kept.txt").write_text("changed\n")
        (source / "link").symlink_to("inner")
        assert container.call(["cat", "/w/link/kept.txt"]) == "changed\n"
        assert container.call(["ls", "/w"]).split() == ["inner", "link"]
        container.call(["sh", "-c", "chmod 700 /w/inner/kept.txt; touch -d @1000 /w/inner"])
        assert (source / "inner" / "kept.txt").stat().st_mode & 0o777 == 0o700
        assert (source / "inner").stat().st_mtime == 1000
        # what nobody reads here stays where it is
        assert container.call(["sh", "-c", "touch /cache/there; ls /cache"]) == "there\n"
        assert container.call(["cmp", "/one", "/r/script"]) == ""
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["here"]


def test_an_emulated_device_is_refused_there(other: OtherEngine, product: Product) -> None:
    refused = product.refused("emulator.up", "--target", TARGET, env=other.env)
    assert "an emulated device needs this machine's own Docker engine" in refused.output


@LONG
def test_a_wheel_has_the_bytes_that_it_has_here(
    other: OtherEngine, there: Engine, tmp_path: Path
) -> None:
    target, store = targets.target(TARGET), Store()
    wheel = build.again(target, WHEEL, store, Conditions(), tmp_path, progress=silent)
    assert there.shares_files is False
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOCKER_HOST")
        here = build.build(target, WHEEL, store, progress=silent)
    assert digest_file(wheel) == here.sha256
