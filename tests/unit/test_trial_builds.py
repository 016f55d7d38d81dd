"""A function that the compiler fails or crashes on keeps TVM's loops, or is named in the error."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.support.networks import CASES, expected, lowered, random
from toolchain.compile import compilation_job as work
from toolchain.compile import forked_worker, pipeline
from toolchain.compile.compilation_request import CompilationRequest, compile_surely
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.compile.tir import trial_builds
from toolchain.core.errors import CommandError, ModelError

GRAPH = CASES["residual"]
Build = Callable[[tvm.IRModule], object]


def names(module: tvm.IRModule) -> list[str]:
    return sorted(v.name_hint for v in module.get_global_vars() if v.name_hint != "main")


def failing_on(name: str, fail: Callable[[], None]) -> Build:
    """A compiler that fails on one function."""

    def build(module: tvm.IRModule) -> object:
        if name in names(module):
            fail()
        return module

    return build


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(60)


def refuse() -> None:
    raise ValueError("first\nLLVM ERROR: Cannot select")


def test_a_function_that_takes_the_compiler_down_is_found() -> None:
    module = lowered(GRAPH, 3)
    one = names(module)[0]
    build = failing_on(one, crash)
    assert trial_builds.refused(module, build, forked_worker.attempt) == {
        one: "it ended by signal 11"
    }


def test_a_function_that_is_refused_is_found_with_the_reason() -> None:
    module = lowered(GRAPH, 3)
    one = names(module)[0]
    for attempt in (trial_builds.in_process, forked_worker.attempt):
        found = trial_builds.refused(module, failing_on(one, refuse), attempt)
        assert found == {one: "LLVM ERROR: Cannot select"}


def test_a_trial_that_hangs_ends() -> None:
    assert forked_worker.attempt(hang, seconds=0.2) == "it takes more than 0 s"


def test_what_every_compiler_takes_is_not_refused() -> None:
    target = work.host_target()
    module, _ = pipeline.schedule(lowered(GRAPH, 3), target, 3)
    build: Build = lambda functions: pipeline.build_functions(functions, target)  # noqa: E731
    assert trial_builds.refused(module, build, trial_builds.in_process) == {}


def test_a_refused_function_keeps_the_loops_of_tvm_and_computes_the_same() -> None:
    target, module = work.host_target(), lowered(GRAPH, 3)
    one = next(name for name in names(module) if "conv2d" in name)
    scheduled, others = pipeline.schedule(module, target, 3, refused={one})
    assert others == [one]
    tvm.ir.assert_structural_equal(scheduled[one], module[one])
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    x = random(*(d.dim_value for d in GRAPH.graph.input[0].type.tensor_type.shape.dim))
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(GRAPH, x), rtol=1e-4, atol=1e-5)


class CrashingCompiler:
    """In the worker's place: it crashes as often as it is told, then answers."""

    def __init__(self, *ends: int) -> None:
        self.ends = list(ends)
        self.careful: list[bool] = []

    def __call__(self, request: Path, _on_line: Callable[[str], None]) -> None:
        self.careful.append(json.loads(request.read_text())["request"]["careful"])
        if self.ends:
            raise CommandError(["worker"], self.ends.pop(0), "Floating point exception")
        answer = {"result": {"unscheduled": [], "tuned": 0}}
        request.with_name("answer.json").write_text(json.dumps(answer))


def asked(folder: Path) -> CompilationRequest:
    return CompilationRequest(
        source=SourceGraph(inputs=(), outputs=(), onnx=folder / "a.onnx"),
        samples=folder / "a.npz",
        variant="fp32",
        reference=None,
        batch=1,
        target={"kind": "llvm"},
        opt_level=3,
        tuned={},
        check_in_parallel=False,
        folder=folder,
    )


@pytest.mark.parametrize("end", [-signal.SIGFPE, 128 + signal.SIGSEGV])
def test_a_crash_of_the_compiler_is_met_by_a_careful_compilation(tmp_path: Path, end: int) -> None:
    compiler, steps = CrashingCompiler(end), list[str]()
    compile_surely(asked(tmp_path), what="compiling", progress=steps.append, run=compiler)
    assert compiler.careful == [False, True]
    assert steps == ["the compiler crashed: once more, with what it crashes on left out"]


def test_a_compiler_that_crashes_both_times_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="crashes on the model at O3") as caught:
        compile_surely(asked(tmp_path), what="compiling", run=CrashingCompiler(-11, -11))
    assert "--opt-level 1" in caught.value.resolution


@pytest.mark.parametrize("end", [1, -signal.SIGKILL])
def test_an_end_that_is_no_crash_is_not_tried_again(tmp_path: Path, end: int) -> None:
    compiler = CrashingCompiler(end)
    with pytest.raises(ModelError):
        compile_surely(asked(tmp_path), what="compiling", run=compiler)
    assert compiler.careful == [False]
