"""The work of one compilation, in the worker: import, optimise, check here, write objects.

A network is compiled twice: for this machine, to check what it computes, and for the target. The
second is done by a copy of the process, forked when the graph is ready, at the same time when there
is a core for it. The copy is made in either case, so that the same objects come out.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolchain.compile import forked_worker
from toolchain.compile.compilation_request import KERNELS, OBJECTS, CompilationRequest, Compiled
from toolchain.compile.forked_worker import run_forked
from toolchain.convert import parity
from toolchain.core.errors import EdgewrightError, ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import onnx_graph
from toolchain.models import samples_file
from toolchain.models.checks import Check
from toolchain.models.variants import VARIANTS
from toolchain.samples.sets import Sets, stacked

if TYPE_CHECKING:
    from toolchain.compile.importing.graph_import import Imported


def compile_objects(request: CompilationRequest, progress: Progress) -> Compiled:
    """Fill `folder` with object files for the target and the check; the worker's entry.

    Raises:
        ModelError: TVM can't import or compile the model, or it computes something else.
    """
    folder, opt_level = request.folder, request.opt_level
    progress("starting TVM")
    import tvm

    from toolchain.compile import pipeline
    from toolchain.compile.importing import graph_import
    from toolchain.compile.tir import search_space
    from toolchain.compile.tir.register_blocking import Tile

    target = tvm.target.Target(request.target)
    network = graph_import.imported(request.source, target, opt_level, progress)
    progress("optimising the graph")
    tried = forked_worker.attempt if request.careful else None
    with _named_failure(opt_level):
        lowered = pipeline.lower(network.module, target, opt_level, progress, tried)
    tuned = {workload: Tile(**tile.model_dump()) for workload, tile in request.tuned.items()}

    refused: dict[str, dict[str, str] | None] = {"target": None, "here": None}
    if tried is not None:
        progress("trying each function alone")
        for key, of in (("target", target), ("here", host_target())):
            refused[key] = _refused(lowered, of, opt_level, tuned, tried)

    def for_target() -> Compiled:
        executable, others = _executable(lowered, target, opt_level, tuned, refused["target"])
        _export(executable, folder / OBJECTS)
        return Compiled(unscheduled=others, tuned=search_space.count(tuned, lowered))

    with run_forked(for_target) as copy:
        made = None
        if request.check_in_parallel:
            progress("compiling for this machine and the target")
        else:
            progress("compiling for the target")
            made = copy.result()
            progress("compiling for this machine")
        here, _ = _executable(lowered, host_target(), opt_level, tuned, refused["here"])
        progress("checking against the source")
        check = _check(here, request, network)
        made = copy.result() if made is None else made
    if made.tuned:
        progress(f"with tiles that tuning found: {made.tuned} functions")
    if made.unscheduled:
        progress(f"without a schedule of ours: {', '.join(made.unscheduled)}")
    if network.in_integers and request.exact is not None:
        shutil.copyfile(request.exact, folder / KERNELS)
    (folder / "check.json").write_text(check.model_dump_json(exclude_none=True))
    (folder / "tuned.json").write_text(json.dumps({"functions": made.tuned}))
    return made


def _export(executable: Any, objects: Path) -> None:
    """The object files of a library, into a new folder."""
    objects.mkdir()

    def keep(_output: str, files: list[str], **_options: Any) -> None:
        for file in files:
            shutil.copyfile(file, objects / Path(file).name)

    executable.export_library(str(objects / "unused.so"), fcompile=keep)


def host_target() -> Any:
    """The TVM target of this machine's own CPU, for code that is to be run here."""
    import tvm
    from tvm.target import codegen

    return tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": codegen.llvm_get_system_triple(),
            "mcpu": codegen.llvm_get_system_cpu(),
        }
    )


def _executable(
    lowered: Any,
    target: Any,
    opt_level: int,
    tuned: Mapping[str, Any],
    refused: Mapping[str, str] | None,
) -> tuple[Any, list[str]]:
    """An executable, and its functions without a schedule of ours; with why, if LLVM failed on it.

    Args:
        lowered: the module.
        target: what to compile it for.
        opt_level: at which.
        tuned: tiles by workload.
        refused: functions whose schedules LLVM fails on; found here where it is None.
    """
    from toolchain.compile import pipeline
    from toolchain.compile.tir import trial_builds

    def built(failures: Mapping[str, str]) -> tuple[Any, list[str]]:
        scheduled, others = pipeline.schedule(lowered, target, opt_level, tuned, failures)
        names = [f"{n} ({failures[n]})" if n in failures else n for n in others]
        return pipeline.build(scheduled, target), names

    with _named_failure(opt_level):
        try:
            return built(refused or {})
        except Exception:
            if refused is not None:
                raise
            failures = _refused(lowered, target, opt_level, tuned, trial_builds.in_process)
            if not failures:
                raise
            return built(failures)


def _refused(
    lowered: Any,
    target: Any,
    opt_level: int,
    tuned: Mapping[str, Any],
    attempt: Callable[[Callable[[], object]], str],
) -> dict[str, str]:
    """Functions whose schedules LLVM fails on, and why.

    Raises:
        ModelError: it fails on TVM's own loops of one too; the error names it, and so its operator.
    """
    from toolchain.compile import pipeline
    from toolchain.compile.tir import trial_builds

    def build(module: Any) -> object:
        return pipeline.build_functions(module, target)

    scheduled, _ = pipeline.schedule(lowered, target, opt_level, tuned)
    failures = trial_builds.refused(scheduled, build, attempt)
    still = trial_builds.refused(trial_builds.only(lowered, failures), build, attempt)
    if still:
        raise ModelError(
            f"LLVM can't compile {', '.join(still)}",
            detail="\n".join(f"function {name}: {why}" for name, why in still.items()),
            resolution="the functions are named after their operators: replace those in the model, "
            "or use TensorFlow Lite for this one",
        )
    return failures


@contextmanager
def _named_failure(opt_level: int) -> Iterator[None]:
    try:
        yield
    except EdgewrightError:
        raise
    except Exception as error:  # whatever a pass or LLVM raises
        lines = str(error).strip().splitlines()
        raise ModelError(
            f"TVM can't compile the model at O{opt_level}",
            detail="\n".join(lines[-5:]),
            resolution="try --opt-level 1, which changes the graph less"
            if opt_level > 1
            else "use TensorFlow Lite for this model",
        ) from error


def _check(executable: Any, request: CompilationRequest, network: Imported) -> Check:
    """Run the samples through the code for this machine."""
    import tvm
    from tvm import relax

    variant = VARIANTS[request.variant]
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    arrays = samples_file.inputs(request.samples, request.source.inputs)
    samples = Sets(arrays=arrays, state=request.state)
    exact = request.exact if network.in_integers else None
    outputs = samples_file.outputs(
        exact or request.reference or request.samples, request.source.outputs
    )
    names = [tensor.name for tensor in request.source.outputs]

    def infer(given: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        inputs = [np.asarray(given[tensor.name], order="C") for tensor in request.source.inputs]
        return dict(zip(names, _tensors(main(*map(tvm.runtime.tensor, inputs))), strict=True))

    made = stacked(samples.run(infer))
    found = {
        tensor.name: made[tensor.name].astype(tensor.dtype) for tensor in request.source.outputs
    }
    stage = "tvm-x86" if platform.machine() == "x86_64" else f"tvm-{platform.machine()}"
    return parity.compare(
        stage,
        parity.Outputs(tensors=request.source.outputs, arrays=outputs, batch=request.batch),
        found,
        opt_level=request.opt_level,
        variant=variant.name,
        arithmetic=onnx_graph.INTEGERS if variant.rounded else network.arithmetic,
    )


def _tensors(result: Any) -> list[npt.NDArray[Any]]:
    """The outputs of a library's function: a tensor, or a tuple of them."""
    return [t.numpy() for t in ([result] if hasattr(result, "numpy") else result)]
