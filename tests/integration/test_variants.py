"""All eight forms of one trained network, made for real, under both runtimes' own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.conversion import joined, step
from toolchain import matrix, targets
from toolchain.compile import compilation as compiler
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import VARIANTS

if TYPE_CHECKING:
    import tensorflow as tf

INTEGER_OPERATORS = {"CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "SOFTMAX", "RESHAPE"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The network in all forms, each compiled; made in the machine's own cache."""
    output = tmp_path_factory.mktemp("variants")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_DIST", str(output))
        made = matrix.converted([resolve_model("digits-cnn")], [1], list(VARIANTS), step)
        made.refuse()
        plan = matrix.planned(list(made.manifests.items()), list(VARIANTS), [3])
        linker = compiler.Linker(identity="variants", link=joined, image=lambda: "")
        matrix.compiled(
            plan,
            targets.target("x86_64"),
            linker=linker,
            compiler=compiler.release(),
            step=step,
        ).refuse()
        yield plan[0].folder


@pytest.fixture(scope="module")
def made(folder: Path) -> ModelManifest:
    return ModelManifest.load(folder)


def interpreter(folder: Path, variant: str) -> tf.lite.Interpreter:
    import tensorflow as tf  # here: it takes seconds, which every run of other tests would wait

    with pytest.warns(UserWarning, match="deprecated"):
        found = tf.lite.Interpreter(
            str(folder / f"{variant}.tflite"),
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    found.allocate_tensors()
    return found


def kernels(folder: Path, variant: str) -> list[np.ndarray]:
    """The weights of a TFLite model, as they are stored."""
    found = interpreter(folder, variant)
    operators = [
        op for op in found._get_ops_details() if op["op_name"] in ("CONV_2D", "FULLY_CONNECTED")
    ]
    return [found.get_tensor(op["inputs"][1]) for op in operators]


def test_each_form_runs_under_both_runtimes(made: ModelManifest) -> None:
    assert set(made.tflite) == set(VARIANTS)
    assert {lib.variant for lib in made.libraries["x86_64"].values()} == set(VARIANTS)
    assert made.missing == {}
    checked = {(c.variant, c.stage) for c in made.checks}
    assert checked == {(v, s) for v in VARIANTS for s in ("tflite", "onnx", "tvm-x86")}


def test_libraries_in_integers_are_compared_with_reference_kernels(
    folder: Path, made: ModelManifest
) -> None:
    own = {one.variant: one.kernels for one in made.libraries["x86_64"].values() if one.kernels}
    assert set(own) == {"dynamic", "int8", "int16x8", "qat"}
    for variant, kernels in own.items():
        with (
            np.load(folder / kernels.file) as given,
            np.load(folder / made.references[variant].file) as default,
        ):
            assert given["out:output"].shape == default["out:output"].shape


def test_each_form_recognises_digits(folder: Path, made: ModelManifest) -> None:
    with np.load(folder / "samples.npz") as samples:
        labels, plain = samples["labels"], samples["out:output"]
    of_plain = (plain.argmax(axis=2).ravel() == labels).mean()
    for reference in made.references.values():
        given = np.load(folder / reference.file)["out:output"]
        assert (given.argmax(axis=2).ravel() == labels).mean() > of_plain - 0.02


@pytest.mark.parametrize("variant", ["int8", "qat"])
def test_an_int8_network_computes_in_int8(folder: Path, variant: str) -> None:
    found = interpreter(folder, variant)
    kinds = {t["index"]: np.dtype(t["dtype"]) for t in found.get_tensor_details()}
    operators = {op["op_name"]: op for op in found._get_ops_details()}
    assert set(operators) >= INTEGER_OPERATORS
    for name in INTEGER_OPERATORS:
        assert kinds[operators[name]["inputs"][0]] == np.int8, name


def test_an_int16_network_has_int16_activations_and_int8_weights(folder: Path) -> None:
    found = interpreter(folder, "int16x8")
    kinds = {t["index"]: np.dtype(t["dtype"]) for t in found.get_tensor_details()}
    convolution = next(op for op in found._get_ops_details() if op["op_name"] == "CONV_2D")
    assert [kinds[i] for i in convolution["inputs"][:2]] == [np.int16, np.int8]


def test_half_of_a_pruned_networks_weights_are_zero(folder: Path) -> None:
    for kernel in kernels(folder, "pruned"):
        assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_a_clustered_networks_kernels_have_16_values(folder: Path) -> None:
    for kernel in kernels(folder, "clustered"):
        assert len(np.unique(kernel)) <= 16


def test_sizes_are_what_the_forms_are_made_for(made: ModelManifest) -> None:
    plain = made.tflite["fp32"]
    assert made.tflite["float16"].size < 0.6 * plain.size
    for variant in ("dynamic", "int8", "int16x8", "qat"):
        assert made.tflite[variant].size < 0.35 * plain.size
    for variant in ("pruned", "clustered"):
        compressed, whole = made.tflite[variant].compressed, plain.compressed
        assert compressed is not None
        assert whole is not None
        assert compressed < 0.7 * whole
