"""What this machine knows of ExecuTorch: what it is made of, what is refused, what makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import made_by_extra
from tests.support.made_by_extra import added
from tests.support.manifests import a_check, a_manifest
from toolchain import runtimes
from toolchain.convert.executorch import job
from toolchain.convert.parity import Outputs
from toolchain.core import process, worker
from toolchain.core.errors import CommandError, ModelError
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes import executorch
from toolchain.runtimes._made_by_extra import FormRequest

RUNTIME = runtimes.runtime("executorch")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by_extra.project(tmp_path, monkeypatch)


@pytest.fixture
def extra() -> None:
    """A machine that has it, as far as anybody looks."""
    made_by_extra.install("executorch")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources of which programs were made, by nothing that reads them."""
    sources: list[Path] = []

    def call(_job: object, request: FormRequest, **_: object) -> Check:
        assert request.source is not None
        sources.append(request.source)
        assert request.rights().write == (request.folder,)
        (request.folder / executorch.FILE).write_bytes(b"program")
        return a_check(0)

    monkeypatch.setattr(worker, "call", call)
    return sources


def a_model(kind: str = "pytorch") -> tuple[Path, ModelManifest]:
    plain = a_manifest()
    source = plain.source.model_copy(update={"kind": kind, "weights": "file:" + "0" * 64})
    return made_by_extra.saved(plain.model_copy(update={"source": source}))


def test_without_the_extra_nothing_is_made_and_nothing_said() -> None:
    folder, manifest = a_model()
    found = added(folder, manifest, Path("net.pt2"))
    assert "executorch" not in found.artifacts
    assert "executorch" not in found.missing
    assert "invoke setup --extra executorch" in RUNTIME.unmade()


@pytest.mark.usefixtures("extra")
def test_a_program_is_made_of_the_users_file_once_and_found_again(made: list[Path]) -> None:
    folder, manifest = a_model()
    first = added(folder, manifest, Path("net.pt2"))
    (artifact,) = first.artifacts["executorch"]
    assert (artifact.file, artifact.variant, artifact.target) == ("fp32.pte", "fp32", None)
    assert (folder / artifact.file).read_bytes() == b"program"
    assert a_check(0) in first.every_check()
    assert added(folder, first, Path("elsewhere/net.pt2")) == first
    assert made == [Path("net.pt2")]
    other = manifest.source.model_copy(update={"weights": "file:" + "1" * 64})
    added(folder, manifest.model_copy(update={"source": other}), Path("net.pt2"))
    assert len(made) == 2


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(("kind", "source"), [("onnx", Path("net.onnx")), ("keras", None)])
def test_of_anything_but_a_pytorch_file_it_is_not_made(
    kind: str, source: Path | None, made: list[Path]
) -> None:
    folder, manifest = a_model(kind)
    found = added(folder, manifest, source)
    assert "executorch" not in found.artifacts
    assert "executorch" not in found.missing, "a convert of any other file would say it"
    assert "pytorch files alone" in RUNTIME.unmakeable(kind)
    assert made == []


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("run: RuntimeError: Missing operator: [3] aten::_fft_r2c.out", "aten::_fft_r2c.out"),
        ("make: TimeoutError: it took more than 10 minutes\nmore", "it took more than 10 minutes"),
    ],
)
def test_what_it_cannot_take_is_named(
    said: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failed.txt").write_text(said)
    monkeypatch.setattr(process, "run", lambda *_, **__: "warnings\n")
    with pytest.raises(ModelError, match=words) as caught:
        job._lower(tmp_path / "net.pt2", tmp_path)
    assert "\n" not in caught.value.brief
    assert caught.value.resolution == job.OTHERS


@pytest.mark.usefixtures("extra")
def test_the_file_is_read_as_weights_alone_and_a_crash_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(args: list[Any], *, env: dict[str, str]) -> str:
        assert env["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        raise CommandError([str(one) for one in args], -11, "Segmentation fault")

    monkeypatch.setattr(process, "run", crash)
    with pytest.raises(ModelError, match="ExecuTorch fails with this network") as caught:
        job._lower(tmp_path / "net.pt2", tmp_path)
    assert caught.value.detail == "Segmentation fault"


def test_outputs_of_other_sizes_than_the_sources_are_refused(tmp_path: Path) -> None:
    tensor = a_manifest().outputs[0]
    expected = np.zeros((2, *tensor.shape), np.float32)
    reference = Outputs(tensors=[tensor], arrays={tensor.name: expected}, batch=1)
    np.savez(tmp_path / "outputs.npz", expected.reshape(2, -1))
    assert np.array_equal(job._outputs(tmp_path, reference)[tensor.name], expected)
    np.savez(tmp_path / "outputs.npz", expected[:1])
    with pytest.raises(ModelError, match="other sizes"):
        job._outputs(tmp_path, reference)
