"""Wheels that a project publishes itself: which a bundle takes, and which a device is sent."""

from __future__ import annotations

import importlib
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgewright_runner import backends
from packaging.utils import parse_wheel_filename

from deploy.measure import jobs
from deploy.measure.jobs import Deployed, DeployedModel, Selection
from deploy.release import wheel_compatibility
from deploy.release.wheel_compatibility import Content
from tests.support.bundles import make_bundle
from tests.support.manifests import SHA, a_check, a_library, a_manifest
from tests.support.probed import device_facts
from toolchain import runtimes, targets
from toolchain.bundle import assemble, by_python, compiled_models, wheels
from toolchain.bundle.choice import Choice, narrowed
from toolchain.bundle.wheels import Wanted
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.store import Store
from toolchain.lock import fetch, pins
from toolchain.models import place
from toolchain.models.manifest import ModelManifest, Tflite
from toolchain.runtimes import Wheels
from toolchain.wheels import official
from toolchain.wheels.elf import Code

ARMV7L, AARCH64, X86_64 = (targets.target(name) for name in ("armv7l", "aarch64", "x86_64"))
RV64GC = targets.target("rv64gc")
ORT = runtimes.runtime("onnxruntime")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def a_network() -> ModelManifest:
    """A network that conversion has made every form of."""
    file = Tflite(file="fp32.tflite", sha256=SHA, size=1)
    return a_manifest().model_copy(update={"tflite": {"fp32": file}})


def a_wheel(python: str) -> tuple[str, bytes]:
    """The path and the bytes of a small wheel for one Python."""
    tag = f"cp{python.replace('.', '')}"
    return f"wheels/native-1.0-{tag}-{tag}-manylinux_2_28_x86_64.whl", python.encode()


def entered(manifest: ModelManifest, folder: Path = Path()) -> ModelManifest:
    return ORT.make(folder, manifest, lambda _: None)


@pytest.mark.parametrize("target", [AARCH64, X86_64])
@pytest.mark.parametrize("name", ["litert", "onnxruntime", "openvino"])
def test_the_lock_has_a_wheel_for_every_python(name: str, target: targets.Target) -> None:
    runtime = runtimes.runtime(name)
    names = runtime.wheels(target, []).pinned
    files = [pins.source(name).file_name for name in names]
    assert {by_python.only_python(file) for file in files} == set(PYTHONS)
    assert all(target.machine in file for file in files)
    assert runtime.unsupported(target) == ""


def test_a_target_without_wheels_is_told_which_targets_have_them() -> None:
    why = runtimes.runtime("openvino").unsupported(ARMV7L)
    assert why.startswith("openvino has no wheel for armv7l; it has them for")
    assert all(name in why for name in ("aarch64", "x86_64"))
    with pytest.raises(UsageError, match="openvino has no wheel for armv7l"):
        narrowed([], ARMV7L, Choice(runtimes=["openvino"]))


def test_where_the_project_has_no_wheel_ours_is_built_when_it_is_asked_for() -> None:
    for target in (RV64GC, ARMV7L):
        assert ORT.unsupported(target) == ""
        assert ORT.wheels(target, []) == runtimes.Wheels(built=("onnxruntime",))
    assert ORT.wheels(AARCH64, []).built == ()
    # it takes an hour: not by `build-wheels` without a name
    assert "tflite_runtime" in runtimes.wheels_built(RV64GC)
    assert "onnxruntime" not in runtimes.wheels_built(RV64GC)


@pytest.mark.parametrize(
    ("wheel", "python"),
    [
        ("a-1-cp313-cp313-manylinux_2_28_x86_64.whl", "3.13"),
        ("a-1-cp39-cp39-manylinux_2_28_x86_64.whl", "3.9"),
        ("a-1-cp311-abi3-manylinux_2_28_x86_64.whl", ""),
        ("a-1-py3-none-any.whl", ""),
        ("a-1-py2.py3-none-any.whl", ""),
    ],
)
def test_a_wheels_name_says_which_python_it_serves(wheel: str, python: str) -> None:
    assert by_python.only_python(wheel) == python


def test_each_python_has_a_bundle_with_its_own_wheels(tmp_path: Path) -> None:
    native = dict(map(a_wheel, PYTHONS))
    folder = make_bundle(tmp_path / "bundle", extra=native, also_wheels=list(native))
    made = by_python.split(folder)
    assert [one.name for one in made] == [f"bundle-python{python}" for python in PYTHONS]
    whole = assemble.load(folder)
    for python, own in zip(PYTHONS, made, strict=True):
        manifest = assemble.load(own)
        assert manifest.wheels == ["wheels/tiny-1.0-py3-none-any.whl", a_wheel(python)[0]]
        assert {path.name for path in (own / "wheels").iterdir()} == {
            Path(path).name for path in manifest.wheels
        }
        assert (own / "requirements.txt").read_text().count("native==1.0") == 1
        assert manifest.release != whole.release
        assert by_python.fitting(folder, f"{python}.2") == own
    # no file of the whole one was written through its other name
    assert assemble.load(folder) == whole
    assert by_python.fitting(folder, "3.15.0") == folder


@pytest.mark.parametrize(
    "python", ["", "3/x", "3.13/../../etc/x", "../../..", "3." + "9" * 5000, "3.\ud800", "3.\x00"]
)
def test_what_a_device_calls_its_python_leads_nowhere_else(tmp_path: Path, python: str) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle-python3").mkdir()
    assert by_python.fitting(tmp_path / "bundle", python) == tmp_path / "bundle"


def test_where_every_wheel_serves_every_python_there_is_one_bundle(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle")
    assert by_python.split(folder) == []
    assert by_python.fitting(folder, "3.13.5") == folder


@pytest.mark.parametrize(
    ("library", "sent"),
    [
        ({}, {"models/net/b1/fp32.tflite"}),
        ({"library/lib/x.so": b"x"}, {"models/net/b1/fp32.tflite", "models/net/b1/rv64gc/O3.so"}),
    ],
)
def test_without_python_tvms_networks_go_along_with_the_library_that_runs_them(
    library: dict[str, bytes], sent: set[str], tmp_path: Path
) -> None:
    path = "models/net/b1"
    files = {f"{path}/fp32.tflite": b"t", f"{path}/rv64gc/O3.so": b"s"}
    card = a_manifest().with_library("rv64gc", a_library(3), a_check(3))
    executables = [
        {"runtime": runtime, "variant": "fp32", "file": file, "inputs": [], "outputs": []}
        for runtime, file in zip(("tflite", "tvm"), files, strict=True)
    ]
    model = {
        "model": "net",
        "batch": 1,
        "folder": path,
        "card": f"{path}/model.json",
        "executables": executables,
    }
    cards = {f"{path}/model.json": card.dump().encode()}
    folder = make_bundle(tmp_path / "bundle", extra=files | library | cards, models=[model])
    (own,) = by_python.split(folder)
    manifest = assemble.load(own)
    assert {one.file for one in manifest.models[0].executables} == sent
    assert {of.path for of in manifest.files} >= sent | library.keys()
    assert not ({*files} - sent) & {of.path for of in manifest.files}
    kept = ModelManifest.load(own / path).libraries
    assert bool(kept) == (f"{path}/rv64gc/O3.so" in sent)


def test_pip_is_told_every_wheel_of_a_release_in_one_line(tmp_path: Path) -> None:
    for python in PYTHONS:
        path, content = a_wheel(python)
        (tmp_path / Path(path).name).write_bytes(content)
    (line,) = wheels.requirements(tmp_path).splitlines()
    assert line.startswith("native==1.0 --hash=sha256:")
    assert line.count("--hash=") == len(PYTHONS)


def test_a_python_that_no_wheel_serves_is_refused_in_one_line(tmp_path: Path) -> None:
    files = []
    for python in PYTHONS[:2]:
        name = Path(a_wheel(python)[0]).name
        tag = "-".join(name.removesuffix(".whl").split("-")[2:])
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("native-1.0.dist-info/WHEEL", f"Tag: {tag}\n")
        files.append(wheel_compatibility.read_wheel(tmp_path / name))
    facts = device_facts(machine="x86_64", python="3.15.0", glibc="2.41")
    ((what, remedy),) = wheel_compatibility.problems(tuple(files), facts)
    assert what == "native has no wheel that fits its Python 3.15.0 and glibc 2.41"
    assert "--runtime" in remedy


@pytest.mark.parametrize(("glibc", "refused"), [("2.41", 0), ("2.31", 1)])
def test_a_pinned_wheel_is_held_against_what_its_code_asks_for(glibc: str, refused: int) -> None:
    (name,) = [n for n in official.names("ai-edge-litert", AARCH64) if "cp313" in n]
    file = pins.source(name).file_name
    code = Code(machine="EM_AARCH64", bits=64, little=True, flags=0, versions={"GLIBC": "2.34"})
    device = device_facts(machine="aarch64", python="3.13.5", glibc=glibc)
    tags = parse_wheel_filename(file)[3]
    wheel = Content(name=file, tags=tags, code=(("a.so", code),))
    assert len(wheel_compatibility.problems((wheel,), device)) == refused
    # one of ours that says less than it asks for is refused wherever it goes
    ours = replace(wheel, name=file.replace("2.3.0", "2.3.1"))
    assert len(wheel_compatibility.problems((ours,), device)) == refused + 1


def test_every_graph_of_a_network_is_an_artifact() -> None:
    made = entered(a_manifest())
    assert [a.variant for a in ORT.artifacts(made, "aarch64")] == ["fp32"]
    assert entered(made) == made
    assert made.plain() == a_manifest().plain()


def test_a_network_is_sent_where_its_runtime_is_named() -> None:
    made = entered(a_network())
    assert not compiled_models._is_made_for(AARCH64, made)
    assert compiled_models._is_taken(AARCH64, made, ["onnxruntime"])
    assert compiled_models._is_taken(ARMV7L, made, ["onnxruntime"])
    assert not compiled_models._is_taken(ARMV7L, made, ["openvino"])
    (chosen,) = narrowed([made], AARCH64, Choice(runtimes=["onnxruntime"]))
    assert [runtime.name for runtime, _ in runtimes.executed(chosen, AARCH64)] == ["onnxruntime"]
    (others,) = narrowed([made], AARCH64, Choice(runtimes=["tflite"]))
    assert [runtime.name for runtime, _ in runtimes.executed(others, AARCH64)] == ["tflite"]


def there(target: str, manifest: ModelManifest) -> Deployed:
    model = DeployedModel(folder="models/net/b1", card=manifest)
    return Deployed(release="r", target=target, models=[model])


def named(manifest: ModelManifest, *asked: str) -> list[str]:
    """The runtimes that a device gets a model for when these are asked for."""
    (kept,) = narrowed([manifest], AARCH64, Choice(runtimes=asked))
    return [runtime.name for runtime, _ in runtimes.executed(kept, AARCH64)]


def test_wheels_of_tens_of_megabytes_go_along_when_asked_for_or_needed() -> None:
    made = runtimes.runtime("litert").make(Path(), entered(a_network()), lambda _: None)
    assert named(made) == ["tflite"]
    assert named(made, "all") == ["litert", "onnxruntime", "tflite"]
    assert named(made, "litert") == ["litert"]
    assert named(made, "tflite", "onnxruntime") == ["onnxruntime", "tflite"]
    # nothing else takes it
    assert named(entered(a_manifest())) == ["onnxruntime"]
    # where none serves, the card says nothing of them
    (riscv,) = narrowed([made], RV64GC, Choice())
    assert (riscv.artifacts, riscv.tflite) == ({}, made.tflite)


def test_litert_runs_the_files_of_tensorflow_lite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runtimes.runtime("litert").make(Path(), a_network(), lambda _: None)
    (artifact,) = runtimes.runtime("litert").artifacts(made, "aarch64")
    assert artifact.file.file == a_network().tflite["fp32"].file
    fakes = Path(__file__).with_name("fake_runtimes")
    monkeypatch.syspath_prepend(str(fakes))
    interpreter = importlib.import_module("tflite_runtime.interpreter")
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)  # it does without
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    (tmp_path / "model.tflite").write_text(json.dumps({"scale": 2.0}))
    backend = backends.open_runtime("litert", 1)
    backend.load(str(tmp_path / "model.tflite"))
    backend.bind({"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]})
    backend.set_inputs({"x": np.ones((1, 3), np.float32)})
    backend.run()
    assert (backend.outputs()["y"] == 2).all()


def test_all_runtimes_measures_what_is_there_and_says_why_others_do_not_run() -> None:
    everything = Selection(runtimes=["all"])
    on_arm = there("armv7l", a_network())
    assert {job.runtime for job in jobs.plan(on_arm, everything)} == {"tflite"}
    lines = jobs.left_out(on_arm, everything)
    assert any(line.startswith("OpenVINO: openvino has no wheel") for line in lines)
    assert any(
        line.startswith("TVM without net (batch 1): nothing for it was deployed") for line in lines
    )
    refused = a_network().with_missing("tvm", "Conv is not known")
    assert "TVM without net (batch 1): Conv is not known" in jobs.left_out(
        there("armv7l", refused), everything
    )
    assert jobs.left_out(on_arm, Selection()) == []


def test_a_runtime_that_a_device_cannot_have_is_told_with_those_that_have_it() -> None:
    with pytest.raises(UsageError, match="openvino has no wheel for armv7l; it has them for"):
        jobs.plan(there("armv7l", a_network()), Selection(runtimes=["openvino"]))
    with pytest.raises(UsageError, match="unknown runtime: onnx"):
        jobs.plan(there("armv7l", a_network()), Selection(runtimes=["onnx"]))
    with pytest.raises(UsageError, match="nothing on the device runs under ONNX Runtime"):
        jobs.plan(there("aarch64", a_network()), Selection(runtimes=["onnxruntime"]))


def test_a_runtime_whose_wheel_is_built_here_is_no_other_than_one_whose_wheel_is_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = entered(a_network())
    monkeypatch.setattr(type(ORT), "unsupported", lambda *_: "")
    monkeypatch.setattr(type(ORT), "wheels", lambda *_: Wheels(built=("onnxruntime",)))
    (kept,) = narrowed([made], RV64GC, Choice())
    assert [runtime.name for runtime, _ in runtimes.executed(kept, RV64GC)] == ["tflite"]
    (asked,) = narrowed([made], RV64GC, Choice(runtimes=["onnxruntime"]))
    assert [runtime.name for runtime, _ in runtimes.executed(asked, RV64GC)] == ["onnxruntime"]


@pytest.mark.usefixtures("own_output")
def test_a_network_that_a_runtime_cannot_take_is_told_with_the_reason() -> None:
    made = entered(a_manifest()).with_missing("tflite", "Mod has no counterpart")
    folder = place.folder_of(made.model, made.batch)
    folder.mkdir(parents=True)
    made.save(folder)
    (chosen,) = compiled_models.chosen(X86_64, ["net"], ["onnxruntime"])
    assert chosen == made
    with pytest.raises(UsageError, match="model net has no form that runs under tflite") as caught:
        compiled_models.chosen(X86_64, ["net"], ["tflite"])
    assert caught.value.detail == "tflite: Mod has no counterpart"
    with pytest.raises(UsageError, match="openvino has no wheel for armv7l"):
        compiled_models.chosen(ARMV7L, ["net"], ["openvino"])
    # what was only not compiled yet is told so
    with pytest.raises(UsageError, match="model net is not compiled for x86_64"):
        compiled_models.chosen(X86_64, ["net"], ["tvm"])


PUBLISHED = "tflite_runtime-2.14.0-cp311-cp311-"


def by_tflite(target: targets.Target) -> list[ModelManifest]:
    """A network that goes there for TensorFlow Lite alone."""
    return narrowed([a_network()], target, Choice(runtimes=["tflite"]))


def test_what_is_published_stands_for_what_is_built_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheel").write_bytes(b"")
    monkeypatch.setattr(fetch, "path_of", lambda _pin, _store: tmp_path / "wheel")
    for target in (ARMV7L, AARCH64, X86_64):
        into = tmp_path / target.name
        wheels.copy(into, target, Store(tmp_path), by_tflite(target), Wanted(as_published=True))
        (name,) = [path.name for path in into.iterdir()]
        assert name.startswith(PUBLISHED)
        assert name.endswith(f"_{target.machine}.whl")
        (line,) = wheels.published_in_words(target, by_tflite(target))
        assert "tflite-runtime 2.14.0" in line
        assert "not built here" in line


def test_where_nothing_is_published_one_line_says_so() -> None:
    (line,) = wheels.published_in_words(RV64GC, by_tflite(RV64GC))
    assert line.startswith("rv64gc: nobody publishes wheels")


def test_where_nothing_would_be_built_one_line_says_so() -> None:
    by_onnxruntime = narrowed([entered(a_network())], X86_64, Choice(runtimes=["onnxruntime"]))
    (line,) = wheels.published_in_words(X86_64, by_onnxruntime)
    assert line.startswith("x86_64: all wheels that it needs are their projects' own")


def test_a_wheel_that_is_not_built_can_be_had_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "empty"))
    with pytest.raises(BuildError, match="is not built") as caught:
        wheels.copy(tmp_path / "a", X86_64, Store(), by_tflite(X86_64))
    assert "--wheels official" in caught.value.resolution
    with pytest.raises(BuildError, match="is not built") as caught:
        wheels.copy(tmp_path / "b", RV64GC, Store(), by_tflite(RV64GC))
    assert "--wheels official" not in caught.value.resolution


def test_a_device_without_python_is_sent_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "empty"))
    into = tmp_path / "wheels"
    models = by_tflite(RV64GC)
    lowest = wheels.copy(into, RV64GC, Store(), models, Wanted(python=False))
    assert (lowest.glibc, lowest.glibcxx, list(into.iterdir())) == ("0", "0", [])


def test_wheels_are_built_or_official_and_nothing_else() -> None:
    assert wheels.are_official("official")
    assert not wheels.are_official("built")
    with pytest.raises(UsageError, match="none of built and official"):
        wheels.are_official("pypi")


def test_a_python_that_the_published_wheel_does_not_serve_is_refused() -> None:
    (name,) = official.names("tflite-runtime", X86_64)
    file = pins.source(name).file_name
    wheel = Content(name=file, tags=parse_wheel_filename(file)[3])
    facts = device_facts(machine="x86_64", python="3.13.5", glibc="2.41")
    ((what, remedy),) = wheel_compatibility.problems((wheel,), facts)
    assert what == "tflite_runtime has no wheel that fits its Python 3.13.5 and glibc 2.41"
    assert remedy.startswith("leave out --wheels official")
