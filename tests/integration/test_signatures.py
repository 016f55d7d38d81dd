"""Networks of any inputs and outputs, from their files to TVM's code of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.conversion import Bench
from toolchain.core import process
from toolchain.core.errors import ModelError
from toolchain.formats import shapes
from toolchain.models.resolve import resolve_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Value = tuple[str, int, tuple[int | str, ...] | None]

# Two inputs of ids and an image, two outputs alike, in Keras; then of it a full-integer .tflite.
KERAS = """
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
folder = Path(sys.argv[1])
keras.utils.set_random_seed(0)
image, ids = keras.Input((8, 8, 3), name="image"), keras.Input((6,), dtype="int32", name="ids")
seen = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(image))
read = keras.layers.Flatten()(keras.layers.Embedding(20, 4)(ids))
both = keras.layers.Concatenate()([seen, read])
heads = [keras.layers.Dense(5, name=name)(both) for name in ("left", "right")]
keras.Model([image, ids], heads).save(folder / "two.keras")
keras.Model([image, ids], heads).export(folder / "two-saved", verbose=False)
row = keras.Input((7, 3))
keras.Model(row, keras.layers.Bidirectional(keras.layers.GRU(5))(row)).save(folder / "gru.keras")
net = keras.Model(image, keras.layers.Dense(4)(seen))
converter = tf.lite.TFLiteConverter.from_keras_model(net)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
drawn = np.random.default_rng(0).random((8, 1, 8, 8, 3), np.float32)
converter.representative_dataset = lambda: ([x] for x in drawn)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
(folder / "bytes.tflite").write_bytes(converter.convert())
"""


def saved(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[Value], outputs: list[Value],
    **constants: np.ndarray,
) -> Path:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def tokens(folder: Path) -> Path:
    """Ids of a table of 50 rows, averaged where the mask says."""
    node = helper.make_node
    table = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    return saved(
        folder / "tokens.onnx",
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("Cast", ["mask"], ["f"], to=FLOAT),
            node("Unsqueeze", ["f", "last"], ["m"]),
            node("Mul", ["e", "m"], ["em"]),
            node("ReduceSum", ["em", "one"], ["sum"], keepdims=0),
            node("ArgMax", ["sum"], ["largest"], axis=1, keepdims=0),
        ],
        [("ids", INT64, ("batch", "length")), ("mask", INT64, ("batch", "length"))],
        [("sum", FLOAT, None), ("largest", INT64, None)],
        table=table,
        last=np.array([-1]),
        one=np.array([1]),
    )


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    process.run([sys.executable, "-c", KERAS, folder])
    return folder


def test_a_network_of_token_ids_is_compared_on_rows_of_its_table(tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    with pytest.raises(ModelError, match="open sizes") as caught:
        bench.convert(resolve_model(model_file=tokens(tmp_path)))
    assert "--shape ids=1x128,mask=1x128" in caught.value.resolution
    sizes = shapes.parsed("ids=1x12")
    made = bench.convert(resolve_model(model_file=tokens(tmp_path), shapes=sizes))
    assert [(t.name, t.shape, t.dtype) for t in made.inputs] == [
        ("ids", (1, 12), "int64"),
        ("mask", (1, 12), "int64"),
    ]
    assert [(t.name, t.shape, t.dtype) for t in made.outputs] == [
        ("sum", (1, 16), "float32"),
        ("largest", (1,), "int64"),
    ]
    assert made.samples.origins == {
        "ids": "indices below 50",
        "mask": "a mask: ones, then zeros",
    }
    compiled = bench.compile("tokens")
    assert [output.name for output in compiled.checks[-1].outputs] == ["sum", "largest"]


def test_what_stands_beside_a_model_says_its_shape_and_samples(tmp_path: Path) -> None:
    file = tokens(tmp_path)
    ids = np.arange(24).reshape(3, 8)
    np.savez(tmp_path / "some.npz", ids=ids, mask=np.ones((3, 8), np.int64))
    (tmp_path / "tokens.toml").write_text('samples = "some.npz"\n[shape]\nids = "1x8"\n')
    made = Bench(root=tmp_path).convert(resolve_model(model_file=file))
    assert made.samples.count == 3
    with np.load(tmp_path / "models/tokens/b1/samples.npz") as samples:
        assert samples["in:ids"].tolist() == ids.reshape(3, 1, 8).tolist()


def test_an_operator_that_one_runtime_lacks_leaves_the_others(tmp_path: Path) -> None:
    """ONNX Runtime has an LSTM with its state; TVM's importer says which node it can't take."""
    gates = {
        name: np.full((1, *shape), 0.1, np.float32)
        for name, shape in {"w": (24, 5), "r": (24, 6), "b": (48,)}.items()
    }
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "hn", "cn"], hidden_size=6
    )
    states: list[Value] = [(name, FLOAT, (1, 1, 6)) for name in ("h", "c")]
    file = saved(
        tmp_path / "lstm.onnx",
        [node],
        [("x", FLOAT, (4, 1, 5)), *states],
        [("y", FLOAT, None), ("hn", FLOAT, None), ("cn", FLOAT, None)],
        **gates,
    )
    made = Bench(root=tmp_path).convert(resolve_model(model_file=file))
    assert made.batch == 1
    assert [t.name for t in made.outputs] == ["y", "hn", "cn"]
    assert made.outputs[0].shape == (4, 1, 1, 6)


@pytest.mark.parametrize("name", ["two.keras", "two-saved"])
def test_outputs_alike_are_told_apart_in_every_form(
    keras_files: Path, tmp_path: Path, name: str
) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(resolve_model(model_file=keras_files / name))
    assert {t.name for t in made.inputs} == {"image", "ids"}
    assert {check.stage for check in made.checks} == {"onnx", "tflite"}
    assert all(check.max_rel < 1e-4 for check in made.checks)
    assert len(bench.compile(made.model).checks[-1].outputs) == 2


def test_recurrent_layers_of_keras_are_converted(keras_files: Path, tmp_path: Path) -> None:
    made = Bench(root=tmp_path).convert(resolve_model(model_file=keras_files / "gru.keras"))
    assert {check.stage for check in made.checks} == {"onnx", "tflite"}


def test_a_full_integer_file_is_used_as_it_is(keras_files: Path, tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(resolve_model(model_file=keras_files / "bytes.tflite"))
    (given,), (scores,) = made.inputs, made.outputs
    assert (given.dtype, scores.dtype) == ("uint8", "uint8")
    assert scores.quantization is not None
    assert made.samples.origins == {"input": "photographs"}
    assert bench.compile("bytes").checks[-1].top1_agreement is not None
