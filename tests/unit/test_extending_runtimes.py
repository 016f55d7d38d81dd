"""A runtime that a user adds is two files: a network's artifact goes all the way to a result.

The device is this machine, and its Python has what a release would install.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from deploy.measure import bench
from deploy.release import agent_session
from tests import extending
from tests.unit.test_model_manifest import a_manifest
from toolchain import runtimes, targets
from toolchain.bundle import assemble, compiled_models
from toolchain.core import plugins
from toolchain.core.errors import UsageError
from toolchain.lock import fetch
from toolchain.models import place
from toolchain.models.manifest import ModelManifest, RuntimeArtifact, Samples, record
from toolchain.report import formatting
from toolchain.results import measurement
from toolchain.results.measurement import Settings
from toolchain.runtimes import Artifact
from toolchain.wheels import build

MADE_UP = Path(extending.__file__).parent
RV64GC, ARMV7L = targets.target("rv64gc"), targets.target("armv7l")
SAMPLES, SIZE, FACTOR = 8, 4, 2


class ThisMachine:
    """A device that is this machine: its commands start the Python that runs the tests."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Run a command of the release's Python and return what it says."""
        python, *others = args
        assert python.endswith("/venv/bin/python")
        found = subprocess.run(
            [sys.executable, *others],
            input=input_text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
        for line in found.stdout.splitlines():
            if on_line is not None:
                on_line(line)
        return found.stdout


@pytest.fixture
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of its own with the made-up things, and without wheels: none are built here."""
    monkeypatch.setenv(plugins.VARIABLE, str(MADE_UP))
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "published", lambda _target, _names: [])
    pinned = tmp_path / "pinned.whl"
    pinned.touch()
    monkeypatch.setattr(fetch, "path_of", lambda _pin, _store: pinned)


@pytest.fixture
def network(_project: None) -> ModelManifest:
    """A network that only the made-up runtime has an artifact of, for rv64gc and armv7l."""
    manifest = a_manifest()
    folder = place.folder_of(manifest.model, manifest.batch)
    folder.mkdir(parents=True)
    x = np.random.default_rng(0).normal(size=(SAMPLES, SIZE)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, reference=FACTOR * x)
    samples = record(folder, "samples.npz").model_dump()
    for target in (RV64GC, ARMV7L):
        (folder / target.name).mkdir()
        (folder / target.name / "net.scale").write_text(json.dumps({"factor": FACTOR}))
        file = record(folder, f"{target.name}/net.scale").model_dump()
        manifest = manifest.with_artifact("scaler", RuntimeArtifact(**file, target=target.name))
    manifest = manifest.model_copy(
        update={"samples": Samples(**samples, count=SAMPLES, labelled=False)}
    )
    manifest.save(folder)
    return manifest


def a_bundle() -> Path:
    return assemble.make(RV64GC, compiled_models.chosen(RV64GC, ["net"]))


def test_a_networks_artifact_for_a_made_up_runtime_is_bundled(network: ModelManifest) -> None:
    folder = a_bundle()
    manifest = assemble.load(folder)
    assert assemble.artifacts(folder, manifest) == [("scaler", "models/net/b1/rv64gc/net.scale")]
    assert "runner/edgewright_runner/backends/scaler.py" in {f.path for f in manifest.files}
    bundled = ModelManifest.load(folder / "models/net/b1")
    assert [one.target for one in bundled.artifacts["scaler"]] == ["rv64gc"]


def test_the_device_checks_what_a_made_up_runtime_loads(network: ModelManifest) -> None:
    folder = a_bundle()
    artifacts = [f"{n}={p}" for n, p in assemble.artifacts(folder, assemble.load(folder))]
    program = (agent_session.AGENT / "selfcheck.py").read_text()
    said = ThisMachine().run(
        ["release/venv/bin/python", "-", str(folder), *artifacts], input_text=program
    )
    assert json.loads(said) == {"imported": ["typing_extensions"], "models": 1}


def test_a_made_up_runtime_is_measured_and_shown(network: ModelManifest, tmp_path: Path) -> None:
    result, path = bench.run(
        ThisMachine(),
        host="board",
        release=str(a_bundle()),
        settings=Settings(budget_s=0.01, max_samples=50),
    )
    assert measurement.load(path) == result
    (measured,) = result.measurements
    assert (measured.status, measured.runtime, measured.variant) == ("ok", "scaler", "fp32")
    assert measured.parity is not None
    assert (measured.parity.count, measured.parity.max_abs) == (SAMPLES, 0)
    assert formatting.runtime(measured.configuration) == "Scaler fp32"


def test_a_runtime_keeps_away_from_a_target_that_it_cannot_run_on(network: ModelManifest) -> None:
    assert [one.name for one in runtimes.serving(RV64GC)] == ["scaler", "tflite", "tvm"]
    assert [one.name for one in runtimes.serving(ARMV7L)] == ["tflite", "tvm"]
    with pytest.raises(UsageError, match="model net is not compiled for armv7l"):
        compiled_models.chosen(ARMV7L, ["net"])


def test_a_manifest_keeps_one_artifact_of_each_kind(network: ModelManifest) -> None:
    (first, second) = network.artifacts["scaler"]
    again = network.with_artifact("scaler", first.model_copy(update={"sha256": "1" * 64}))
    assert [one.sha256 for one in again.artifacts["scaler"]] == ["1" * 64, second.sha256]
    assert runtimes.runtime("scaler").artifacts(network, "rv64gc") == [
        Artifact(variant="fp32", target="rv64gc", file=second.plain())
    ]
    assert network.plain().artifacts == {}
    assert "net.scale" in "".join(network.files())
