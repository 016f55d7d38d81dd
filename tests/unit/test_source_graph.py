"""Which form of a network a compilation imports, and what is said where it can't import any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support import tflite_models
from tests.support.conversion import joined
from tests.support.manifests import a_manifest
from tests.support.networks import model
from tests.support.quantized_operators import RELU, steps, unary
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain import matrix, targets
from toolchain.bundle import compiled_models
from toolchain.compile import compilation, compilation_job
from toolchain.compile.importing import graph_import, preparation
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.store import Store
from toolchain.formats import signature
from toolchain.formats.graphs import onnx_graph
from toolchain.models import manifest, place
from toolchain.models.manifest import ModelManifest

SHAPE = (1, 8)
IN_STEPS = unary("RESHAPE", steps(*SHAPE), steps(*SHAPE), shape=np.array(SHAPE, np.int32))
IN_FLOATS = unary("RELU", Tensor(shape=SHAPE, kind="float32"), Tensor(shape=SHAPE, kind="float32"))
UNKNOWN = unary("ABS", steps(*SHAPE), steps(*SHAPE))
REFUSED = "the converted model disagrees with its source"


def dense() -> bytes:
    """A layer of 8 by 4 in int8, with a ReLU."""
    weights = np.random.default_rng(4).integers(-127, 128, (4, 8)).astype(np.int8)
    return tflite_models.model(
        {
            "x": steps(*SHAPE),
            "w": constant(weights, [0.01, 0.02, 0.03, 0.04]),
            "y": steps(1, 4, scale=0.2, zero=-90),
        },
        [
            Operator(
                name="FULLY_CONNECTED", inputs=["x", "w"], outputs=["y"],
                options="FullyConnectedOptions", settings={"fusedActivationFunction": RELU},
            )
        ],
    )  # fmt: skip


def graph(*nodes: onnx.NodeProto, **constants: np.ndarray[Any, Any]) -> onnx.ModelProto:
    return model([*nodes], SHAPE, constants)


def written(
    folder: Path, content: bytes | None, graph: onnx.ModelProto | None = None, outputs: int = 8
) -> ModelManifest:
    """A converted model of these forms; one without an ONNX graph says why."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.npz").touch()
    forms: dict[str, object] = {"onnx": None, "missing": {"onnx": REFUSED}}
    if graph is not None:
        onnx.save(graph, folder / "model.onnx")
        forms = {"onnx": manifest.record(folder, "model.onnx")}
    if content is not None:
        (folder / "fp32.tflite").write_bytes(content)
        forms["tflite"] = {"fp32": manifest.record_tflite(folder, "fp32.tflite")}
    kind: signature.Dtype = "float32" if content in (None, IN_FLOATS) else "int8"
    made = a_manifest().model_copy(
        update={
            "inputs": [signature.Tensor(name="x", shape=SHAPE, dtype=kind)],
            "outputs": [signature.Tensor(name="y", shape=(1, outputs), dtype=kind)],
            "samples": a_manifest().samples.model_copy(
                update={"sha256": manifest.record(folder, "samples.npz").sha256}
            ),
            **forms,
        }
    )
    made.save(folder)
    return made


def source(made: ModelManifest, folder: Path) -> SourceGraph:
    return preparation.source_graph(made, folder, "fp32", Store(folder / "cache"), what="a test")


def imported(of: SourceGraph) -> tuple[str, list[str]]:
    """What activations are, and the steps that were told."""
    told: list[str] = []
    found = graph_import.imported(of, compilation_job.host_target(), 3, told.append)
    return found.arithmetic, told


def test_a_form_in_integers_needs_no_onnx_graph(tmp_path: Path) -> None:
    made = written(tmp_path, IN_STEPS)
    assert [file.file for file in preparation.files(made, "fp32")] == ["fp32.tflite"]
    kind, told = imported(source(made, tmp_path))
    assert (kind, told) == (onnx_graph.INTEGERS, ["importing the quantised TFLite form"])


def test_an_onnx_graph_that_is_refused_takes_nothing_from_the_other_form(tmp_path: Path) -> None:
    refused = graph(
        helper.make_node("Cast", ["x"], ["wide"], to=onnx.TensorProto.UINT64),
        helper.make_node("TopK", ["wide", "k"], ["y", "places"]),
        k=np.array([2], np.int64),
    )
    found = source(written(tmp_path, IN_STEPS, refused), tmp_path)
    assert found.onnx is None
    assert "TopK" in found.unmade
    assert imported(found)[0] == onnx_graph.INTEGERS
    with pytest.raises(ModelError, match="TopK"):
        source(written(tmp_path, None, refused), tmp_path)


@pytest.mark.parametrize(
    ("content", "why"), [(IN_FLOATS, "computes in floats"), (UNKNOWN, "operator ABS")]
)
def test_what_is_not_computed_in_integers_is_imported_by_its_onnx_graph(
    tmp_path: Path, content: bytes, why: str
) -> None:
    relu = graph(helper.make_node("Relu", ["x"], ["y"]))
    kind, (told,) = imported(source(written(tmp_path, content, relu), tmp_path))
    assert kind == onnx_graph.FLOAT32
    assert why in told
    with pytest.raises(ModelError, match="TVM can't import the model") as caught:
        imported(source(written(tmp_path, content), tmp_path))
    assert why in caught.value.detail
    assert f"no ONNX graph: {REFUSED}" in caught.value.detail


def test_a_variant_that_was_not_made_is_told_with_what_to_type(tmp_path: Path) -> None:
    made = written(tmp_path, IN_STEPS)
    with pytest.raises(UsageError, match="variant int8 was not made") as caught:
        preparation.files(made, "int8")
    assert "invoke convert --model net --variant int8" in caught.value.resolution


def test_another_file_or_another_order_is_another_source(tmp_path: Path) -> None:
    made = written(tmp_path, IN_STEPS)
    again = written(tmp_path / "again", UNKNOWN)
    form = made.tflite["fp32"].model_copy(update={"inputs": ["x"]})
    turned = made.model_copy(update={"tflite": {"fp32": form}})
    keys = [preparation.identity(one, "fp32") for one in (made, again, turned)]
    assert keys[0] != keys[1] != keys[2] != keys[0]


def test_a_library_is_made_and_checked_without_an_onnx_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    folder, content = place.folder_of("net", 1), dense()
    made = written(folder, content, outputs=4)
    given = np.random.default_rng(1).integers(-128, 128, (8, *SHAPE)).astype(np.int8)
    expected = [tflite_models.reference(content, [one])[0] for one in given]
    arrays = {"in:x": given, "out:y": np.stack(expected)}
    np.savez(folder / "samples.npz", allow_pickle=False, **arrays)
    samples = manifest.record(folder, "samples.npz")
    kept = {**made.samples.model_dump(), **samples.model_dump()}
    made.model_copy(update={"samples": manifest.Samples(**kept)}).save(folder)
    made = ModelManifest.load(folder)
    target = targets.target("rv64gc")
    assert matrix.planned([(folder, made)], ["fp32"], [3])
    compiled = compilation.compile_model(
        folder,
        target,
        linker=compilation.Linker(identity="", link=joined, image=lambda: ""),
        cache=Store(tmp_path / "cache"),
    )
    (check,) = [one for one in compiled.checks if one.opt_level == 3]
    assert (check.max_abs, check.count) == (0, 8)
    assert compiled.libraries["rv64gc"]["O3"].size > 0
    assert compiled.missing == {"onnx": REFUSED}
    assert compiled_models.chosen(target, ["net"], ["tvm"]) == [compiled]


@pytest.mark.usefixtures("own_output")
def test_a_network_without_a_graph_goes_to_the_other_runtimes_uncompiled() -> None:
    made = written(place.folder_of("net", 1), IN_STEPS)
    assert compiled_models.chosen(targets.target("rv64gc"), ["net"]) == [made]
