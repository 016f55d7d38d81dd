"""Jobs for the worker's tests; each runs in a process of its own."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from toolchain.compile.forked_worker import run_forked
from toolchain.convert.requests import ConversionRequest
from toolchain.core.errors import ModelError
from toolchain.core.worker import Job, Progress


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """What `double` takes."""

    once: int
    where: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Doubled:
    """What `double` answers."""

    twice: int
    process: int
    randomised: int
    where: Path | None


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What a process and its copy answer together."""

    process: int
    copy: int
    shared: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Freed:
    """Whether something was there before and after."""

    before: bool
    after: bool


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The modules that a process has imported, by their top names."""

    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of loading models.

    Attributes:
        refused: the error's line by the model's name; none for a model that was loaded.
        written: the names of the files that a model has written.
    """

    refused: dict[str, str]
    written: list[str]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The list of allowed operators beside TensorFlow's and tf2onnx's own.

    Attributes:
        unknown: those of ours that TensorFlow doesn't have.
        converted_and_left_out: those that tf2onnx converts and ours lacks.
    """

    unknown: list[str]
    converted_and_left_out: list[str]


def double(request: Doubling, progress: Progress) -> Doubled:
    progress("doubling")
    return Doubled(
        twice=2 * request.once,
        process=os.getpid(),
        randomised=sys.flags.hash_randomization,
        where=request.where,
    )


def refuse(_request: None, _progress: Progress) -> None:
    raise ModelError("brief", detail="detail", resolution="resolution")


def crash(_request: None, _progress: Progress) -> None:
    message = "something native"
    raise RuntimeError(message)


def die(_request: None, _progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def aside(_request: None, _progress: Progress) -> Copied:
    shared = ["from before the fork"]
    with run_forked(lambda: (tuple(shared), os.getpid())) as copy:
        shared.append("from after the fork")
        given, process = copy.result()
        return Copied(process=os.getpid(), copy=process, shared=given)


def refuse_aside(request: None, progress: Progress) -> None:
    with run_forked(lambda: refuse(request, progress)) as copy:
        copy.result()


def crash_aside(request: None, progress: Progress) -> None:
    with run_forked(lambda: crash(request, progress)) as copy:
        copy.result()


def die_aside(request: None, progress: Progress) -> None:
    with run_forked(lambda: die(request, progress)) as copy:
        copy.result()


def leave_aside(_request: None, _progress: Progress) -> None:
    with run_forked(lambda: time.sleep(60)) as copy:
        raise ModelError("after the fork", detail=str(copy.process_id))


def copies_freed(_request: None, _progress: Progress) -> Freed:
    """Whether what only Python's search for cycles frees is gone when an optimiser begins."""
    import tf2onnx.optimizer

    from toolchain.formats.graphs import tensorflow_graph

    tensorflow_graph.settle_tf2onnx()
    gc.disable()
    graph = type("Graph", (), {})()
    graph.node = graph
    there = weakref.ref(graph)
    del graph
    before = there() is not None
    tf2onnx.optimizer._optimizers["optimize_transpose"]()
    return Freed(before=before, after=there() is not None)


def imported_by_conversion(request: ConversionRequest, progress: Progress) -> Imported:
    """What a conversion imports, which runs here."""
    from toolchain.convert import conversion_job

    conversion_job.convert(request, progress)
    return Imported(modules=tuple({name.partition(".")[0] for name in sys.modules}))


def _job(name: str) -> Job[None, None]:
    return Job(f"tests.support.worker_jobs:{name}", type(None), type(None))


DOUBLE = Job("tests.support.worker_jobs:double", Doubling, Doubled)
ASIDE = Job("tests.support.worker_jobs:aside", type(None), Copied)
COPIES_FREED = Job("tests.support.worker_jobs:copies_freed", type(None), Freed)
IMPORTED_BY_CONVERSION = Job(
    "tests.support.worker_jobs:imported_by_conversion", ConversionRequest, Imported
)
LOAD_HOSTILE = Job("tests.support.hostile_models:load_each", Path, Tried)
LISTED_OPERATORS = Job("tests.support.hostile_models:listed_operators", type(None), Listed)
REFUSE, CRASH, DIE = _job("refuse"), _job("crash"), _job("die")
REFUSE_ASIDE, CRASH_ASIDE, DIE_ASIDE = _job("refuse_aside"), _job("crash_aside"), _job("die_aside")
LEAVE_ASIDE = _job("leave_aside")
