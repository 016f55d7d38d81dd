"""Jobs for the worker's tests; each runs in a process of its own."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import weakref
from typing import Any

from toolchain.compile.forked_worker import beside
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress


def double(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    progress("doubling")
    return {
        "twice": 2 * arguments["once"],
        "process": os.getpid(),
        "seed": sys.flags.hash_randomization,
    }


def refuse(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    raise ModelError("brief", detail="detail", resolution="resolution")


def crash(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    message = "something native"
    raise RuntimeError(message)


def die(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def aside(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    shared = ["from before the fork"]
    with beside(lambda: {"shared": list(shared), "copy": os.getpid()}) as copy:
        shared.append("from after the fork")
        return {"process": os.getpid(), **copy.result()}


def refuse_aside(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    with beside(lambda: refuse(arguments, progress)) as copy:
        return copy.result()


def crash_aside(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    with beside(lambda: crash(arguments, progress)) as copy:
        return copy.result()


def die_aside(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    with beside(lambda: die(arguments, progress)) as copy:
        return copy.result()


def leave_aside(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        time.sleep(60)
        return {}

    with beside(work) as copy:
        raise ModelError("after the fork", detail=str(copy.process_id))


def copies_freed(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """Whether what only Python's search for cycles frees is gone when an optimiser begins."""
    import tf2onnx.optimizer

    from toolchain.convert import tensorflow_graph

    tensorflow_graph.settle_tf2onnx()
    gc.disable()
    graph = type("Graph", (), {})()
    graph.node = graph
    there = weakref.ref(graph)
    del graph
    before = there() is not None
    tf2onnx.optimizer._optimizers["optimize_transpose"]()
    return {"before": before, "after": there() is not None}
