"""Networks with state, from their files to TVM's code of this machine, in sequences."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.conversion import Bench
from toolchain.core import process
from toolchain.core.errors import UsageError
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import PLAIN

HIDDEN, FRAME = 6, 5
FEEDS = {"h": "hn", "c": "cn"}

KERAS = """
import sys
import keras
keras.utils.set_random_seed(0)
x = keras.Input((1, 5), name="frame")
h, c = keras.Input((6,), name="h"), keras.Input((6,), name="c")
seen, hn, cn = keras.layers.LSTM(6, return_state=True)(x, initial_state=[h, c])
score = keras.layers.Dense(1, activation="sigmoid", name="score")(seen)
outputs = {"score": score, "hn": keras.layers.Identity(name="hn")(hn),
           "cn": keras.layers.Identity(name="cn")(cn)}
keras.Model([x, h, c], list(outputs.values())).save(sys.argv[1])
"""


def cell(path: Path, rows: int = 1) -> Path:
    """An LSTM with its state outside of it; `rows` is that of what `hn` holds."""
    random = np.random.default_rng(0)
    gates = {
        name: random.standard_normal((1, *shape)).astype(np.float32)
        for name, shape in {"w": (24, FRAME), "r": (24, HIDDEN), "b": (48,)}.items()
    }
    node = helper.make_node
    made = "hn" if rows == 1 else "one"
    nodes = [node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", made, "cn"], hidden_size=6)]
    nodes += [node("Concat", [made] * rows, ["hn"], axis=0)] if rows > 1 else []
    state = (1, 1, HIDDEN)
    graph = helper.make_graph(
        nodes,
        "cell",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, FRAME)),
            *(helper.make_tensor_value_info(n, TensorProto.FLOAT, state) for n in FEEDS),
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "hn", "cn")],
        [numpy_helper.from_array(value, name) for name, value in gates.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def described(file: Path, text: str) -> ModelSpec:
    file.with_suffix(".toml").write_text(text)
    return resolve_model(model_file=file)


def test_a_state_that_names_say_goes_through_sequences(tmp_path: Path) -> None:
    bench, steps = Bench(root=tmp_path), list[str]()
    made = bench.convert(resolve_model(model_file=cell(tmp_path / "cell.onnx")), steps=steps)
    assert made.state is not None
    assert dict(made.state.inputs) == FEEDS
    assert "state: hn goes to h, cn goes to c; in sequences of 8 steps" in steps
    assert made.samples.count == 16
    assert made.samples.origins["h"].startswith("zeros, then what hn was")
    with np.load(tmp_path / "models/cell/b1/samples.npz") as arrays:
        h, hn = arrays["in:h"], arrays["out:hn"]
    assert not h[[0, 8]].any()
    assert np.array_equal(h[1:8], hn[:7])
    assert np.abs(hn[7] - hn[0]).max() > 0.01
    assert len(bench.compile("cell").checks[-1].outputs) == 3


def test_a_state_is_said_beside_the_model_or_said_not_to_be(tmp_path: Path) -> None:
    bench, file = Bench(root=tmp_path), cell(tmp_path / "cell.onnx")
    h = np.full((1, 1, HIDDEN), 0.5, np.float32)
    np.savez(tmp_path / "some.npz", x=np.ones((3, 1, 1, FRAME), np.float32), c=h)
    made = bench.convert(described(file, 'samples = "some.npz"\n[state]\nc = "hn"\nh = "hn"\n'))
    assert made.state is not None
    assert dict(made.state.inputs) == {"c": "hn", "h": "hn"}
    with np.load(tmp_path / "models/cell/b1/samples.npz") as arrays:
        assert np.array_equal(arrays["in:c"], [h, *arrays["out:hn"][:2]])
        assert np.array_equal(arrays["in:h"], [0 * h, *arrays["out:hn"][:2]])
    assert bench.convert(described(file, "[state]\n")).state is None


@pytest.mark.parametrize(
    ("pair", "rows", "said"),
    [
        ('hx = "hn"', 1, r"\[state\] names hx, which is no input of the model"),
        ('h = "state"', 1, r"\[state\] names state, which is no output of the model"),
        ('h = "hn"', 2, r"does not fit: h is float32 \(1, 1, 6\), hn is float32 \(2, 1, 6\)"),
    ],
)
def test_a_state_that_cannot_be_is_refused(tmp_path: Path, pair: str, rows: int, said: str) -> None:
    bench = Bench(root=tmp_path)
    with pytest.raises(UsageError, match=said):
        bench.convert(described(cell(tmp_path / "cell.onnx", rows), f"[state]\n{pair}\n"))
    assert not bench.out.exists()
    assert bench.left_over() == []


def test_what_names_alone_say_is_left_where_it_does_not_fit(tmp_path: Path) -> None:
    made = Bench(root=tmp_path).convert(resolve_model(model_file=cell(tmp_path / "c.onnx", 2)))
    assert made.state is not None
    assert dict(made.state.inputs) == {"c": "cn"}


def test_a_keras_network_with_state_keeps_it_in_every_form(tmp_path: Path) -> None:
    process.run([sys.executable, "-c", KERAS, tmp_path / "voice.keras"])
    bench = Bench(root=tmp_path)
    made = bench.convert(resolve_model(model_file=tmp_path / "voice.keras"))
    assert made.state is not None
    assert dict(made.state.inputs) == FEEDS
    assert {(check.stage, check.variant) for check in made.checks} == {
        ("onnx", PLAIN),
        ("tflite", PLAIN),
    }
    assert all(check.max_rel < 1e-4 for check in made.checks)
    assert bench.compile("voice").checks[-1].max_rel < 1e-4
