"""An ONNX graph (.onnx), its weights in it or in files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolchain.formats import Format

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolchain.formats.network import Network


@dataclass(frozen=True, kw_only=True)
class _Onnx(Format):
    def files(self, path: Path) -> list[Path]:
        from toolchain.formats.graphs import onnx_graph

        return [path, *onnx_graph.external_weights(path)]

    def digest(self, path: Path) -> str:
        from toolchain.core import store

        return store.digest_of([store.digest_file(file) for file in self.files(path)])

    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        self.refuse_signature(signature)
        from toolchain.formats.graphs import onnx_graph

        progress("reading the model")
        return onnx_graph.OnnxNetwork(onnx_graph.load(path))


FORMAT = _Onnx(
    name="onnx", title=".onnx", suffixes=(".onnx",), extras=("onnx2tf",), rounded_as_onnx=True
)
