"""A PyTorch exported program (.pt2): read, refused where it can't be used, run, made ONNX.

Runs in the worker: PyTorch, an extra, is imported here.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError
from toolchain.formats import onnx_file
from toolchain.formats.shapes import refuse_unless_one
from toolchain.workstation import extras

OPSET = 18
# Pickled Python objects in a program's archive; reading one runs code of the file's choice.
PICKLED = re.compile(r"(^|/)(opaque_obj_|custom_obj_)")
AGAIN = "export it again: torch.export.save(torch.export.export(model, (x,)), 'NAME.pt2')"


def load(path: Path) -> Any:
    """Read an exported program.

    What is pickled in it is read as weights alone, or not at all: a file must not run code here.

    Raises:
        ModelError: PyTorch isn't installed, the file can't be read, or it has several inputs or
            outputs.
    """
    refuse_pickled(path)
    extras.python("pytorch")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import torch

    torch.set_num_threads(1)
    try:
        program = torch.export.load(path)
    except Exception as error:  # PyTorch raises many kinds for a file that it can't read
        raise ModelError(
            f"{path.name} can't be read as an exported program of PyTorch {torch.__version__}",
            detail=str(error)[:1000],
            resolution=AGAIN,
        ) from error
    refuse_unless_one("input", _described(program, program.graph_signature.user_inputs))
    refuse_unless_one("output", _described(program, program.graph_signature.user_outputs))
    return program


def refuse_pickled(path: Path) -> None:
    """Refuse a program with pickled objects, and what is no archive.

    Raises:
        ModelError: it is one of these.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # weights are archives in the archive: of a file that was cut, theirs would be read
            if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
                raise zipfile.BadZipFile("its list of files is gone")
            pickled = [name for name in archive.namelist() if PICKLED.search(name)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path.name} is not a .pt2 file, or was cut short",
            detail=str(error),
            resolution=f"copy it again, or {AGAIN}",
        ) from error
    if pickled:
        raise ModelError(
            f"{path.name} has pickled objects, which are code inside the file",
            detail="\n".join(pickled),
            resolution="export the network without objects of its own, or give it as ONNX",
        )


def shape(program: Any) -> tuple[int | None, ...]:
    """The input's shape, batch first; None where it is open."""
    (found,) = _described(program, program.graph_signature.user_inputs)
    return found[1]


def _described(program: Any, names: Sequence[str]) -> list[tuple[str, tuple[int | None, ...], str]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    found = []
    for name in names:
        value = values.get(name)
        sizes = getattr(value, "shape", ())
        kind = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
        found.append((str(name), tuple(d if isinstance(d, int) else None for d in sizes), kind))
    return found


def run(program: Any, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
    """All samples through the program, by PyTorch on one thread."""
    import torch

    module = program.module()
    with torch.no_grad():
        pieces = [
            _only(module(torch.from_numpy(x[start : start + batch].copy()))).numpy()
            for start in range(0, len(x), batch)
        ]
    return np.concatenate(pieces)


def _only(outputs: Any) -> Any:
    """The one tensor of what a program returns, which may be in a list or dictionary."""
    while isinstance(outputs, dict | list | tuple):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs


def to_onnx(program: Any, folder: Path) -> Any:
    """The program as ONNX, with its batch open where the program's is.

    Args:
        program: from `load`.
        folder: for the file in between.

    Raises:
        ModelError: it has operators that ONNX lacks; the error names them.
    """
    import torch

    try:
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, external_data=False
        )
        file = folder / "exported.onnx"
        made.save(file, external_data=False)
    except Exception as error:  # torch.onnx's own, and what a decomposition raises
        names = sorted(set(re.findall(r"\b(?:aten|prims|torchvision)[.:]+[\w.]+", str(error))))
        raise ModelError(
            f"ONNX has no operator for: {', '.join(names)}"
            if names
            else "the program can't be converted to ONNX",
            detail=str(error)[:2000],
            resolution="replace those operators in the network, then export it again",
        ) from error
    return onnx_file.load(file)
