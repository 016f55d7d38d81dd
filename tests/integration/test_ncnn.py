"""Networks of ncnn: what graphs become here, and how they run on a device, vectors or none."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support import named_wheels
from tests.support.product import TARGET, Product, emulated
from toolchain.workstation import extras

MODEL = "digits-cnn"
SYSTEM = "debian13"
needs_the_extra = pytest.mark.skipif(
    not extras.present(extras.EXTRAS["ncnn"]), reason="invoke setup --extra ncnn"
)


@needs_the_extra
def test_an_operator_that_ncnn_lacks_is_named_and_the_others_keep_the_network(
    product: Product, tmp_path: Path
) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 4))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["y"])]
    graph = helper.make_graph(nodes, "net", [value], [out])
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    (made,) = product.json("convert", "--model-file", str(path))
    assert "Det" in made["missing"]["ncnn"]
    assert "ncnn" not in made["artifacts"]
    assert "onnxruntime" in made["artifacts"]


@needs_the_extra
def test_the_form_is_a_graph_and_weights_and_agrees_with_its_source(product: Product) -> None:
    (made,) = product.json("convert", "--model", MODEL)
    (artifact,) = made["artifacts"]["ncnn"]
    assert artifact["check"]["count"] == 500
    assert artifact["check"]["max_rel"] < 1e-4
    with zipfile.ZipFile(product.folder / "dist/models" / MODEL / "b1" / artifact["file"]) as net:
        assert net.namelist() == ["network.param", "network.bin"]
        assert net.read("network.param").startswith(b"7767517\n")
    (many,) = product.json("convert", "--model", MODEL, "--batch", "8")
    assert "batch 1 alone" in many["missing"]["ncnn"]


@needs_the_extra
@named_wheels.needed("ncnn", "minutes")
@pytest.mark.parametrize("cpu", ["", "rv64,v=false"])
def test_it_is_measured_on_a_device_with_vectors_and_without(product: Product, cpu: str) -> None:
    product.invoke("build-wheels", "--target", TARGET)
    product.invoke("convert", "--model", MODEL)
    with emulated(product, TARGET, SYSTEM, cpu) as on:
        product.invoke("deploy", "--model", MODEL, "--runtime", "ncnn,tflite", *on)
        found = product.json("bench", "--budget", "1", "--runtime", "ncnn", "--threads", "1,2", *on)
    assert [m["threads"] for m in found["measurements"]] == [1, 2]
    for measured in found["measurements"]:
        assert measured["error"] is None
        assert measured["parity"]["max_abs"] < 1e-4
        assert measured["accuracy"]["correct"] > 475
