"""A TensorFlow Lite flatbuffer (.tflite)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolchain.formats import Format

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolchain.formats.network import Network

MAGIC = b"TFL3"  # the flatbuffer's file identifier, after the root's offset


@dataclass(frozen=True, kw_only=True)
class _Tflite(Format):
    def begins_right(self, path: Path, head: bytes) -> bool:
        del path
        return head[4:] == MAGIC

    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        self.refuse_signature(signature)
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph, tflite_graph

        tensorflow_graph.settle()
        progress("reading the model")
        return tflite_graph.TfliteNetwork(path.read_bytes())


FORMAT = _Tflite(name="tflite", title=".tflite", suffixes=(".tflite",))
