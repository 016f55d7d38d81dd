"""How long the steps take that talk to a device: `add-board`, `run`, the restart of a program.

`python -m benchmarks.steps --device` prints them. The board that is added and the one whose program
is restarted are sshds of this machine on 127.0.0.1, with a folder each; the one that runs a picture
is a container with this machine's own target, which is made and taken away.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from deploy.agent import service
from deploy.inventory import reading
from deploy.inventory.program import Program, Service
from deploy.release import deployment
from deploy.release.agent_session import Session
from deploy.release.shell.sessions import open_session
from deploy.run import deployed_model, device_run, inputs
from deploy.ssh import connection
from tests.support import openssh
from tests.support.bundles import make_bundle
from tests.support.product import Product
from tests.support.sshd import Sshd, deploy
from toolchain.core import paths, process
from toolchain.samples import public_images

INVOKE = [sys.executable, "-m", "invoke"]
NETWORK = "digits-cnn"


@dataclass(kw_only=True)
class Step:
    """Something that is measured in rounds.

    Attributes:
        name: what it is.
        goal: seconds that its median may take; None where there is none.
        seconds: of each round, by the clock.
        processor: seconds of the processors that this machine's side of it took, each round.
    """

    name: str
    goal: float | None
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, spent: tuple[float, float], *, without: tuple[float, float] = (0, 0)) -> None:
        """Enter a round: its clock and processor seconds, beyond those of something else."""
        self.seconds.append(spent[0] - without[0])
        self.processor.append(spent[1] - without[1])


def spent(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds that something takes, by the clock, and of processors here: its children's too."""
    before, started = _processor(), time.monotonic()
    do()
    return time.monotonic() - started, _processor() - before


def add_board(folder: Path, rounds: int) -> list[Step]:
    """A board that was never reached before is entered into an inventory that has none."""
    step = Step(name="invoke add-board, its host key new", goal=5.0)
    with _sshd(folder) as server:
        known, config = folder / "known", folder / "ssh_config"
        config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n")
        programs = openssh.wrapped(folder, config)
        env = {"HOME": str(folder), "PATH": f"{programs}:{os.environ['PATH']}"}
        command = [
            *INVOKE,
            "add-board",
            f"{getpass.getuser()}@127.0.0.1:{server.port}",
            "--accept-new",
        ]
        command += ["--key", str(server.device.key_file)]
        for number in range(rounds):
            known.unlink(missing_ok=True)
            asked = [*command, "--inventory", str(folder / f"{number}.yml")]
            step.add(spent(partial(process.run, asked, cwd=paths.ROOT, env=env)))
    return [step]


def restart(folder: Path, rounds: int) -> list[Step]:
    """What a deployment to a board with a program does for it: it is named, stopped and started.

    The program is `sleep`, which starts at once; the restart ends when it has gone on for a while.
    """
    step = Step(name="the restart of a program, in a deployment", goal=1.0)
    with _sshd(folder) as server:
        program = Program(service=Service(command="sleep 600"))
        device = dataclasses.replace(server.device, program=program)
        try:
            deploy(device, make_bundle(folder / "bundle"))
            with connection.connect(device) as conn, open_session(conn) as session:
                session.lock(deployment.whoami())
                for _ in range(rounds):
                    step.add(spent(partial(_restarted, session, program)))
        finally:
            service.stop(str(server.root))
    return [step]


def _restarted(session: Session, program: Program) -> None:
    session.attend(program)
    session.restart(program)


def run(folder: Path, rounds: int) -> list[Step]:
    """A digit through a network, beside what its run takes on a connection that is open."""
    whole = Step(name=f"invoke run, {NETWORK}", goal=None)
    there = Step(name="of that its run on the device", goal=None)
    more = Step(name="and everything else", goal=1.5)
    product = Product(folder=folder, inventory=folder / "inventory.yml")
    target, name = platform.machine(), f"steps-{os.getpid()}"
    where = ["--host", name, "--inventory", str(product.inventory)]
    picture = folder / "digit.png"
    pixels = public_images.digits()[2][0, ..., 0]
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(picture)
    product.invoke("emulator.up", "--name", name, "--target", target, *where[2:])
    try:
        product.invoke("build-wheels", "--target", target)
        product.invoke("compile", "--model", NETWORK, "--target", target)
        product.invoke("deploy", "--model", NETWORK, *where)
        command = [*INVOKE, "run", "--input", str(picture), *where]
        env = {"EDGEWRIGHT_DIST": str(folder)}
        process.run(command, cwd=paths.ROOT, env=env)
        for _ in range(rounds):
            own = _on_the_device(product.inventory, name, picture)
            all_of_it = spent(lambda: process.run(command, cwd=paths.ROOT, env=env))
            whole.add(all_of_it)
            there.add(own)
            more.add(all_of_it, without=own)
    finally:
        product.invoke("emulator.down", "--name", name, *where[2:])
    return [whole, there, more]


def _on_the_device(inventory: Path, name: str, picture: Path) -> tuple[float, float]:
    """What `spent` says of the run alone: from the start of the runner there to its last word."""
    device = reading.load(inventory).host(name)
    with connection.connect(device) as conn:
        model = deployed_model.deployed(conn, name, device.root, NETWORK, 1)
        choice = deployed_model.choose(
            model, runtime="", variant="", opt_level=None, threads=None, measured=None
        )
        items = inputs.read(picture, model.manifest.inputs, [])
        return spent(lambda: device_run.run(conn, device.root, model, choice, items, inputs=False))


@contextmanager
def _sshd(folder: Path) -> Iterator[Sshd]:
    server = Sshd(folder / "device")
    server.trust("host_key")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _processor() -> float:
    """Seconds of the processors so far: this process's, and of its children that have ended."""
    both = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
