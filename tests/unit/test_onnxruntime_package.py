"""The Python package of our ONNX Runtime wheel, over the library that PyPI's wheel has for here."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from toolchain.wheels.recipe import RECIPES

PACKAGE = RECIPES / "onnxruntime_files" / "onnxruntime"
NAME = PACKAGE.name


def _taken_out() -> dict[str, Any]:
    """What is loaded under the package's name, which is no longer."""
    names = [name for name in sys.modules if name.split(".")[0] == NAME]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package, imported from a copy beside the library."""
    files = importlib.metadata.files(NAME) or []
    library = next(f for f in files if f.name.startswith("libonnxruntime.so"))
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, folder / NAME)
    (folder / NAME / "libonnxruntime.so").symlink_to(Path(str(library.locate())).resolve())
    theirs = _taken_out()
    sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(NAME)
        assert str(found.__file__).startswith(str(folder))
        yield found
    finally:
        sys.path.remove(str(folder))
        _taken_out()
        sys.modules.update(theirs)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> bytes:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs))
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(made.SerializeToString())


def tensor(name: str, of: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, of, shape)


def identity(of: int, shape: Sequence[int | str]) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [tensor("x", of, shape)], [tensor("y", of, shape)])


def added() -> bytes:
    """The sum of x and b, with rows of which there may be any number, and the sum of all."""
    nodes = [
        helper.make_node("Add", ["x", "b"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["s"], keepdims=0),
    ]
    inputs = [tensor("x", TensorProto.FLOAT, ["rows", 3]), tensor("b", TensorProto.FLOAT, [])]
    outputs = [tensor("y", TensorProto.FLOAT, ["rows", 3]), tensor("s", TensorProto.FLOAT, [])]
    return model(nodes, inputs, outputs)


X = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.float32(0.5)


@pytest.fixture(scope="module")
def session(ours: Any) -> Any:
    """A session of `added`."""
    make = ours.InferenceSession
    return make(added(), providers=["CPUExecutionProvider"])


ARRAYS = ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


@pytest.mark.parametrize("shape", [(), (0, 2), (3,), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [*ARRAYS, *UNSIGNED])
def test_each_type_of_elements_comes_out_as_it_went_in(
    ours: Any, dtype: str, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    make = ours.InferenceSession
    (got,) = make(identity(helper.np_dtype_to_tensor_dtype(given.dtype), shape)).run(
        None, {"x": given}
    )
    assert (got.dtype, got.shape) == (given.dtype, given.shape)
    assert np.array_equal(got, given)


def test_inputs_and_outputs_are_described_as_the_model_has_them(session: Any) -> None:
    found = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    assert found == [("x", "tensor(float)", ["rows", 3]), ("b", "tensor(float)", [])]
    assert [one.name for one in session.get_outputs()] == ["y", "s"]


def test_all_outputs_come_in_order_or_those_that_are_named(session: Any) -> None:
    feed = {"x": X, "b": B}
    both = session.run(None, feed)
    assert np.array_equal(both[0], X + B)
    assert both[1] == np.float32(18.0)
    (alone,) = session.run(["s"], feed)
    assert alone == both[1]


@pytest.mark.parametrize(
    "given",
    [np.asfortranarray(X), X.astype(">f4"), np.repeat(X, 2, axis=0)[::2], X[:, ::-1][:, ::-1]],
    ids=["Fortran's order", "big-endian", "every other row", "turned twice"],
)
def test_an_array_is_read_whatever_its_layout(session: Any, given: np.ndarray) -> None:
    (got, _) = session.run(None, {"x": given, "b": B})
    assert np.array_equal(got, X + B)


def test_an_output_is_not_overwritten_by_the_next_run(session: Any) -> None:
    (first, _) = session.run(None, {"x": X, "b": B})
    session.run(None, {"x": X * 9, "b": B})
    assert np.array_equal(first, X + B)


@pytest.mark.parametrize(
    ("feed", "kind", "words"),
    [
        ({"x": X}, "ValueError", "missing from the feed: b"),
        ({"x": X, "b": B, "c": B}, "InvalidArgument", "Invalid input name: c"),
        ({"x": X.astype(np.float64), "b": B}, "InvalidArgument", r"tensor\(double\)"),
        ({"x": X[:, :2], "b": B}, "InvalidArgument", "Got: 2 Expected: 3"),
        ({"x": np.array(["a"]), "b": B}, "NotImplemented", "arrays of <U1 are not taken"),
        ({"x": np.array([None]), "b": B}, "NotImplemented", "arrays of object"),
        ({"x": X.astype(np.complex64), "b": B}, "NotImplemented", "arrays of complex64"),
    ],
    ids=["missing", "unknown", "type", "shape", "text", "objects", "complex"],
)
def test_a_feed_that_does_not_fit_is_an_error_in_the_librarys_words(
    ours: Any, session: Any, feed: dict[str, np.ndarray], kind: str, words: str
) -> None:
    with pytest.raises(getattr(ours, kind, ValueError), match=words):
        session.run(None, feed)


def test_an_unknown_output_is_an_error(ours: Any, session: Any) -> None:
    with pytest.raises(ours.InvalidArgument, match="no output is named z"):
        session.run(["y", "z"], {"x": X, "b": B})


@pytest.mark.parametrize(
    ("given", "kind"),
    [("absent.onnx", "NoSuchFile"), (b"no model", "InvalidProtobuf"), (b"", "InvalidArgument")],
)
def test_what_is_no_model_is_refused(ours: Any, given: str | bytes, kind: str) -> None:
    make = ours.InferenceSession
    with pytest.raises(getattr(ours, kind), match="ONNXRuntimeError") as caught:
        make(given)
    assert isinstance(caught.value, ours.OnnxRuntimeError)


def test_an_operator_that_there_is_not_is_named(ours: Any) -> None:
    node = helper.make_node("Unheard", ["x"], ["y"])
    ends = [tensor("x", TensorProto.FLOAT, [1])], [tensor("y", TensorProto.FLOAT, [1])]
    make = ours.InferenceSession
    with pytest.raises(ours.OnnxRuntimeError, match="Unheard"):
        make(model([node], *ends))


def test_texts_and_sequences_are_told_and_not_run(ours: Any) -> None:
    make = ours.InferenceSession
    texts = make(identity(TensorProto.STRING, [1]))
    assert texts.get_inputs()[0].type == "tensor(string)"
    with pytest.raises(ours.NotImplemented, match="not taken"):
        texts.run(None, {"x": np.array(["a"], dtype=object)})
    node = helper.make_node("SequenceConstruct", ["x"], ["q"])
    sequence = helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)
    listed = make(model([node], [tensor("x", TensorProto.FLOAT, [1])], [sequence]))
    assert (listed.get_outputs()[0].type, listed.get_outputs()[0].shape) == ("seq", [])
    with pytest.raises(ours.NotImplemented, match="q is none"):
        listed.run(None, {"x": np.zeros(1, np.float32)})


def test_a_file_is_read_as_its_bytes_are(ours: Any, tmp_path: Path) -> None:
    (tmp_path / "ä b.onnx").write_bytes(added())
    make = ours.InferenceSession
    (got, _) = make(tmp_path / "ä b.onnx").run(None, {"x": X, "b": B})
    assert np.array_equal(got, X + B)


def test_options_reach_the_library(ours: Any, tmp_path: Path) -> None:
    options = ours.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ours.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = ours.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False
    options.add_free_dimension_override_by_name("rows", 2)
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    make = ours.InferenceSession
    session = make(added(), options)
    session.run(None, {"x": X, "b": B})
    assert session.get_inputs()[0].shape == [2, 3]
    events = json.loads(Path(session.end_profiling()).read_text())
    assert {event["cat"] for event in events} >= {"Session", "Node"}
    assert len(onnx.load(tmp_path / "optimised.onnx").graph.node) == 2
    assert session.get_session_options() is options
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"


def test_an_option_that_there_is_not_and_a_value_that_does_not_fit_are_refused(ours: Any) -> None:
    options = ours.SessionOptions()
    with pytest.raises(AttributeError):
        options.intra_op_threads = 1
    options.graph_optimization_level = 7
    make = ours.InferenceSession
    with pytest.raises(ours.OnnxRuntimeError):
        make(added(), options)
    options.graph_optimization_level, options.intra_op_num_threads = 0, "2"
    with pytest.raises(TypeError):
        make(added(), options)


def test_a_provider_that_there_is_not_is_told(ours: Any) -> None:
    assert "CPUExecutionProvider" in ours.get_available_providers()
    make = ours.InferenceSession
    with pytest.warns(UserWarning, match="CUDAExecutionProvider is not available"):
        session = make(added(), providers=[("CUDAExecutionProvider", {}), "CPUExecutionProvider"])
    assert "CPUExecutionProvider" in session.get_providers()


def test_threads_share_a_session(session: Any) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            (got, _) = session.run(None, {"x": X * number, "b": B})
            if not np.array_equal(got, X * number + B):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_library_that_is_not_there_or_is_none_is_an_import_error(
    ours: Any, tmp_path: Path
) -> None:
    with pytest.raises(ImportError, match=r"absent\.so"):
        ours.c_api.Library(tmp_path / "absent.so")
    with pytest.raises(ImportError, match="OrtGetApiBase"):
        ours.c_api.Library(Path("libc.so.6"))
    assert ours.__version__.count(".") == 2
