"""What this machine knows of ncnn: who is told of the extra, what is refused, what makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import made_by_extra
from tests.support.made_by_extra import added
from tests.support.manifests import SHA, a_check, a_manifest
from toolchain import runtimes, targets
from toolchain.bundle import choice, compiled_models
from toolchain.bundle.choice import Choice
from toolchain.core import store, worker
from toolchain.core.errors import ModelError, UsageError
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest, RuntimeArtifact, record
from toolchain.runtimes import Wheels, ncnn
from toolchain.runtimes._made_by_extra import FormRequest

RV64GC = targets.target("rv64gc")
NCNN = runtimes.runtime("ncnn")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by_extra.project(tmp_path, monkeypatch)


@pytest.fixture
def extra() -> None:
    """A machine that has it, as far as anybody looks."""
    made_by_extra.install("ncnn")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders for which files were made, by nothing that reads them."""
    folders: list[Path] = []

    def call(_job: object, request: FormRequest, **_: object) -> Check:
        folders.append(request.folder)
        (request.folder / ncnn.FILE).write_bytes(b"net")
        return a_check(0)

    monkeypatch.setattr(worker, "call", call)
    return folders


def a_model() -> tuple[Path, ModelManifest]:
    return made_by_extra.saved(a_manifest())


def test_without_the_extra_nothing_is_made_and_nothing_said_until_it_is_asked_for() -> None:
    folder, manifest = a_model()
    found = added(folder, manifest)
    assert "ncnn" not in found.artifacts
    assert "ncnn" not in found.missing
    with pytest.raises(UsageError, match="net has no form that runs under ncnn") as caught:
        compiled_models.chosen(RV64GC, ["net"], ["ncnn"])
    assert "invoke setup --extra ncnn" in caught.value.detail
    with pytest.raises(UsageError, match="nothing is left of it") as left:
        choice.narrowed([found], RV64GC, Choice(runtimes=("ncnn",)))
    assert "invoke setup --extra ncnn" in left.value.detail


@pytest.mark.usefixtures("extra")
def test_a_file_is_made_once_and_found_again(made: list[Path]) -> None:
    folder, manifest = a_model()
    first = added(folder, manifest)
    (artifact,) = first.artifacts["ncnn"]
    assert (artifact.file, artifact.variant) == ("fp32.ncnn.zip", "fp32")
    assert (folder / artifact.file).read_bytes() == b"net"
    assert a_check(0) in first.every_check()
    assert added(folder, first) == first
    assert len(made) == 1
    other = manifest.model_copy(update={"onnx": record(folder, "model.json")})
    added(folder, other)
    assert len(made) == 2


@pytest.mark.usefixtures("extra")
def test_what_it_cannot_take_is_a_line_and_takes_away_what_was_there(
    made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = a_model()
    first = added(folder, manifest)

    def refuse(*_: object, **__: object) -> None:
        raise ModelError("ncnn has no layer for the graph's LSTM", resolution="use another")

    monkeypatch.setattr(worker, "call", refuse)
    (store.Store().root / "entries").rename(store.Store().root / "gone")
    refused = added(folder, first)
    assert refused.missing["ncnn"] == "ncnn has no layer for the graph's LSTM; use another"
    assert "ncnn" not in refused.artifacts


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("change", "why"),
    [({"batch": 8}, "one sample at a time"), ({"onnx": None}, "it has no ONNX graph")],
)
def test_a_batch_and_a_network_without_a_graph_are_refused(
    change: dict[str, object], why: str, made: list[Path]
) -> None:
    folder, manifest = a_model()
    found = added(folder, manifest.model_copy(update=change))
    assert why in found.missing["ncnn"]
    assert made == []


def test_its_wheel_is_built_here_for_the_machines_that_it_was_tried_on() -> None:
    assert NCNN.wheels(RV64GC, []) == Wheels(built=("ncnn",))
    assert "ncnn" not in runtimes.wheels_built(RV64GC), "built when it is named"
    assert NCNN.unsupported(RV64GC) == ""


def test_a_bundle_has_no_figures_of_this_machine() -> None:
    artifact = RuntimeArtifact(file="net.zip", sha256=SHA, size=1, check=a_check(0))
    manifest = a_manifest().with_artifact("ncnn", artifact)
    (sent,) = manifest.for_device("rv64gc").artifacts["ncnn"]
    assert sent.check is None
    assert manifest.plain() == a_manifest()


def test_a_model_is_not_sent_for_it_unless_it_is_named() -> None:
    folder, manifest = a_model()
    (folder / ncnn.FILE).write_bytes(b"net")
    artifact = RuntimeArtifact(**record(folder, ncnn.FILE).model_dump())
    manifest.with_artifact("ncnn", artifact).save(folder)
    assert compiled_models.chosen(RV64GC, []) == []
    assert [m.model for m in compiled_models.chosen(RV64GC, [], ["ncnn"])] == ["net"]
