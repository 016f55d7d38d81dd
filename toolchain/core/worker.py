"""Runs one function of ours, a job, in a fresh Python process.

A job takes a request and answers; both are frozen dataclasses or pydantic models, whose fields JSON
can say, and each side checks what it is sent. They are declared beside the caller or in a light
module of their own, with a `Job` that names the function, so that asking imports nothing of what
the work does:

    COMPILE = Job("toolchain.compile.compilation_job:compile_objects", Question, Compiled)

    def compile_objects(request: Question, progress: Progress) -> Compiled: ...

What it imports (TensorFlow, TVM) and the memory it takes end with it; its hash seed and thread
counts are fixed, so that the same arguments give the same bytes; a crash in native code becomes an
error here. Given `Rights`, it reads and writes what they name and has no network: whatever reads a
file that came from others is called so. It is not a pool: a job is a process. A caller may run that
process elsewhere: all that it reads and writes besides its arguments' files is in the request's
folder.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter

from toolchain.core import confinement, errors, paths, process
from toolchain.core.confinement import Rights
from toolchain.core.errors import CommandError, EdgewrightError, ModelError

MARK = "@@step "
REQUEST, ANSWER = "request.json", "answer.json"
FIXED_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
}
# What a job that reads what others made gets of the user's variables, of which some are secrets:
# it could put them into a file that it makes.
PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TZ|LANG|LANGUAGE|LC_\w+|TMPDIR|XDG_\w+|LD_LIBRARY_PATH"
    r"|EDGEWRIGHT_(CACHE|DIST|KEYS|RECORDS|PLUGINS|READABLE)"
    r"|(PYTHON|OMP_|OPENBLAS_|MKL_|TF_|TVM_|KERAS_|CUDA_|MALLOC_|GLIBC_|QEMU_|COVERAGE_)\w*"
)

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Progress = Callable[[str], None]
# Runs `python -m toolchain.core.worker` on a request file, its output given line by line; raises
# CommandError when it fails.
Run = Callable[[Path, Callable[[str], None]], None]


def silent(_step: str) -> None:
    """The progress of a caller that wants none."""


def here(
    request: Path, on_line: Callable[[str], None], *, passed: re.Pattern[str] | None = None
) -> None:
    """Run a request by this Python, with those of the user's variables that `passed` matches."""
    process.run(
        # without -P, modules of the folder it is called in would be imported in place of ours
        [sys.executable, "-P", "-m", "toolchain.core.worker", str(request)],
        env={**FIXED_ENVIRONMENT, "PYTHONPATH": str(paths.ROOT)},
        passed=passed,
        on_line=on_line,
    )


@dataclass(frozen=True)
class Job(Generic[Request, Answer]):
    """A function that is run in a process of its own.

    Attributes:
        function: `module:function`; it takes (request, progress) and returns the answer, and its
            annotations say the same types.
        request: the type of what it is given.
        answer: the type of what it returns; `type(None)` for nothing.
    """

    function: str
    request: type[Request]
    answer: type[Answer]

    @property
    def module(self) -> str:
        """The module of the function: what `fingerprint.of` begins at."""
        return self.function.partition(":")[0]


def call(
    job: Job[Request, Answer],
    request: Request,
    *,
    what: str,
    progress: Progress = silent,
    rights: Rights | None = None,
    run: Run = here,
) -> Answer:
    """Run a job and return its answer.

    Args:
        job: what is run.
        request: what it is given.
        what: the job in words, for the error of a crash.
        progress: called with each step it reports.
        rights: all that it may reach, where it reads what others made; without, this user's.
        run: runs the process; elsewhere than here, rights are what that place gives.

    Raises:
        EdgewrightError: the one that it raised.
        ModelError: it crashed.
    """
    with tempfile.TemporaryDirectory(prefix=f"edgewright-{process.own_name()}-") as folder:
        asked, answer = Path(folder) / REQUEST, Path(folder) / ANSWER
        given = TypeAdapter(job.request).dump_python(request, mode="json")
        left = None
        if rights is not None and run is here:
            run = functools.partial(here, passed=PASSED)
            if not _unconfined():
                left = TypeAdapter(Rights).dump_python(rights, mode="json")
        asked.write_text(json.dumps({"function": job.function, "request": given, "rights": left}))

        def on_line(line: str) -> None:
            if line.startswith(MARK):
                progress(line.removeprefix(MARK))

        try:
            run(asked, on_line)
        except CommandError as error:
            raise _explained(error, answer, what) from error
        told = json.loads(answer.read_text())["result"]
        return TypeAdapter(job.answer).validate_python(told)


@functools.cache
def _unconfined() -> bool:
    """Whether this machine can't take rights from a process, which is said once."""
    lacks = confinement.lacking()
    if lacks:
        # in plain text: how it is shown decides nothing that a job makes
        sys.stderr.write(f"model files are read with all of your rights on this machine: {lacks}\n")
    return bool(lacks)


def _explained(failure: CommandError, answer: Path, what: str) -> EdgewrightError:
    if answer.is_file():
        told: Mapping[str, str] = json.loads(answer.read_text())["error"]
        kind: type[EdgewrightError] = getattr(errors, told["class"])
        return kind(told["brief"], detail=told["detail"], resolution=told["resolution"])
    lines = [line for line in failure.output.splitlines() if not line.startswith(MARK)]
    if failure.returncode == -9:
        return ModelError(
            f"{what} was killed",
            detail="\n".join(lines),
            resolution="this machine most likely ran out of memory: close programs, or use a "
            "smaller batch",
        )
    return ModelError(
        f"{what} failed",
        detail="\n".join(lines),
        resolution="the model uses something that edgewright or the libraries it uses can't "
        "handle; the last lines above say what",
    )


def main() -> int:
    """The process's side: read the request, call, write the answer beside it."""
    path = Path(sys.argv[1])
    asked = json.loads(path.read_text())
    module, _, name = asked["function"].partition(":")
    answer = path.with_name(ANSWER)
    home = path.with_name("home")  # Keras reads and writes its settings there
    home.mkdir()
    os.environ["KERAS_HOME"] = str(home)
    if asked["rights"] is not None:
        _confine(TypeAdapter(Rights).validate_python(asked["rights"]), path.parent, home)

    def progress(step: str) -> None:
        print(f"{MARK}{step}", flush=True)

    try:
        function = getattr(importlib.import_module(module), name)
        request, answered = signature(function)
        result = function(TypeAdapter(request).validate_python(asked["request"]), progress)
    except EdgewrightError as error:
        told = {
            "class": type(error).__name__,
            "brief": error.brief,
            "detail": error.detail,
            "resolution": error.resolution,
        }
        answer.write_text(json.dumps({"error": told}))
        return 1
    plain = TypeAdapter(answered).dump_python(result, mode="json")
    answer.write_text(json.dumps({"result": plain}))
    return 0


def _confine(rights: Rights, folder: Path, home: Path) -> None:
    """Leave this process some rights, and a home and scratch of its own in the request's folder."""
    os.environ["EDGEWRIGHT_CACHE"] = str(paths.cache())  # extras are there, wherever the home is
    scratch = folder / "scratch"
    scratch.mkdir()
    os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home), TMPDIR=str(scratch))
    os.environ["JOBLIB_MULTIPROCESSING"] = (
        "0"  # it would complain of shared memory that it can't have
    )
    confinement.confine(Rights(read=rights.read, write=(*rights.write, folder)))


def signature(function: Callable[..., object]) -> tuple[Any, Any]:
    """The types of a job's request and answer, as its annotations say them."""
    types = get_type_hints(function)
    answer = types.pop("return")
    request = next(iter(types.values()))
    return request, answer


if __name__ == "__main__":
    sys.exit(main())
