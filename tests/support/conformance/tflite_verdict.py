"""What becomes of a TFLite operator under TVM, and under the TFLite runtime that is built here."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.support.conformance import pipeline, tflite_cases
from tests.support.conformance.tflite_cases import Array, Case
from tests.support.conformance.verdict import TOLERANCE
from toolchain.core.errors import EdgewrightError, ModelError
from toolchain.formats.graphs.tflite_graph import TfliteNetwork

COLUMNS = {"TVM, O0": 0, "TVM, O3": 3, "tflite_runtime": None}
STEPS = 3 / 255  # of an output's range, where numbers are rounded to 8 bits on the way

# What runs under the wheel alone: the folder that it was unpacked into is Python's path.
PROGRAM = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
of = Interpreter(model_path=sys.argv[1], num_threads=1)
of.allocate_tensors()
given = np.load(sys.argv[2])
for detail, name in zip(of.get_input_details(), given.files):
    of.set_tensor(detail["index"], given[name])
of.invoke()
np.savez(sys.argv[3], *[of.get_tensor(d["index"]) for d in of.get_output_details()])
"""


def judge(name: str, column: str, wheel: Path | None) -> tuple[str, str]:
    """Take one case through one column.

    Args:
        name: one of `tflite_cases.names`.
        column: one of COLUMNS.
        wheel: the folder of an unpacked tflite_runtime, for its column.

    Returns:
        right, wrong, refused (by the operator's name), failed, or nothing where the converter
        makes no such file, or TensorFlow's own interpreter can't run it; and why.
    """
    case = tflite_cases.made(name)
    if case is None:
        return "", ""
    network = TfliteNetwork(case.content)
    names = [tensor.name for tensor in network.signature.inputs]
    feeds = dict(zip(names, case.inputs, strict=True))
    try:
        right = list(network.run(feeds).values())
    except ModelError:
        return "", ""
    try:
        level = COLUMNS[column]
        found = _by_wheel(case, wheel) if level is None else _by_tvm(network, feeds, level)
    except EdgewrightError as error:
        text = f"{error.brief}; {error.detail}"
        return ("refused" if _names(case.operator, text) else "failed"), text[:300]
    except Exception as error:  # noqa: BLE001 - what isn't an error of ours is what we look for
        last = str(error).strip().splitlines() or [""]
        return "failed", f"{type(error).__name__}: {last[-1]}"[:300]
    return _compared(case, found, right)


def _names(operator: str, text: str) -> bool:
    """Whether an error names an operator, by TensorFlow Lite's name or ONNX's."""
    plain = text.upper().replace("_", "")
    return (
        operator.replace("_", "") in plain
        or re.search("can't (compile|import) operator", text) is not None
    )


def _by_tvm(network: TfliteNetwork, feeds: dict[str, Array], level: int) -> list[Array]:
    """As a compilation does: in integers where each operator is known, else by ONNX."""
    found = pipeline.run_quantised(network.content, network.signature, feeds, level)
    if found is not None:
        return found
    inputs = [tensor.fixed(feeds[tensor.name].shape) for tensor in network.signature.inputs]
    return pipeline.run(network.to_onnx(inputs, "operator"), feeds, level)


def _by_wheel(case: Case, wheel: Path | None) -> list[Array]:
    if wheel is None:
        message = "the folder of an unpacked wheel is needed"
        raise ValueError(message)
    with tempfile.TemporaryDirectory() as folder:
        file, given, made = (Path(folder, name) for name in ("m.tflite", "in.npz", "out.npz"))
        file.write_bytes(case.content)
        np.savez(given, *case.inputs)
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(file), str(given), str(made)],
            env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise RuntimeError(ended.stderr.strip() or f"signal {-ended.returncode}")
        with np.load(made) as arrays:
            return [arrays[name] for name in arrays.files]


def _compared(case: Case, found: list[Array], right: list[Array]) -> tuple[str, str]:
    for output, wanted in zip(found, right, strict=True):
        if output.shape != wanted.shape or output.dtype != wanted.dtype:
            return "wrong", f"{output.dtype} {output.shape}, not {wanted.dtype} {wanted.shape}"
        relative, absolute = TOLERANCE
        if case.form == "int8" and wanted.dtype.kind == "f":
            absolute = STEPS * float(np.ptp(np.append(wanted, 0)))
        if not np.allclose(output, wanted, relative, absolute, equal_nan=True):
            most = np.abs(output.astype(float) - wanted.astype(float)).max()
            return "wrong", f"{most:.2g} apart"
    return "right", ""
