"""What a matrix costs beyond the calls it makes, over how many cores it spreads, and its memory.

    python -m benchmarks.matrix --model digits-cnn --batch 1,2,4 --opt-level 0,3
    python -m benchmarks.matrix --memory --model digits-cnn,mobilenetv2

The tool converts and compiles a matrix with an empty cache; a plain script makes the same calls one
by one, each in a Python of its own, as TensorFlow and TVM are best used, and keeps nothing. Both
link with this machine's g++. The processors' time is of the whole tree of processes; that by the
clock means something on a quiet machine alone. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from toolchain import matrix, targets
from toolchain.commandline import console, options
from toolchain.compile import compilation as compiling
from toolchain.compile.compilation import Linker
from toolchain.compile.compilation_request import COMPILE, CompilationRequest
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.convert.requests import CONVERT, ConversionRequest, Part
from toolchain.core import paths, process, worker
from toolchain.core.worker import Answer, Job, Request
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN

TARGET = "x86_64"
CALL = (
    "import importlib, sys; from pydantic import TypeAdapter; from toolchain.core import worker; "
    "module, _, name = sys.argv[1].partition(':'); "
    "function = getattr(importlib.import_module(module), name); "
    "request = TypeAdapter(worker.signature(function)[0]).validate_json(sys.argv[2]); "
    "function(request, lambda _: None)"
)
GOAL = 1.05


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took: seconds by the clock and of processors, and its peak memory in bytes."""

    seconds: float
    processor: float
    peak: int


def cost(command: list[str], env: dict[str, str]) -> Cost:
    """Run a command and all that it starts; the peak is of its largest process."""
    started = time.monotonic()
    child = subprocess.Popen(command, env={**os.environ, **env}, cwd=paths.ROOT)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Cost(
        seconds=time.monotonic() - started,
        processor=used.ru_utime + used.ru_stime,
        peak=used.ru_maxrss * 1024,
    )


def link(objects: list[Path], output: Path, _progress: worker.Progress) -> None:
    """Link with this machine's compiler."""
    process.run(["g++", "-shared", "-fPIC", *map(str, objects), "-o", str(output)])


@contextlib.contextmanager
def _step(_title: str) -> Iterator[matrix.Say]:
    yield lambda _: None


def tool(names: list[str], batches: list[int], levels: list[int], workers: int) -> None:
    """The matrix as `invoke compile` makes it."""
    linker = Linker(identity="benchmark", link=link, image=lambda: "")
    specs = [resolve_model(name) for name in names]
    made = matrix.converted(specs, batches, ["fp32"], _step, workers)
    made.refuse()
    plan = matrix.planned(list(made.manifests.items()), ["fp32"], levels)
    by = compiling.release()
    matrix.compiled(
        plan, targets.target(TARGET), linker=linker, compiler=by, workers=workers, step=_step
    ).refuse()


def plain(names: list[str], batches: list[int], levels: list[int], folder: Path) -> None:
    """The same calls, one by one, each in a Python of its own."""
    for name in names:
        weights = folder / name / "weights"
        weights.mkdir(parents=True)
        for batch in batches:
            place = folder / name / f"b{batch}"
            place.mkdir()
            first = batch == batches[0]
            given = ConversionRequest(
                spec=resolve_model(name),
                batch=batch,
                folder=place,
                weights=Part(wanted=weights) if first else Part(found=weights),
            )
            _call(CONVERT, given)
            for level in levels:
                objects = place / f"O{level}"
                objects.mkdir()
                _call(COMPILE, request(place, level, objects))
                link(sorted((objects / "objects").iterdir()), place / f"O{level}.so", worker.silent)


def request(place: Path, level: int, folder: Path) -> CompilationRequest:
    """What compiling a converted model takes."""
    manifest = ModelManifest.load(place)
    return CompilationRequest(
        source=SourceGraph(
            inputs=tuple(manifest.inputs),
            outputs=tuple(manifest.outputs),
            onnx=place / manifest.graph(PLAIN).file,
        ),
        samples=place / manifest.samples.file,
        variant=PLAIN,
        reference=None,
        batch=manifest.batch,
        target=targets.target(TARGET).tvm(),
        opt_level=level,
        tuned={},
        check_in_parallel=False,
        folder=folder,
    )


def _call(job: Job[Request, Answer], given: Request) -> None:
    process.run(_command(job, given), env=_environment(paths.cache()), cwd=paths.ROOT)


def _command(job: Job[Request, Answer], given: Request) -> list[str]:
    text = TypeAdapter(job.request).dump_json(given).decode()
    return [sys.executable, "-c", CALL, job.function, text]


def _environment(folder: Path) -> dict[str, str]:
    return {
        **worker.FIXED_ENVIRONMENT,
        "PYTHONPATH": str(paths.ROOT),
        "EDGEWRIGHT_CACHE": str(folder / "cache"),
        "EDGEWRIGHT_DIST": str(folder / "output"),
        "KERAS_HOME": str(folder / "keras"),
    }


def compared(chosen: argparse.Namespace) -> None:
    """Print the tool beside the plain script, and one job at a time beside as many as cores."""
    cores = len(os.sched_getaffinity(0))
    same = ["--model", chosen.model, "--batch", chosen.batch, "--opt-level", chosen.opt_level]
    kinds = {
        "plain script": ["--as", "plain"],
        "tool, 1 job": ["--as", "tool", "--jobs", "1"],
        "the same again": ["--as", "tool", "--jobs", "1"],
        f"tool, {cores} jobs": ["--as", "tool", "--jobs", str(cores)],
    }
    found: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        for number, (kind, how) in enumerate(kinds.items()):
            place = Path(folder) / str(number - 1 if kind == "the same again" else number)
            place.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "benchmarks.matrix", *same, *how]
            found[kind] = cost([*command, "--folder", str(place)], _environment(place))
    first = found["plain script"]
    rows = [
        [
            kind,
            f"{one.seconds:.1f}",
            f"{one.seconds / first.seconds:.2f}",
            f"{one.processor:.1f}",
            f"{one.processor / first.processor:.2f}",
        ]
        for kind, one in found.items()
    ]
    title = (
        f"{chosen.model}, batches {chosen.batch}, levels {chosen.opt_level}; goal {GOAL} in one job"
    )
    console.show_table(title, ["", "seconds", "÷ plain", "processors' seconds", "÷ plain"], rows)


def memory(chosen: argparse.Namespace) -> None:
    """Print the peak memory of the two kinds of job of each model."""
    rows = []
    for name in options.names(chosen.model):
        with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
            place, objects = Path(folder) / "b1", Path(folder) / "o"
            place.mkdir()
            objects.mkdir()
            given = ConversionRequest(
                spec=resolve_model(name), batch=1, folder=place, weights=Part(wanted=Path(folder))
            )
            env = _environment(Path(folder))
            made = cost(_command(CONVERT, given), env)
            done = cost(_command(COMPILE, request(place, 3, objects)), env)
        rows.append(
            [name, *(f"{value / 1e6:.0f}" for value in (made.peak, done.peak))]
            + [f"{value:.0f}" for value in (made.processor, done.processor)]
        )
    names = ["model", "convert, MB", "compile O3, MB", "convert, s", "compile O3, s of processors"]
    console.show_table("peak memory of a job", names, rows)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits-cnn")
    parser.add_argument("--batch", default="1,2,4")
    parser.add_argument("--opt-level", default="0,3")
    parser.add_argument("--memory", action="store_true", help="peak memory of single jobs")
    parser.add_argument("--as", dest="kind", choices=["tool", "plain"], help="one side alone")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.kind is None:
        (memory if chosen.memory else compared)(chosen)
        return
    names = options.names(chosen.model)
    batches = options.numbers("batch", chosen.batch)
    levels = options.numbers("opt-level", chosen.opt_level)
    if chosen.kind == "tool":
        tool(names, batches, levels, chosen.jobs)
    else:
        plain(names, batches, levels, chosen.folder)


if __name__ == "__main__":
    main()
