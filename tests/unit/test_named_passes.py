"""Passes are found by their names in a trace, stand in the pipeline in order, and run alone."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm.tirx import PrimFunc

from tests.support.networks import CASES, NEON
from toolchain.compile import onnx_import, pipeline
from toolchain.compile.relax.softmax_decomposition import decompose_softmax
from toolchain.compile.tir.padding_propagation import annotate_padding

DOTS: dict[str, object] = {**NEON, "mcpu": "cortex-a76", "mattr": ["+neon", "+dotprod"]}
OURS = {
    1: ["FoldConstantByNumpy", "AnnotatePadding"],
    2: [
        "SplitBatch", "DecomposeQDQ", "FakeQuantizationToInteger", "RoundByAddition",
        "DecomposeSoftmax", "HoistPadding", "FoldConstantByNumpy", "AnnotatePadding",
    ],
    3: [
        "SplitBatch", "DecomposeQDQ", "FakeQuantizationToInteger", "RoundByAddition",
        "DecomposeSoftmax", "HoistPadding", "FoldConstantByNumpy", "AnnotatePadding",
    ],
}  # fmt: skip


@tvm.instrument.pass_instrument
class Recorder:
    """Notes the name of each pass that ends."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run_after_pass(self, _module: Any, info: Any) -> None:
        self.names.append(str(info.name))


@pytest.mark.parametrize("level", OURS)
def test_a_level_is_its_passes_in_order(level: int) -> None:
    names = [one.info.name for one in pipeline.passes(tvm.target.Target(DOTS), level)]
    theirs = {str(n) for n in names} - set(OURS[3])
    assert [n for n in names if n not in theirs] == OURS[level]
    assert {"LegalizeOps", "FuseOps"} <= theirs


def test_as_imported_only_operators_become_loops() -> None:
    assert [p.info.name for p in pipeline.passes(tvm.target.Target(NEON), 0)] == ["LegalizeOps"]


def test_an_instrument_of_the_caller_sees_every_pass_of_ours() -> None:
    recorder, target = Recorder(), tvm.target.Target(DOTS)
    module = onnx_import.from_onnx(CASES["residual"])
    with tvm.transform.PassContext(opt_level=3, instruments=[recorder]):
        lowered = pipeline.lower(module, target, 3)
        pipeline.schedule(lowered, target, 3)
    seen = [name for name in recorder.names if name in OURS[3]]
    assert seen == OURS[3]
    assert {"ApplyDefaultSchedule", "PrepackWeights", "edgewright.O3"} <= set(recorder.names)


def test_a_pass_runs_alone_and_leaves_its_input_as_it_was() -> None:
    module = onnx_import.from_onnx(CASES["softmax over channels"])
    before = module.script()
    assert "R.nn.softmax" not in decompose_softmax()(module).script()
    assert module.script() == before


def test_padding_is_annotated_in_a_copy() -> None:
    target = tvm.target.Target(NEON)
    with target:
        names = [one for one in pipeline.passes(target, 2) if one.info.name != "FuseOps"]
        stop = next(n for n, one in enumerate(names) if one.info.name == "AnnotatePadding")
        module = onnx_import.from_onnx(CASES["residual"])
        for one in names[:stop]:
            module = one(module)
    annotated = annotate_padding()(module)
    patterns = [
        {
            str(v.name_hint): int(f.attrs["op_pattern"])
            for v, f in one.functions_items()
            if isinstance(f, PrimFunc) and str(v.name_hint) == "pad"
        }
        for one in (module, annotated)
    ]
    assert patterns[0]["pad"] != 0
    assert patterns[1]["pad"] == 0
