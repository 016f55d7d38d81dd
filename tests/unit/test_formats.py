"""The kinds of model file: one module each, told apart by name, and light until one is read."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.worker_jobs import IMPORTED_BY_CONVERSION
from toolchain import formats
from toolchain.convert.requests import ConversionRequest, Part
from toolchain.core import paths, process, worker
from toolchain.core.errors import ModelError
from toolchain.formats import onnx_file
from toolchain.models.resolve import resolve_model

FOLDER = paths.ROOT / "toolchain" / "formats"


def an_onnx_file(path: Path) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 4))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 4))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [value], [out])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_every_kind_is_a_module_of_the_folder_and_no_two_claim_a_suffix() -> None:
    known = formats.all_formats()
    assert {"frozen", "keras", "onnx", "pytorch", "savedmodel", "tflite"} <= set(known)
    suffixes = [suffix for one in known.values() for suffix in one.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert {one.code.parent for one in known.values()} == {FOLDER}
    assert all(one.suffixes or one.marker for one in known.values())


def test_only_a_kinds_own_module_spells_its_suffix_or_marker() -> None:
    known = formats.all_formats().values()
    # what conversion makes has these suffixes too
    ours = {".onnx", ".tflite"}
    marks = {mark for one in known for mark in (*one.suffixes, one.marker) if mark} - ours
    spelt = {
        path
        for top in ("toolchain", "deploy")
        for path in (paths.ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in marks
    }
    assert spelt
    own = {one.code for one in known}
    assert spelt <= own, "a new kind needs a suffix that nothing else has"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.onnx", "onnx"),
        ("a.keras", "keras"),
        ("a.h5", "keras"),
        ("a.hdf5", "keras"),
        ("a.tflite", "tflite"),
        ("a.pt2", "pytorch"),
        ("a.pb", "frozen"),
    ],
)
def test_a_file_is_told_by_its_suffix(name: str, kind: str) -> None:
    assert formats.format_of(Path(name)).name == kind


def test_a_saved_model_is_told_by_what_is_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"saved_model\.pb") as caught:
        formats.format_of(tmp_path)
    assert "model.export()" in caught.value.resolution
    (tmp_path / "saved_model.pb").touch()
    assert formats.format_of(tmp_path).name == "savedmodel"


def test_weights_beside_an_onnx_file_are_part_of_it(tmp_path: Path) -> None:
    path = an_onnx_file(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "w"))
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    before = onnx_file.FORMAT.digest(path)
    (tmp_path / "net.data").write_bytes(b"\1" * 16)
    assert onnx_file.FORMAT.digest(path) != before
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match=r"its weights are in net\.data"):
        onnx_file.FORMAT.digest(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname"])
def test_an_onnx_file_reads_nothing_outside_of_its_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    (tmp_path / "theirs").mkdir()
    path = an_onnx_file(tmp_path / "theirs" / "net.onnx")
    model = onnx.load(path)
    weights = model.graph.initializer.add()
    weights.CopyFrom(numpy_helper.from_array(np.ones(4, np.float32), "w"))
    onnx.external_data_helper.set_external_data(weights, location)
    weights.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="names a file outside of its folder"):
        resolve_model(model_file=path)


def weights_beside(name: str = "w") -> onnx.TensorProto:
    """A tensor whose values stand in net.data."""
    weights = numpy_helper.from_array(np.ones(4, np.float32), name)
    onnx.external_data_helper.set_external_data(weights, "net.data")
    weights.ClearField("raw_data")
    return weights


def in_a_constant(model: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=weights_beside())
    model.graph.node.append(constant)


def in_a_list_of_tensors(model: onnx.ModelProto) -> None:
    attribute = helper.make_attribute("several", [weights_beside()])
    model.graph.node[0].attribute.append(attribute)


def in_a_graph_inside_a_node(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [weights_beside()])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def in_a_constant_of_a_graph_inside_a_node(model: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=weights_beside())
    inner = helper.make_graph([constant], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("bodies", [inner]))


def in_a_function(model: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=weights_beside())
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "f", [], ["w"], [constant], opsets))


def in_a_sparse_tensor(model: onnx.ModelProto) -> None:
    places = numpy_helper.from_array(np.arange(4), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(weights_beside(), places, [8]))


@pytest.mark.parametrize(
    "put",
    [
        in_a_constant,
        in_a_list_of_tensors,
        in_a_graph_inside_a_node,
        in_a_constant_of_a_graph_inside_a_node,
        in_a_function,
        in_a_sparse_tensor,
    ],
    ids=lambda put: str(put.__name__),
)
def test_weights_beside_it_are_part_of_it_wherever_it_names_them(
    tmp_path: Path, put: Callable[[onnx.ModelProto], None]
) -> None:
    path = an_onnx_file(tmp_path / "net.onnx")
    model = onnx.load(path)
    put(model)
    path.write_bytes(model.SerializeToString())
    (tmp_path / "net.data").write_bytes(bytes(16))
    before = onnx_file.FORMAT.digest(path)
    (tmp_path / "net.data").write_bytes(b"\1" * 16)
    assert onnx_file.FORMAT.digest(path) != before
    (tmp_path / "net.data").unlink()
    (tmp_path / "net.data").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="names a file outside of its folder"):
        onnx_file.FORMAT.digest(path)


def test_weights_of_more_than_a_graph_can_hold_are_refused_before_they_are_read(
    tmp_path: Path,
) -> None:
    path = an_onnx_file(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(weights_beside())
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "net.data").open("wb") as file:
        file.truncate(2**31)  # a hole: it takes no space
    with pytest.raises(ModelError, match="more than 2 GiB") as caught:
        resolve_model(model_file=path)
    assert "net.data: 2.00 GiB" in caught.value.detail


def test_listing_the_kinds_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "keras", "torch", "onnx", "onnxruntime", "numpy", "pydantic", "filelock")
    script = (
        "import sys; from toolchain import formats; formats.titles(); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    assert text.strip() == "[]", "import it in the function that uses it"


def test_an_onnx_file_is_converted_without_tensorflow_and_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))  # no extra is installed there
    folder = tmp_path / "made"
    folder.mkdir()
    request = ConversionRequest(
        spec=resolve_model(model_file=an_onnx_file(tmp_path / "net.onnx")),
        batch=2,
        weights=Part(),
        folder=folder,
    )
    imported = worker.call(IMPORTED_BY_CONVERSION, request, what="converting")
    assert "onnxruntime" in imported.modules
    assert {"tensorflow", "keras", "tf2onnx", "torch"} & set(imported.modules) == set()
    assert (folder / "model.onnx").is_file()
