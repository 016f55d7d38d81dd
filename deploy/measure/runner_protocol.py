"""What is said between this machine and the runner on a device: a spec there, events back.

The runner travels with a release, so the one that answers may be older or newer than this module:
what it says beyond what is known here is let be. What a device says is a claim, which is checked;
what this machine knows of a job itself is not taken from the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.results import measurement as results
from toolchain.results.configuration import Configuration, OptLevel, Runtime
from toolchain.targets import compatible_programs

Count = Annotated[int, Field(ge=0)]


class Connection(Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Run a command on the device and return its standard output."""
        ...


def command(release: str, *arguments: str) -> list[str]:
    """The runner's command line on the device.

    Args:
        release: the release folder there, absolute or below ~/.
        arguments: beyond the release.
    """
    release = release.removeprefix("~/")  # nothing expands it there; commands start at home
    python = f"{release}/venv/bin/python"
    # -E: PYTHONPATH may lead to a home whose json.py is not the library's
    return [python, "-E", f"{release}/runner/main.py", "--release", release, *arguments]


class JobSignature(BaseModel):
    """A network's inputs and outputs, in the order that the artifact has them."""

    model_config = ConfigDict(frozen=True)
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Job(BaseModel):
    """One thing to measure; the paths are relative to the release.

    Attributes:
        variant: the network's numeric variant.
        opt_level: what it was compiled with; None under a runtime that has no levels.
        reference: what a variant gave on the machine that made it; the samples hold what the
            network gave as it was trained.
        signature: what goes in and comes out; a runner of before this takes one of each.
        state: which inputs are given outputs of the inference before, on the model's own samples.
        outputs: the absolute path of a file there that takes all outputs; none are kept without it.
        profiled: inferences of which each operator is timed, in the place of all else.
    """

    model_config = ConfigDict(frozen=True)
    model: str
    batch: int
    runtime: Runtime
    variant: str
    opt_level: OptLevel | None
    threads: int
    file: str
    sha256: str
    samples: str
    reference: str | None = None
    signature: JobSignature | None = None
    state: State | None = None
    outputs: str | None = None
    profiled: Annotated[int, Field(ge=1)] | None = None

    @property
    def configuration(self) -> Configuration:
        """How the model is run."""
        return Configuration.of(self, batch=self.batch)

    def measurement(self, answer: dict[str, Any]) -> results.Measurement:
        """What a device measured of this job.

        Args:
            answer: as the runner gave it; one of before the optimisation level was a field of its
                own leaves that out.

        Raises:
            ValueError: it is no measurement, or one of another job.
        """
        names = self.model_dump(include=NAMES)
        other = [name for name in names if name in answer and answer[name] != names[name]]
        if other:
            raise ValueError(f"the answer is to another job: {other[0]} is {answer[other[0]]!r}")
        return results.Measurement.model_validate({**answer, **names})


NAMES = {"model", "batch", "runtime", "variant", "opt_level", "threads"}


class Counter(BaseModel):
    """What counts guest instructions on an emulated device: the emulator's command, the plugin."""

    model_config = ConfigDict(frozen=True)
    emulator: list[str]
    plugin: str


class Spec(results.Settings):
    """What the runner is asked for, as one JSON object on its standard input."""

    jobs: list[Job]
    counter: Counter | None = None

    def text(self) -> str:
        """The spec as it is sent: the runner takes what is not there for not asked."""
        return self.model_dump_json(exclude_none=True)


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Started(_Event):
    """The first event: what the device is and which release it runs.

    Attributes:
        release: its id.
        device: the device, its machine as the kernel names it.
        bits: of a pointer in its programs; None from a runner that doesn't say it.
    """

    event: Literal["start"]
    release: str
    device: results.Device
    bits: int | None = None

    def described(self) -> results.Device:
        """The device, with the machine of its programs: they may be 32-bit on another kernel."""
        machine = self.device.machine
        if self.bits is not None:
            machine = compatible_programs.machine_of(machine, self.bits)
        return self.device.model_copy(update={"machine": machine})


class Advanced(_Event):
    """Where the runner is: `done` inferences of a job's stage."""

    event: Literal["progress"]
    job: Count
    of: Count
    stage: str
    done: Count = 0
    seconds: float = 0.0


class Measured(_Event):
    """The answer to a job, for `Job.measurement`."""

    event: Literal["result"]
    job: Count
    result: dict[str, Any]


class Ended(_Event):
    """The last event: without it the run was cut short."""

    event: Literal["end"]


Event = Started | Advanced | Measured | Ended
_KINDS: dict[object, type[Event]] = {
    "start": Started,
    "progress": Advanced,
    "result": Measured,
    "end": Ended,
}


def read(line: str) -> Event | str | None:
    """A line of the runner's standard output.

    Returns:
        the event; the line itself where it is none, as a login's greeting; None for an event of a
        newer runner.

    Raises:
        ValueError: it has an event's name and not what belongs to it.
    """
    try:
        content = from_json(line) if line.startswith("{") else None
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("event") is None:
        return line
    kind = _KINDS.get(str(content["event"]))
    return None if kind is None else kind.model_validate(content)
