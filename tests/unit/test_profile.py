"""What each operator takes: as the runtimes tell it, an inference, and by what they compute."""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from edgewright_runner import backends
from edgewright_runner.backends import Operator
from edgewright_runner.backends import tvm as tvm_backend
from edgewright_runner.job import DEFAULTS, Reporter, measure
from onnx import TensorProto, helper

from deploy.measure import bench, profile
from tests.support import measured
from toolchain.core.errors import BenchError
from toolchain.results.measurement import Measurement, Result

ITS = {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with a graph of two additions and a matrix product, and its samples."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, (64, 64), np.ones(64 * 64, np.float32))
    graph = helper.make_graph(
        [
            helper.make_node("Sin", ["x"], ["a"], name="first"),
            helper.make_node("MatMul", ["a", "w"], ["b"], name="product"),
            helper.make_node("Sin", ["b"], ["y"], name="second"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 64))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 64))],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "net.onnx")
    x = np.ones((3, 64), np.float32)
    np.savez(tmp_path / "samples.npz", x=x, reference=x)
    return tmp_path


def job(release: Path, **changes: object) -> dict[str, Any]:
    return {
        **DEFAULTS, "release": str(release), "file": "net.onnx", "samples": "samples.npz",
        "batch": 1, "threads": 1, "runtime": "onnxruntime", "signature": ITS, "profiled": 4,
        **changes,
    }  # fmt: skip


def answered(job: dict[str, Any]) -> dict[str, Any]:
    """The parts of the answer to a job."""
    stream = io.StringIO()
    measure(job, Reporter(stream))
    parts: dict[str, Any] = {}
    for line in stream.getvalue().splitlines():
        parts.update(json.loads(line).get("part", {}))
    return parts


def test_the_nodes_of_a_real_session_are_told_an_inference(release: Path) -> None:
    parts = answered(job(release))
    operators = {one["name"]: one for one in parts["operators"]}
    assert {name: one["kind"] for name, one in operators.items()} == {
        "first": "Sin", "product": "MatMul", "second": "Sin",
    }  # fmt: skip
    assert {one["calls"] for one in operators.values()} == {1.0}
    assert "samples_ns" not in parts, "a runtime that tells is not timed"
    assert list(release.glob("*profile*")) == []


def test_a_runtime_that_does_not_tell_says_so(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = SimpleNamespace()
    monkeypatch.setattr(backends, "open_runtime", lambda *_: silent)
    with pytest.raises(ValueError, match="tflite doesn't tell what each operator takes"):
        answered(job(release, runtime="tflite"))


def test_a_call_does_not_take_what_calls_within_it_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 10, 40, 100, 100, 107])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(clock))
    watch = tvm_backend.Watch()
    assert watch(None, "main", True, None) == 0
    watch(None, "fused_conv2d_add3", True, None)
    watch(None, "fused_conv2d_add3", False, None, "an argument")
    watch(None, "main", False, None)
    watch(None, "vm.builtin.reshape", True, None)
    watch(None, "vm.builtin.reshape", False, None)
    assert watch.took == {"main": [70], "fused_conv2d_add3": [30], "vm.builtin.reshape": [7]}


def test_functions_of_tvm_are_of_the_kind_that_their_number_is_left_off() -> None:
    backend = tvm_backend.Backend.__new__(tvm_backend.Backend)
    backend.observe()
    assert backend._watch is not None
    backend._watch.took = {
        "fused_conv2d32_add12_relu": [5], "matmul": [6], "vm.builtin.reshape": [7],
        "max_pool2d_3": [8],
    }  # fmt: skip
    assert backend.observed() == [
        Operator("fused_conv2d32_add12_relu", "fused_conv2d_add_relu", [5]),
        Operator("matmul", "matmul", [6]),
        Operator("vm.builtin.reshape", tvm_backend.OWN, [7]),
        Operator("max_pool2d_3", "max_pool2d", [8]),
    ]


def test_the_first_run_is_taken_out_of_the_means_that_openvino_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = iter([28, 4, 5, 6])  # microseconds of a node
    took: list[int] = []

    def nodes() -> list[SimpleNamespace]:
        mean = timedelta(microseconds=sum(took) // len(took))
        return [
            SimpleNamespace(node_name="c", node_type="Convolution", real_time=mean),
            SimpleNamespace(node_name="w", node_type="Constant", real_time=timedelta(0)),
        ]

    request = SimpleNamespace(infer=lambda: took.append(next(runs)), get_profiling_info=nodes)
    compiled = SimpleNamespace(inputs=[], outputs=[], create_infer_request=lambda: request)
    told: dict[str, Any] = {}

    def compile_model(_model: str, _device: str, settings: dict[str, Any]) -> SimpleNamespace:
        told.update(settings)
        return compiled

    module = ModuleType("openvino")
    core = SimpleNamespace(read_model=lambda path: path, compile_model=compile_model)
    vars(module).update(Core=lambda: core)
    monkeypatch.setitem(sys.modules, "openvino", module)
    backend = backends.observable("openvino", backends.open_runtime("openvino", 1))
    backend.observe()
    backend.load("net.onnx")
    assert told["PERF_COUNT"] is True
    backend.run()
    assert backend.observed() == [Operator("c", "Convolution", [28_000])]
    for _ in range(3):
        backend.run()
    # 43 in four are 10 each in whole numbers, 40 less the first one's 28
    assert backend.observed() == [Operator("c", "Convolution", [28_000, 4_000, 4_000, 4_000])]


def an_answer(*operators: tuple[str, str, float, float]) -> Measurement:
    keys = ("name", "kind", "calls", "took_ns")
    return measured.measurement(operators=[dict(zip(keys, one, strict=True)) for one in operators])


def test_kinds_are_summed_and_those_that_took_most_come_first() -> None:
    found = profile.by_kind(
        an_answer(("a", "Conv", 1, 30.0), ("b", "Relu", 2, 20.0), ("c", "Conv", 1, 50.0))
    )
    assert [(one.kind, one.calls, one.took_ns, one.share) for one in found] == [
        ("Conv", 2, 80.0, 0.8), ("Relu", 2, 20.0, 0.2),
    ]  # fmt: skip
    assert found[0].slowest == "c"


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_runner_that_knows_of_no_operators_is_told_from_one_that_failed(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = measured.measurement() if status == "ok" else measured.failed()
    attempt = bench.Attempt(result=measured.result(answer), planned=1, failure=None, noise=[])
    monkeypatch.setattr(bench, "measured", lambda *_, **__: attempt)

    def asked() -> Result:
        return profile.profiled(
            cast("Any", None), host="board", release="current", emulated=False, jobs=[],
            inferences=1, progress=lambda _: None,
        )  # fmt: skip

    if status == "ok":
        with pytest.raises(BenchError, match="earlier version") as caught:
            asked()
        assert "deploy again" in caught.value.resolution
    else:
        assert asked() == attempt.result


def test_operators_that_took_nothing_have_no_share() -> None:
    (only,) = profile.by_kind(an_answer(("a", "Conv", 1, 0.0)))
    assert only.share == 0.0
    assert profile.by_kind(an_answer()) == []
