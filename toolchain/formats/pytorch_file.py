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

from toolchain.core import process
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import Format
from toolchain.formats.network import Network
from toolchain.formats.signature import OpenTensor, Signature, Tensor

if TYPE_CHECKING:
    import onnx

    from toolchain.formats.network import Array, Arrays

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

    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        self.refuse_signature(signature)
        progress("starting PyTorch")
        return PyTorchNetwork(load(path))


class PyTorchNetwork(Network):
    """An exported program that was read.

    Args:
        program: from `load`.
    """

    def __init__(self, program: Any) -> None:
        self.program = program
        self.signature = _signature(program)
        self._module: Any = None

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """By PyTorch, on one thread."""
        import torch
        from torch.utils import _pytree

        if self._module is None:
            self._module = self.program.module()
        leaves = [
            torch.from_numpy(feeds[argument.name].copy())
            if argument.name in feeds
            else getattr(argument, "value", None)
            for argument in _arguments(self.program.graph_signature.input_specs)
        ]
        given, named = _pytree.tree_unflatten(leaves, self.program.call_spec.in_spec)
        with torch.no_grad():
            found = _pytree.tree_leaves(self._module(*given, **named))
        tensors = [tensor.numpy() for tensor in found if isinstance(tensor, torch.Tensor)]
        return dict(zip((t.name for t in self.signature.outputs), tensors, strict=True))

    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """By PyTorch's exporter; sizes are open there where the program's are, then fixed."""
        del name
        from toolchain.formats.graphs import onnx_graph

        with tempfile.TemporaryDirectory(prefix=f"edgewright-{process.own_name()}-") as scratch:
            file = Path(scratch) / "exported.onnx"
            _export(self.program, file)
            return onnx_graph.with_shapes(onnx_graph.load(file), inputs)


def load(path: Path) -> Any:
    """Read an exported program.

    Raises:
        ModelError: PyTorch isn't installed, or the file can't be read.
    """
    refuse_pickled(path)
    from toolchain.workstation import extras

    extras.python("pytorch")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import torch

    torch.set_num_threads(1)
    try:
        return torch.export.load(path)
    except Exception as error:  # PyTorch raises many kinds for a file that it can't read
        raise ModelError(
            f"{path.name} can't be read as an exported program of PyTorch {torch.__version__}",
            detail=str(error)[:1000],
            resolution=AGAIN,
        ) from error


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
    except Exception as error:  # zipfile raises many kinds for an archive that is damaged
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


def _arguments(specs: Sequence[Any]) -> list[Any]:
    """What the user of a program gives or gets, in tuples and dictionaries flattened."""
    return [spec.arg for spec in specs if spec.kind.name in ("USER_INPUT", "USER_OUTPUT")]


def _signature(program: Any) -> Signature:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    its = program.graph_signature

    def described(specs: Sequence[Any]) -> tuple[OpenTensor, ...]:
        names = [str(argument.name) for argument in _arguments(specs)]
        return tuple(_tensor(name, values[name]) for name in names if name in values)

    return Signature(inputs=described(its.input_specs), outputs=described(its.output_specs))


def _tensor(name: str, value: Any) -> OpenTensor:
    kind = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
    sizes = getattr(value, "shape", ())
    return OpenTensor(
        name=name, dims=tuple(d if isinstance(d, int) else str(d) for d in sizes), dtype=kind
    )


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
    name="pytorch",
    title=".pt2",
    suffixes=(".pt2", *ALL_PICKLE),
    extras=("pytorch", "onnx2tf"),
    rounded_as_onnx=True,
)
