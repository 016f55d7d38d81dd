"""LiteRT: `ai_edge_litert`, whose interpreter is used as TensorFlow Lite's is."""

from __future__ import annotations

from typing import Any

from edgewright_runner.backends import tflite

DISTRIBUTIONS = ("ai-edge-litert",)


class Backend(tflite.Backend):
    """An interpreter with its default delegate."""

    def _imported(self) -> Any:
        """The class of interpreters."""
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
