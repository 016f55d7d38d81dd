"""Guest instructions an inference, of runtimes, networks and CPUs that are emulated here.

    invoke build-wheels --target rv64gcv --only onnxruntime
    invoke compile --target rv64gcv --model mobilenetv2,ds-cnn
    python -m benchmarks.guest_instructions --cpu rv64gc,rv64gcv-256 --model mobilenetv2,ds-cnn

Each number is of a job of the runner, float32, one thread, batch 1, under the emulator and the
plugin of `bench --count-instructions`: the difference of a short run and a long one, so that
import and load fall out. It runs in a container of the device's image, where the wheels are
unpacked and not installed, so that nothing has to be sent, and a busy machine makes it slow and
nothing else. A network goes with what was converted and compiled of it; what can't be counted has
its reason in the table's place. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deploy.measure import jobs
from toolchain import runtimes, targets
from toolchain.bundle import by_python
from toolchain.commandline import console, options
from toolchain.core import paths
from toolchain.core.errors import BuildError, EdgewrightError
from toolchain.core.store import Store, digest_of
from toolchain.images import build, instruction_counter, specification
from toolchain.images.build_container import Executor, Mount
from toolchain.images.engine import Engine
from toolchain.lock import fetch, pins
from toolchain.models.manifest import ModelManifest
from toolchain.models.variants import PLAIN
from toolchain.results.measurement import Instructions
from toolchain.runtimes import Runtime
from toolchain.targets import Target
from toolchain.wheels import build as wheels

RUNNER = paths.ROOT / "deploy" / "runner"
IN_CONTAINER = "/edgewright"
# a shell's script: the job, then the command that runs it; what it says, then the plugin's numbers
RUN = """job=$1; shift
"$@" < "$job" 2> /tmp/errors
printf '\\nstatus %s\\n' $?
cat /tmp/count || tail -n 5 /tmp/errors
rm -f /tmp/count"""
FEWEST = 3  # numbers of the plugin: before the first inference, after it, and after the last
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """What is emulated.

    Attributes:
        target: the name of the target whose wheels and libraries it is given.
        model: QEMU_CPU; the target's own when empty.
    """

    target: str
    model: str = ""


CPUS = {
    "rv64gc": Cpu(target="rv64gc", model="rv64,v=false"),
    "rv64gcv-128": Cpu(target="rv64gcv", model="rv64,v=true,vlen=128,vext_spec=v1.0"),
    "rv64gcv-256": Cpu(target="rv64gcv", model="rv64,v=true,vlen=256,vext_spec=v1.0"),
    "aarch64": Cpu(target="aarch64"),
}


def unpacked(runtime: Runtime, target: Target, manifest: ModelManifest, python: str) -> list[Path]:
    """The wheels that a runtime needs on a device with a Python such as "3.13".

    Raises:
        BuildError: one is not built.
        LockError: a pinned one can't be had.
        UsageError: no wheels run this network.
    """
    needed = runtime.wheels(target, [manifest])
    pinned = [pins.source(name) for name in needed.pinned]
    fitting = [p for p in pinned if by_python.only_python(p.file_name) in ("", python)]
    store = Store()
    fetch.fetch_all(fitting, store)
    files = [wheel.path for wheel in wheels.published(target, needed.built)]
    return files + [fetch.path_of(pin, store) for pin in fitting]


def counted(said: str) -> float:
    """Instructions an inference, out of what RUN printed.

    Raises:
        BuildError: the job failed; why.
    """
    lines = said.splitlines() or [""]
    told = [number for number, line in enumerate(lines) if line.startswith("status ")]
    status = told[-1] if told else len(lines) - 1
    parts = [json.loads(line).get("part", {}) for line in lines[:status] if line.startswith("{")]
    for part in parts:
        if "error" in part:
            raise BuildError(part["error"]["message"].splitlines()[0])
    if lines[status] != "status 0":
        raise BuildError(f"ended by {lines[status]}", detail=said[-2000:])
    numbers = lines[status + 1 :]
    if len(numbers) < FEWEST or not all(number.isdecimal() for number in numbers):
        raise BuildError("was not counted", detail="\n".join(numbers)[-2000:])
    before, first, *later = map(int, numbers)
    return Instructions(
        inferences=(1, 1 + len(later)), totals=(first - before, later[-1] - before)
    ).each


class Device:
    """A container in which jobs are run for one emulated CPU.

    Args:
        executor: the container, with `shared` at IN_CONTAINER and the counter at its place.
        cpu: what is emulated.
        shared: a folder of this machine.
    """

    def __init__(self, executor: Executor, cpu: Cpu, shared: Path) -> None:
        self._executor, self._shared = executor, shared
        self._target = targets.target(cpu.target)
        assert self._target.emulator is not None
        self._env = {"QEMU_CPU": cpu.model or self._target.emulator.cpu}
        self._python = executor.call(["python3", "-c", VERSION]).strip()

    def count(self, runtime: Runtime, manifest: ModelManifest) -> float:
        """Instructions an inference of a network under a runtime.

        Raises:
            EdgewrightError: it can't be counted, and why.
        """
        if runtime.unsupported(self._target):
            raise BuildError("no wheel")
        folder = f"{manifest.model}/b{manifest.batch}"
        one = jobs.DeployedModel(folder=folder, card=manifest)
        there = jobs.Deployed(release="", target=self._target.name, models=[one])
        made = [
            job for job in jobs.plan(there) if job.runtime == runtime.name and job.variant == PLAIN
        ]
        if not made:
            raise BuildError("no form of the network")
        job = max(made, key=lambda each: each.opt_level or 0)
        needed = unpacked(runtime, self._target, manifest, self._python)
        site = f"site-{digest_of([str(wheel) for wheel in needed])}"
        if not (self._shared / site).exists():
            part = self._shared / "part"
            shutil.rmtree(part, ignore_errors=True)
            for wheel in needed:
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(part)
            part.rename(self._shared / site)
        asked = job.model_dump(mode="json", exclude_none=True)
        asked |= {"release": f"{IN_CONTAINER}-models", "counted": True}
        (self._shared / "job.json").write_text(json.dumps(asked))
        place = f"{IN_CONTAINER}-counter"
        said = self._executor.call(
            ["sh", "-c", RUN, "sh", f"{IN_CONTAINER}/job.json"]
            + instruction_counter.emulator(place, self._target)
            + ["-plugin", f"{place}/{instruction_counter.PLUGIN},out=/tmp/count"]
            + ["/usr/bin/python3", f"{IN_CONTAINER}/runner/main.py", "--job"],
            env={
                **self._env,
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": f"{IN_CONTAINER}/{site}",
            },
        )
        return counted(said)


def main() -> None:
    """Count and print a table, and each number as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", default=",".join(CPUS), help=f"of {', '.join(CPUS)}")
    parser.add_argument("--model", default="digits-cnn", help="converted already")
    parser.add_argument("--runtime", default=",".join(runtimes.names()))
    chosen = parser.parse_args()
    names = options.names(chosen.cpu)
    if unknown := [name for name in names if name not in CPUS]:
        parser.error(f"no CPU {', '.join(unknown)}: there are {', '.join(CPUS)}")
    manifests = [
        ModelManifest.load(paths.dist() / "models" / name / "b1")
        for name in options.names(chosen.model)
    ]
    compared = [runtimes.runtime(name) for name in options.names(chosen.runtime)]
    cells: dict[tuple[str, str, str], str] = {}
    store, engine = Store(), Engine()
    counter = instruction_counter.folder(store, console.note)
    for name in names:
        spec = specification.spec("device", targets.target(CPUS[name].target))
        image = build.build(spec, engine, store, progress=console.note)
        with tempfile.TemporaryDirectory(prefix="edgewright-") as shared:
            # copied, as a bundle has it: some of its modules are links out of that folder
            shutil.copytree(RUNNER, Path(shared) / "runner")
            mounts = [
                Mount(source=Path(shared), target=IN_CONTAINER),
                Mount(source=counter, target=f"{IN_CONTAINER}-counter", read_only=True),
                Mount(
                    source=paths.dist() / "models",
                    target=f"{IN_CONTAINER}-models",
                    read_only=True,
                ),
            ]
            with engine.container(image.tag, mounts=mounts) as executor:
                device = Device(executor, CPUS[name], Path(shared))
                for runtime in compared:
                    for manifest in manifests:
                        try:
                            cell = f"{device.count(runtime, manifest) / 1e6:.4g}"
                        except EdgewrightError as error:
                            cell = error.brief
                        cells[manifest.model, runtime.label, name] = cell
                        console.note(f"{name}, {runtime.label}, {manifest.model}: {cell}")
    rows = [
        [manifest.model, runtime.label]
        + [cells[manifest.model, runtime.label, name] for name in names]
        for manifest in manifests
        for runtime in compared
    ]
    console.show_table("millions of guest instructions", ["network", "runtime", *names], rows)


if __name__ == "__main__":
    main()
