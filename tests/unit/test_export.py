"""A bundle that installs itself on a device that is not reached from here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.release import export
from tests.support.bundles import make_bundle
from toolchain.core.errors import UsageError

LIBRARY = {"runner/edgewright_device/__init__.py": b"def load(*_, **__): return None\n"}
CODE = "import tiny, edgewright_device; print(tiny.WORKS)"


def installed(folder: Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "install.py")]
    return subprocess.run(
        command, cwd=home, capture_output=True, text=True, check=False, timeout=300
    )


def an_export(tmp_path: Path, requires: dict[str, Any] | None = None) -> Path:
    asked: dict[str, Any] = {"modules": [], **(requires or {})}
    bundle = make_bundle(tmp_path / "bundle", extra=LIBRARY, **asked)
    return export.export(bundle, "name", tmp_path / "there")


def test_it_installs_where_it_lies_and_again(tmp_path: Path) -> None:
    folder = an_export(tmp_path)
    for _ in range(2):
        done = installed(folder)
        assert (done.returncode, done.stderr) == (0, "")
    python = folder / "venv" / "bin" / "python"
    assert str(python) in done.stdout
    found = subprocess.run([python, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"


def test_a_file_where_it_is_called_is_no_module_of_what_it_starts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("json", "signal", "email", "logging"):
        (home / f"{name}.py").write_text("raise SystemExit('not the library')\n")
    done = installed(an_export(tmp_path), home)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_archive_holds_the_same_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    folder = an_export(tmp_path)
    bundle = tmp_path / "bundle"
    first = export.export(bundle, "name", tmp_path / "1.tar.gz")
    again = shutil.copytree(bundle, tmp_path / "again")
    second = export.export(again, "name", tmp_path / "2.tar.gz")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    for path in (p for p in folder.rglob("*") if p.is_file()):
        place = tmp_path / "unpacked" / "name" / path.relative_to(folder)
        assert place.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["there.tar.gz", "there"])
def test_one_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", extra=LIBRARY)
    monkeypatch.setattr(export, "PROGRAM", tmp_path / "absent" / "install.py")
    with pytest.raises(UsageError, match="can't be written"):
        export.export(bundle, "name", tmp_path / "out" / name)
    assert not list((tmp_path / "out").iterdir())


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    folder = an_export(tmp_path)
    with pytest.raises(UsageError, match="is there already"):
        export.export(tmp_path / "bundle", "name", folder)


@pytest.mark.parametrize(
    "name", ["pipe", "link", "dangling", "empty.tar.gz", "file/there.tar.gz", "a" * 255 + ".tar.gz"]
)
def test_what_it_can_not_be_is_refused_and_left(tmp_path: Path, name: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", extra=LIBRARY)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    for folder in ("empty", "empty.tar.gz"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        export.export(bundle, "name", tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        ({"machine": "pdp11"}, "it is for pdp11"),
        ({"python": "9.0"}, "Python 9.0 is needed"),
        ({"glibc": "99.0"}, "glibc 99.0 is needed"),
    ],
)
def test_a_device_that_it_is_not_for_is_told_so(
    tmp_path: Path, requires: dict[str, str], said: str
) -> None:
    folder = an_export(tmp_path, requires)
    done = installed(folder)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (folder / "venv").exists()


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_that_is_not_what_it_was_stops_it(tmp_path: Path, damage: str) -> None:
    folder = an_export(tmp_path)
    (wheel,) = (folder / "wheels").iterdir()
    if damage == "missing":
        wheel.unlink()
    else:
        wheel.write_bytes(wheel.read_bytes() + b" ")
    done = installed(folder)
    assert done.returncode == 1
    assert f"wheels/{wheel.name} is " in done.stderr


def test_a_network_that_does_not_load_is_told(tmp_path: Path) -> None:
    model = {
        "model": "net", "batch": 1, "folder": "models/net/b1", "card": "models/net/b1/model.json",
        "executables": [
            {"runtime": "abacus", "variant": "fp32", "file": "f", "inputs": [], "outputs": []}
        ],
    }  # fmt: skip
    bad = {"runner/edgewright_device/__init__.py": b"def load(*_, **__): raise OSError('no beads')"}
    bundle = make_bundle(tmp_path / "bundle", extra=bad, modules=[], models=[model])
    done = installed(export.export(bundle, "name", tmp_path / "there"))
    assert done.returncode == 1
    assert "no beads" in done.stderr
