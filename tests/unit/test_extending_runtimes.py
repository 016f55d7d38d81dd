"""A runtime that a user adds is two files: a network's artifact goes all the way to a result.

The device is this machine, and its Python has what a release would install.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from deploy.measure import bench
from deploy.release import agent_session
from tests import extending
from tests.support.manifests import a_manifest
from toolchain import runtimes, targets
from toolchain.bundle import assemble, compiled_models
from toolchain.convert import runtime_artifacts
from toolchain.core import plugins
from toolchain.core.errors import UsageError
from toolchain.lock import fetch
from toolchain.models import place
from toolchain.models.manifest import ModelManifest, Samples, record
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


def a_network(factor: object = FACTOR) -> ModelManifest:
    """A converted network that gives its input times a number, in the project's dist/models."""
    manifest = a_manifest()
    folder = place.folder_of(manifest.model, manifest.batch)
    folder.mkdir(parents=True)
    x = np.random.default_rng(0).normal(size=(SAMPLES, SIZE)).astype(np.float32)
    x = x.reshape(SAMPLES, 1, SIZE)
    arrays = {"in:input": x, "out:output": x * np.asarray(factor, np.float32)}
    np.savez(folder / "samples.npz", allow_pickle=False, **arrays)
    samples = record(folder, "samples.npz").model_dump()
    # without an ONNX form, which a runtime of ours would be sent
    manifest = manifest.model_copy(
        update={"samples": Samples(**samples, count=SAMPLES, labelled=False), "onnx": None}
    )
    manifest.save(folder)
    return runtime_artifacts.add(folder, manifest, lambda _title: nullcontext(lambda _line: None))


@pytest.fixture
def network(_project: None) -> ModelManifest:
    return a_network()


def a_bundle() -> Path:
    return assemble.make(RV64GC, compiled_models.chosen(RV64GC, ["net"]))


def test_a_networks_artifact_for_a_made_up_runtime_is_bundled(network: ModelManifest) -> None:
    folder = a_bundle()
    manifest = assemble.load(folder)
    assert assemble.artifacts(folder, manifest) == [("scaler", "models/net/b1/net.scale")]
    assert "runner/edgewright_runner/backends/scaler.py" in {f.path for f in manifest.files}
    sent = ModelManifest.load(folder / "models/net/b1").artifacts
    # only what runs on the target goes along
    assert sent == {"scaler": network.artifacts["scaler"]}


def test_a_bundle_to_send_is_a_folder_of_its_own_until_it_is_sent(network: ModelManifest) -> None:
    chosen = compiled_models.chosen(RV64GC, ["net"])
    with assemble.to_send(RV64GC, chosen) as own:
        assert assemble.load(own) == assemble.load(a_bundle())
        shutil.rmtree(a_bundle())
        assert assemble.load(own).files
    assert not own.exists()
    assert [path.name for path in own.parents[1].iterdir()] == []


@pytest.mark.usefixtures("_project")
def test_a_runtime_without_its_twin_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(MADE_UP / "runtimes", tmp_path / "alone" / "runtimes")
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "alone"))
    with pytest.raises(UsageError, match="runtime scaler has no module for the device"):
        assemble.make(RV64GC, [])


@pytest.mark.usefixtures("_project")
def test_a_users_twin_does_not_take_the_place_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs" / "backends").mkdir(parents=True)
    (tmp_path / "theirs" / "backends" / "tvm.py").touch()
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "theirs"))
    with pytest.raises(UsageError, match=r"the runner has a module tvm\.py already"):
        assemble.make(RV64GC, [])


def test_the_device_checks_what_a_made_up_runtime_loads(network: ModelManifest) -> None:
    folder = a_bundle()
    artifacts = [f"{n}={p}" for n, p in assemble.artifacts(folder, assemble.load(folder))]
    program = (agent_session.AGENT / "programs" / "selfcheck.py").read_text()
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
    scaler = runtimes.runtime("scaler")
    assert scaler in runtimes.serving(RV64GC)
    assert scaler not in runtimes.serving(ARMV7L)
    with pytest.raises(UsageError, match="model net is not compiled for armv7l"):
        compiled_models.chosen(ARMV7L, ["net"])


@pytest.mark.usefixtures("_project")
def test_a_runtime_that_cannot_take_a_network_says_why_and_leaves_it_to_the_others() -> None:
    made = a_network(factor=[1, 2, 3, 4])
    assert made.missing["scaler"] == "net does more than multiply"
    assert made.missing["litert"] == "it has no TFLite form"
    assert "scaler" not in made.artifacts
    # made for nothing else either, so there is nothing to send
    with pytest.raises(UsageError, match="model net is not compiled for rv64gc"):
        compiled_models.chosen(RV64GC, ["net"])


def test_the_next_conversion_finds_a_model_as_it_was(network: ModelManifest) -> None:
    refused = network.with_missing("scaler", "it can't")
    assert network.plain() == refused.plain()
    assert network.plain().artifacts == {}
    assert refused.with_missing("scaler", "") == network


def test_an_artifact_is_of_one_target_or_of_all(network: ModelManifest) -> None:
    (general,) = network.artifacts["scaler"]
    made = [
        general.model_copy(update={"file": f"{target}/O1.scale", "target": target, "opt_level": 1})
        for target in ("rv64gc", "aarch64")
    ]
    both = network.with_artifact("scaler", made[0]).with_artifact("scaler", made[1])
    assert both.for_device("rv64gc").artifacts["scaler"] == [general, made[0]]
    assert both.files().keys() >= {"net.scale", "rv64gc/O1.scale", "aarch64/O1.scale"}
    assert runtimes.runtime("scaler").artifacts(both, "aarch64") == [
        Artifact(variant="fp32", file=general.plain()),
        Artifact(variant="fp32", opt_level=1, target="aarch64", file=made[1].plain()),
    ]
    again = both.with_artifact("scaler", made[0].model_copy(update={"sha256": "1" * 64}))
    assert [one.sha256[0] for one in again.artifacts["scaler"]].count("1") == 1
    assert len(again.artifacts["scaler"]) == 3
