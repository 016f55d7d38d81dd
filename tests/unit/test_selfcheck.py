"""The self-check of a release, run as on a device, with stand-ins for the runtimes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.release import agent_session
from toolchain.core import paths

FAKES = Path(__file__).with_name("fake_runtimes")
# the one module of all runtimes, as releases had it before each had its own
EARLIER = """
class Tflite:
    def load(self, path):
        open(path).close()

def open_runtime(name, threads):
    return {"tflite": Tflite}[name]()
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    shutil.copytree(
        paths.ROOT / "deploy" / "runner",
        folder / "runner",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "good").write_text("{}")
    (folder / "bad").write_text('{"load_error": "no such operator"}')
    wheels = ["wheels/numpy-2-cp311-abi3-linux_x86_64.whl"]
    (folder / "manifest.json").write_text(json.dumps({"wheels": wheels, "runner": "runner"}))
    return folder


def check(release: Path, *artifacts: str) -> subprocess.CompletedProcess[str]:
    program = (agent_session.AGENT / "programs" / "selfcheck.py").read_text()
    return subprocess.run(
        [sys.executable, "-", str(release), *artifacts],
        input=program,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(FAKES)},
    )


def test_packages_are_imported_and_artifacts_loaded(release: Path) -> None:
    found = check(release, "tflite=good", "tvm=good")
    assert json.loads(found.stdout) == {"imported": ["numpy"], "models": 2}


def test_it_leaves_the_release_as_it_was(release: Path) -> None:
    before = sorted(release.rglob("*"))
    check(release, "tflite=good")
    assert sorted(release.rglob("*")) == before


@pytest.mark.parametrize("runtime", ["tflite", "tvm"])
def test_an_artifact_that_cannot_be_loaded_is_named(release: Path, runtime: str) -> None:
    found = check(release, f"{runtime}=good", f"{runtime}=bad")
    assert found.returncode == 1
    assert found.stderr.strip() == "bad: ValueError: no such operator"


def test_a_runtime_that_the_runner_does_not_know_is_told(release: Path) -> None:
    found = check(release, "another=good")
    assert found.stderr.strip() == "good: ValueError: unknown runtime: another"


def test_a_package_that_is_not_installed_is_named(release: Path) -> None:
    wheels = {"wheels": ["wheels/nothing_of_that_name-1-py3-none-any.whl"]}
    (release / "manifest.json").write_text(json.dumps(wheels))
    found = check(release)
    assert found.stderr.startswith("wheels/nothing_of_that_name-1-py3-none-any.whl: Package")


def test_a_release_of_before_each_runtime_had_a_module_is_checked(release: Path) -> None:
    backends = release / "runner" / "edgewright_runner" / "backends"
    shutil.rmtree(backends)
    backends.with_suffix(".py").write_text(EARLIER)
    assert json.loads(check(release, "tflite=good").stdout)["models"] == 1
    assert check(release, "tvm=good").stderr.startswith("good: KeyError")
