"""A bundle of some forms and some samples of a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.support.manifests import a_check, a_library, a_manifest
from toolchain import runtimes, targets
from toolchain.bundle import choice, wheels
from toolchain.bundle.choice import Choice
from toolchain.bundle.wheels import Wanted
from toolchain.core.errors import UsageError
from toolchain.core.store import Store
from toolchain.formats.state import Feed, State
from toolchain.models.manifest import ModelManifest, RuntimeArtifact, Samples, Tflite, record
from toolchain.wheels import build

RV64GC = targets.target("rv64gc")


def a_model() -> ModelManifest:
    """Libraries of two levels, TFLite files of two variants."""
    made = a_manifest()
    for level in (0, 3):
        made = made.with_library("rv64gc", a_library(level), a_check(level))
    files = {
        name: Tflite(file=f"{name}.tflite", sha256="0" * 64, size=1) for name in ("fp32", "int8")
    }
    return made.model_copy(update={"tflite": files})


def left(wanted: Choice) -> set[tuple[str, str, int | None]]:
    (manifest,) = choice.narrowed([a_model()], RV64GC, wanted)
    found = runtimes.executed(manifest, RV64GC)
    return {(runtime.name, one.variant, one.opt_level) for runtime, one in found}


def test_an_empty_choice_takes_all() -> None:
    assert {(name, v, level) for name, v, level in left(Choice()) if name in ("tflite", "tvm")} == {
        ("tflite", "fp32", None),
        ("tflite", "int8", None),
        ("tvm", "fp32", 0),
        ("tvm", "fp32", 3),
    }


def test_a_level_leaves_runtimes_without_levels_alone() -> None:
    found = left(Choice(opt_levels=(3,)))
    assert ("tvm", "fp32", 3) in found
    assert ("tflite", "int8", None) in found
    assert ("tvm", "fp32", 0) not in found


def test_a_variant_is_all_that_is_left_of_every_runtime() -> None:
    assert {variant for _, variant, _ in left(Choice(variants=("int8",)))} == {"int8"}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(Choice(variants=("int16x8",)), "variant int16x8"), (Choice(opt_levels=(2,)), "opt level 2")],
)
def test_what_was_not_made_is_refused(wanted: Choice, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        choice.narrowed([a_model()], RV64GC, wanted)
    assert "there is:" in caught.value.resolution


def test_a_model_that_nothing_is_left_of_is_refused() -> None:
    other = a_manifest().with_library("rv64gc", a_library(3), a_check(3))
    with pytest.raises(UsageError, match="nothing is left of it"):
        choice.narrowed([a_model(), other], RV64GC, Choice(variants=("int8",)))


def with_onnx_runtime() -> ModelManifest:
    """A model that ONNX Runtime takes too."""
    made = a_model()
    artifact = RuntimeArtifact(file="model.onnx", sha256="0" * 64, size=1)
    return made.with_artifact("onnxruntime", artifact)


def test_all_leaves_out_a_runtime_whose_wheel_is_built_by_name_and_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path))
    made, wanted, said = with_onnx_runtime(), Choice(runtimes=("all",)), list[str]()
    (kept,) = choice.narrowed([made], RV64GC, wanted, said.append)
    (line,) = said
    assert line.startswith("onnxruntime is left out")
    assert line.endswith("invoke build-wheels --target rv64gc --only onnxruntime")
    sent = {runtime.name for runtime, _ in runtimes.executed(kept, RV64GC)}
    assert {"tflite", "tvm"} <= sent
    assert "onnxruntime" not in sent
    # one that is named is for the bundle to refuse, and a published wheel is there
    named = Choice(runtimes=("all", "onnxruntime"))
    choice.narrowed([made], targets.target("x86_64"), wanted, pytest.fail)
    (kept,) = choice.narrowed([made], RV64GC, named, pytest.fail)
    assert "onnxruntime" in {runtime.name for runtime, _ in runtimes.executed(kept, RV64GC)}


def with_samples(folder: Path, batch: int, state: State | None = None) -> ModelManifest:
    """A model of 24 inferences, labelled, with references of a variant."""
    values = np.arange(24 * batch * 2).reshape(24, batch, 2)
    labels = np.arange(24 * batch)
    arrays = {"in:x": values, "out:y": -values, "labels": labels}
    np.savez(folder / "samples.npz", allow_pickle=False, **arrays)
    np.savez(folder / "reference-int8.npz", allow_pickle=False, **{"out:y": -values})
    samples = record(folder, "samples.npz").model_dump()
    return a_manifest().model_copy(
        update={
            "batch": batch,
            "samples": Samples(**samples, count=24 * batch, labelled=True),
            "references": {"int8": record(folder, "reference-int8.npz")},
            "state": state,
        }
    )


@pytest.mark.parametrize("batch", [1, 4])
def test_the_first_samples_are_kept_with_their_labels_and_references(
    tmp_path: Path, batch: int
) -> None:
    made = choice.with_fewer_samples(with_samples(tmp_path, batch), tmp_path, 2)
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays["in:x"].shape == (2, batch, 2)
        assert (arrays["out:y"] == -arrays["in:x"]).all()
        assert list(arrays["labels"]) == list(range(2 * batch))
    with np.load(tmp_path / "reference-int8.npz") as arrays:
        assert arrays["out:y"].shape == (2, batch, 2)
    assert made.samples.count == 2 * batch
    assert made.samples.sha256 == record(tmp_path, "samples.npz").sha256
    assert made.references["int8"] == record(tmp_path, "reference-int8.npz")


def test_what_a_library_in_integers_should_give_is_shortened_once_for_all_levels(
    tmp_path: Path,
) -> None:
    model = with_samples(tmp_path, 1)
    np.savez(tmp_path / "kernels-fp32.npz", allow_pickle=False, **{"out:y": np.zeros((24, 1, 2))})
    kernels = record(tmp_path, "kernels-fp32.npz")
    for level in (2, 3):
        library = a_library(level).model_copy(update={"kernels": kernels})
        model = model.with_library("rv64gc", library, a_check(level))
    assert model.files()["kernels-fp32.npz"] == kernels.sha256
    made = choice.with_fewer_samples(model, tmp_path, 2)
    with np.load(tmp_path / "kernels-fp32.npz") as arrays:
        assert arrays["out:y"].shape == (2, 1, 2)
    shorter = record(tmp_path, "kernels-fp32.npz")
    assert [one.kernels for one in made.libraries["rv64gc"].values()] == [shorter, shorter]


def test_a_sequence_is_kept_whole(tmp_path: Path) -> None:
    state = State(feeds=(Feed(input="x", output="y"),), steps=8)
    made = choice.with_fewer_samples(with_samples(tmp_path, 1, state), tmp_path, 9)
    assert made.samples.count == 16


@pytest.mark.parametrize("inferences", [0, 24, 100])
def test_files_stay_as_they_are_when_all_are_kept(tmp_path: Path, inferences: int) -> None:
    made = with_samples(tmp_path, 1)
    assert choice.with_fewer_samples(made, tmp_path, inferences) == made
    assert record(tmp_path, "samples.npz").sha256 == made.samples.sha256


def test_who_names_runtimes_gets_their_wheels_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def built(_target: targets.Target, recipes: Iterable[str]) -> list[build.Built]:
        asked[:] = recipes
        return []

    monkeypatch.setattr(build, "published", built)

    def taken(number: int, *named: str) -> list[str]:
        models = choice.narrowed([a_model()], RV64GC, Choice(runtimes=named))
        into = tmp_path / str(number)
        wheels.copy(into, RV64GC, Store(tmp_path / "cache"), models, Wanted(runtimes=named))
        return sorted(asked)

    both = ["tflite_runtime", "tvm_ffi", "tvm_runtime"]
    assert taken(1) == both
    assert taken(2, "tflite") == ["tflite_runtime"]
    assert taken(3, "all") == both
    wheels.copy(tmp_path / "4", RV64GC, Store(tmp_path), [], Wanted(runtimes=["tvm"]))
    assert sorted(asked) == ["tvm_ffi", "tvm_runtime"]  # also without any model
