"""A PyTorch exported program (.pt2); PyTorch, which reads it, is an extra.

What is pickled in a file is code of its maker's choice, so it is read as weights alone or not at
all. Files that are nothing but a pickle (.pt, .pth) are answered with the way to export one.
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import Format
from toolchain.formats.network import Network
from toolchain.formats.shapes import only_tensor, refuse_unless_one

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

OPSET = 18
# Pickled Python objects in a program's archive; reading one runs code of the file's choice.
PICKLED = re.compile(r"(^|/)(opaque_obj_|custom_obj_)")
ALL_PICKLE = (".pt", ".pth")
AGAIN = "export it again: torch.export.save(torch.export.export(model, (x,)), 'NAME.pt2')"


@dataclass(frozen=True, kw_only=True)
class _PyTorch(Format):
    def begins_right(self, path: Path, head: bytes) -> bool:
        del head
        return zipfile.is_zipfile(path)

    def refuse_other(self, path: Path) -> None:
        if path.suffix in ALL_PICKLE:
            raise UsageError(
                f"{path.name}: PyTorch's pickled files are not read, as that runs code in them",
                resolution="export the network where its code is: torch.export.save("
                "torch.export.export(model, (x,)), 'NAME.pt2'), and give that",
            )
        super().refuse_other(path)

    def load(self, path: Path, progress: Callable[[str], None]) -> Network:
        progress("starting PyTorch")
        return PyTorchNetwork(load(path))


class PyTorchNetwork(Network):
    """An exported program that was read.

    Args:
        program: from `load`.
    """

    def __init__(self, program: Any) -> None:
        self.program = program
        ((_, self.shape, _),) = _described(program, program.graph_signature.user_inputs)

    def run(self, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """All samples through it, by PyTorch on one thread."""
        import numpy as np
        import torch

        module = self.program.module()
        with torch.no_grad():
            pieces = [
                only_tensor(module(torch.from_numpy(x[start : start + batch].copy()))).numpy()
                for start in range(0, len(x), batch)
            ]
        return np.concatenate(pieces)

    def to_onnx(self, shape: tuple[int, ...], name: str) -> onnx.ModelProto:
        """By PyTorch's exporter; the batch is open there where the program's is, then fixed."""
        del name
        from toolchain.formats.graphs import onnx_graph

        with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
            file = Path(scratch) / "exported.onnx"
            _export(self.program, file)
            return onnx_graph.with_batch(onnx_graph.load(file), shape[0])


def load(path: Path) -> Any:
    """Read an exported program.

    Raises:
        ModelError: PyTorch isn't installed, the file can't be read, or it has several inputs or
            outputs.
    """
    refuse_pickled(path)
    from toolchain.workstation import extras

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


def _described(program: Any, names: Sequence[str]) -> list[tuple[str, tuple[int | None, ...], str]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    found = []
    for name in names:
        value = values.get(name)
        sizes = getattr(value, "shape", ())
        kind = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
        found.append((str(name), tuple(d if isinstance(d, int) else None for d in sizes), kind))
    return found


def _export(program: Any, file: Path) -> None:
    """Write a program as ONNX.

    Raises:
        ModelError: it has operators that ONNX lacks; the error names them.
    """
    import torch

    try:
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, external_data=False
        )
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


FORMAT = _PyTorch(
    name="pytorch", title=".pt2", suffixes=(".pt2", *ALL_PICKLE), extras=("pytorch", "onnx2tf")
)
