"""The `edgewright` command: the tasks, in a folder of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import edgewright
from tests.support import measured
from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.core.errors import CommandError, UsageError
from toolchain.results import measurement


def run(*arguments: str, folder: Path, code: Path = paths.ROOT) -> str:
    """Run the command as a program, in a folder, from a tree of the code; return its stdout."""
    command = [sys.executable, "-m", "edgewright", *arguments]
    return process.run(command, cwd=folder, env={"PYTHONPATH": str(code)})


@pytest.fixture(autouse=True)
def nowhere_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWRIGHT_DIST", raising=False)


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a package built from the checkout installs, unpacked."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("out")
    for name in process.run(["git", "ls-files"], cwd=paths.ROOT).split():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, copy / name)
    script = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    process.run([sys.executable, "-c", script, str(out)], cwd=copy, env=dict(os.environ))
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "installed")
    return out / "installed"


def test_it_has_the_tasks_of_the_checkout(tmp_path: Path) -> None:
    listing = ["--list", "--list-format", "json"]
    invoke = process.run([sys.executable, "-m", "invoke", *listing], cwd=paths.ROOT)
    ours, theirs = json.loads(run(*listing, folder=tmp_path)), json.loads(invoke)
    assert (ours["tasks"], ours["collections"]) == (theirs["tasks"], theirs["collections"])


def test_listing_them_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "tvm", "onnx", "numpy", "docker", "paramiko", "importlib.metadata")
    script = f"import sys, edgewright; print([m for m in {heavy!r} if m in sys.modules])"
    command = [sys.executable, "-c", script]
    assert process.run(command, cwd=paths.ROOT).strip().splitlines()[-1] == "[]"


def test_what_runs_one_input_imports_nothing_that_builds_wheels() -> None:
    heavy = ("auditwheel", "elftools", "debian", "tensorflow", "tvm", "onnx", "docker")
    script = (
        "import sys, deploy.run.deployed_model, deploy.run.device_run, deploy.ssh.connection; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    assert process.run(command, cwd=paths.ROOT).strip().splitlines()[-1] == "[]"


def test_outputs_are_those_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", "")  # for it to be as it was, afterwards
    monkeypatch.delenv("EDGEWRIGHT_DIST")
    assert paths.output() == paths.ROOT
    (tmp_path / "inventory.yml").write_text("all:\n  hosts: {}\n")
    edgewright.use_folder(tmp_path)
    assert (paths.dist(), paths.results()) == (tmp_path / "dist", tmp_path / "results")


def test_a_folder_that_was_named_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path / "elsewhere"))
    (tmp_path / "inventory.yml").write_text("all:\n  hosts: {}\n")
    edgewright.use_folder(tmp_path)
    assert paths.output() == tmp_path / "elsewhere"


def test_a_task_in_a_folder_of_ones_own_works(tmp_path: Path) -> None:
    (tmp_path / "inventory.yml").write_text("all:\n  hosts: {}\n")
    measurement.save(measured.result(), tmp_path / "results")
    assert "digits-cnn" in run("report", folder=tmp_path)
    assert (tmp_path / "reports" / "report.html").is_file()


def test_a_folder_without_an_inventory_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(CommandError) as caught:
        run("models", folder=tmp_path)
    assert caught.value.returncode == UsageError.exit_code
    assert "no inventory.yml" in caught.value.output
    assert list(tmp_path.iterdir()) == []


def test_messages_name_a_task_as_the_reader_runs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "task_command", "edgewright")
    console.show_error(UsageError("no engine", resolution="run: invoke setup"))
    console.note("to use it: invoke compile --model digits-cnn, by invoke 2.2")
    said = capsys.readouterr().err
    assert "run: edgewright setup" in said
    assert "to use it: edgewright compile --model digits-cnn, by invoke 2.2" in said


def test_what_is_installed_is_our_packages_and_not_the_folder_that_would_hide_the_sdk(
    built: Path,
) -> None:
    installed = {path.name for path in built.iterdir() if not path.name.endswith(".dist-info")}
    assert installed == {"toolchain", "deploy", "tasks.py", "edgewright.py"}


def test_a_package_without_its_checkout_is_refused_and_says_what_to_do(
    built: Path, tmp_path: Path
) -> None:
    with pytest.raises(CommandError) as caught:
        run("doctor", folder=tmp_path, code=built)
    assert caught.value.returncode == 1
    assert "lacks docker/cross/image.toml and patches" in caught.value.output
    assert "make setup" in caught.value.output


def test_what_builds_the_package_is_pinned() -> None:
    (backend,) = project()["build-system"]["requires"]
    name = backend.split(">=")[0]
    pinned = (paths.ROOT / "requirements.txt").read_text()
    assert f"\n{name}==" in pinned
    assert name in (paths.ROOT / "requirements.in").read_text().split()
