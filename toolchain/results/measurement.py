"""What one measurement is: raw samples and all that could explain them, as a JSON file.

The statistics are computed from it on demand and are not in the file. This module doesn't
measure (deploy/runner does) and doesn't show (report does).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from toolchain.core.errors import BenchError
from toolchain.core.new_file import write_new
from toolchain.results import earlier_schemas, statistics
from toolchain.results.conditions import Conditions, Energy, energy
from toolchain.results.configuration import Batch, Configuration, OptLevel, Runtime, Threads
from toolchain.results.operators import Operator
from toolchain.results.field_types import Count, Moment, Positive
from toolchain.results.folder import usable

EMULATED = "EMULATED"
# What an output that is no list of scores may differ by before it is marked: over its largest value,
# a few steps of 8 bits, which the check after conversion allows too; of its own scale; whole numbers.
APART, STEPS, DIFFERING = 0.05, 3, 0.05
# What sums of float32 near 1 are rounded by, a few times: sigmoids and softmaxes are no truer.
ROUNDED = 4 * 2.0**-24
# Over a classifier's largest score: nearer than that, another top class is a tie in float32.
TIED = 1e-4

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )


class Device(_Part):
    """The device as the runner found it; an empty string is what it could not read."""

    machine: str
    cpu: str = ""
    isa: str = ""
    cores: Positive
    ram_bytes: Count
    kernel: str
    os: str = ""
    libc: str = ""
    python: str
    governor: str = ""
    board: str = ""
    hostname: str = ""
    emulation: str | None = Field(
        default=None, description="why the device looks emulated; null when it does not"
    )


class Artifact(_Part):
    """The file that was run, hashed on the device."""

    file: str
    sha256: Sha256
    size: Count


class Delegated(_Part):
    """Nodes of a graph: in all, taken by delegates, and in how many parts."""

    total: Count
    taken: Count
    parts: Count


class OutputParity(_Part):
    """One output against its reference.

    `max_abs` is the largest absolute difference; null when a value was not finite where the
    reference's is. `differing` is the share of other values, of whole numbers and truth values.
    """

    name: str
    max_abs: Annotated[float, Field(ge=0)] | None
    reference_max_abs: Annotated[float, Field(ge=0)]
    reference_range: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="the reference's largest value less its smallest"
    )
    sqnr_db: float | None = Field(
        default=None, description="signal-to-quantisation-noise ratio; null when nothing differs"
    )
    differing: Annotated[float, Field(ge=0, le=1)] | None = None
    step: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="of the scale of an output that is itself rounded"
    )

    @property
    def holds(self) -> bool:
        """Whether it is what the reference is, as far as its arithmetic can tell."""
        if self.max_abs is None:
            return False
        if self.differing is not None:
            return self.differing <= DIFFERING
        return self.max_abs <= max(APART * self.reference_max_abs, STEPS * (self.step or 0), ROUNDED)


class Parity(_Part):
    """Parity with the reference on the same inputs.

    `max_abs` is the largest absolute difference of any output value; null when an output was not
    finite. `reference_max_abs` is the reference's largest value, to judge it by. `top1_agree` is
    null where the network is no classifier; `outputs` is empty in results of before there could be
    several. Where the network has a state, it went through sequences of `steps` inferences.
    """

    count: Positive
    available: Positive
    max_abs: Annotated[float, Field(ge=0)] | None
    reference_max_abs: Annotated[float, Field(ge=0)]
    top1_agree: Count | None = None
    steps: Positive | None = Field(
        default=None, description="of a sequence with state fed back; null without a state"
    )
    outputs: list[OutputParity] = Field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every output was finite, and had the reference's top class or its values."""
        if self.max_abs is None:
            return False
        if self.top1_agree is not None:
            tied = self.max_abs <= max(TIED * self.reference_max_abs, ROUNDED)
            return tied or self.top1_agree == self.count
        return all(output.holds for output in self.outputs)


class Accuracy(_Part):
    """Correct classes among labelled samples, of this runtime and of the reference."""

    total: Positive
    available: Positive
    correct: Count
    correct_top5: Count
    reference_correct: Count

    @model_validator(mode="after")
    def _of_all(self) -> Self:
        if max(self.correct, self.correct_top5, self.reference_correct) > self.total:
            raise ValueError("more correct classes than samples")
        return self


class Failure(_Part):
    """Why a job ended early: its stage, the exception's class or how the process ended."""

    stage: str
    kind: str
    message: str
    output: str = ""


class Instructions(_Part):
    """Guest instructions of so many inferences, after few of them and after many."""

    inferences: tuple[Positive, Positive]
    totals: tuple[Count, Count]

    @model_validator(mode="after")
    def _of_more(self) -> Self:
        (few, many), (less, more) = self.inferences, self.totals
        if few >= many or less >= more:
            raise ValueError("more inferences must take more instructions than fewer")
        return self

    @property
    def each(self) -> float:
        """Instructions an inference."""
        (few, many), (less, more) = self.inferences, self.totals
        return (more - less) / (many - few)


class Measurement(_Part):
    """One job: a model under a runtime. A failed one keeps what it had measured by then."""

    model: str
    batch: Batch
    runtime: Runtime
    variant: str = Field(description="the numeric variant of the network, such as fp32 or int8")
    opt_level: OptLevel | None = Field(
        description="what it was compiled with; null under a runtime that has no levels"
    )
    threads: Threads
    status: Literal["ok", "failed"]
    error: Failure | None = None
    artifact: Artifact | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    load_ns: Count | None = None
    warmup_ns: list[Count] = Field(default_factory=list)
    samples_ns: list[Count] = Field(default_factory=list)
    base_rss_bytes: Count | None = None
    peak_rss_bytes: Count | None = None
    delegated: Delegated | None = None
    instructions: Instructions | None = Field(
        default=None, description="counted on an emulated device, in a run of its own"
    )
    operators: list[Operator] = Field(
        default_factory=list, max_length=100_000, description="of a run that timed each operator"
    )
    conditions: Conditions | None = None
    parity: Parity | None = None
    accuracy: Accuracy | None = None
    predictions: list[Count] = Field(default_factory=list)

    @property
    def configuration(self) -> Configuration:
        """How the model was run."""
        return Configuration.of(self, batch=self.batch)

    def timing(self) -> statistics.Timing | None:
        """Statistics of its times; None when it has no usable ones."""
        return self._timing

    @functools.cached_property
    def _timing(self) -> statistics.Timing | None:
        # each part of a report asks for it, of every measurement
        try:
            return statistics.summarise(self.samples_ns, batch=self.batch)
        except ValueError:
            return None

    def energy(self) -> Energy | None:
        """What an inference takes, of warm-up and checks nothing; None where nothing tells."""
        if self.conditions is None:
            return None
        before, after = self.conditions.before, self.conditions.after
        return energy(
            (before.energy_uj, after.energy_uj),
            self.conditions.series,
            seconds=(after.monotonic_ns - before.monotonic_ns) / 1e9,
            inferences=len(self.samples_ns),
        )


class Settings(_Part):
    """What the runner was asked for, but for the jobs."""

    budget_s: Annotated[float, Field(ge=0)] = 10.0
    min_samples: Positive = 3
    max_samples: Positive = 5000
    warmup: Positive = 1
    parity_samples: Positive = 8
    check_s: Annotated[float, Field(ge=0)] = 60.0
    accuracy_s: Annotated[float, Field(ge=0)] = 900.0
    timeout_s: Annotated[float, Field(gt=0)] = 1800.0


class Result(_Part):
    """One run of the runner on one host."""

    schema_: Literal[2] = Field(default=2, alias="schema")
    host: str
    target: str
    release: str
    emulated: bool
    started: Moment
    finished: Moment
    complete: bool = Field(description="false when the link or the runner ended before its time")
    counted: bool = Field(
        default=False, description="true when instructions were counted and no times taken"
    )
    device: Device
    settings: Settings
    measurements: list[Measurement]

    @property
    def name(self) -> str:
        """Its file's name without the ending: time in UTC, then host."""
        return f"{self.started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.host}"


def schema() -> dict[str, Any]:
    """The JSON Schema of a result's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Result.model_json_schema(by_alias=True),
    }


def save(result: Result, folder: Path) -> Path:
    """Write a result to a file of its own in the folder; nothing half-written is left there."""
    text = result.model_dump_json(by_alias=True, indent=None) + "\n"
    return write_new(folder, result.name, ".json", text.encode())


def load(path: Path) -> Result:
    """Read a result, of this version or of an earlier one.

    Raises:
        BenchError: the file can't be read or isn't a result.
    """
    try:
        return Result.model_validate(earlier_schemas.upgraded_result(from_json(path.read_bytes())))
    except OSError as error:
        raise BenchError(f"{path}: can't be read", detail=str(error)) from error
    except ValueError as error:  # no JSON, or none of a result
        raise BenchError(
            f"{path}: not a result that this version reads",
            detail=_first_errors(error) if isinstance(error, ValidationError) else str(error),
            resolution="move the file away, or measure again with `invoke bench`",
        ) from error


def load_all(
    folder: Path, unreadable: Callable[[str], None], more: Sequence[Path] = ()
) -> list[Result]:
    """Every result of a folder that can be read, and of other files, oldest first.

    Args:
        folder: results/.
        unreadable: told a line for each file that can't be read, which names it.
        more: files of others, which `shared_folder.files` gives.
    """
    found = usable(folder, load, unreadable, more)
    return sorted(found, key=lambda r: (r.started, r.host))


def ambiguous(results: Sequence[Result]) -> list[str]:
    """A line for each host whose results are of devices that differ, as two people's may."""
    devices: dict[str, set[str]] = {}
    for result in results:
        device = result.device
        what = " ".join(filter(None, (device.board, device.cpu, device.machine)))
        devices.setdefault(result.host, set()).add(what)
    return [
        f"{host} is the name of {len(found)} devices: {'; '.join(sorted(found))}; the latest "
        "result counts: name them apart in inventory.yml"
        for host, found in sorted(devices.items())
        if len(found) > 1
    ]


def latest(results: list[Result]) -> list[Result]:
    """The last of each host, network and configuration, of times and of instructions; oldest first.

    An earlier result is left with the measurements that no later one of its host repeats.
    """
    found: list[Result] = []
    seen: set[tuple[str, bool, str, Configuration]] = set()
    for result in sorted(results, key=lambda r: r.started, reverse=True):
        of = (result.host, result.counted)
        keys = [(*of, m.model, m.configuration) for m in result.measurements]
        pairs = zip(keys, result.measurements, strict=True)
        kept = [m for key, m in pairs if key not in seen]
        if kept:
            found.append(result.model_copy(update={"measurements": kept}))
        seen.update(keys)
    return sorted(found, key=lambda r: (r.started, r.host))


def latency_ratio(
    a: tuple[Result, Measurement], b: tuple[Result, Measurement]
) -> statistics.Factor:
    """How many times the latency of `a` is that of `b`, and what noise leaves open.

    Raises:
        BenchError: one is emulated and the other is not, they are of different models, or one
            has no times.
    """
    (result_a, measured_a), (result_b, measured_b) = a, b
    if result_a.emulated != result_b.emulated:
        which = result_a.host if result_a.emulated else result_b.host
        raise BenchError(
            "an emulated latency is never compared with a real one",
            detail=f"{which} is emulated: its times are the emulator's, not a CPU's",
            resolution="compare results of real devices; under emulation compare instructions",
        )
    if (measured_a.model, measured_a.batch) != (measured_b.model, measured_b.batch):
        raise BenchError(
            "latencies of different models can't be compared",
            detail=f"{measured_a.model} at batch {measured_a.batch}, "
            f"{measured_b.model} at batch {measured_b.batch}",
        )
    if measured_a.timing() is None or measured_b.timing() is None:
        raise BenchError("a latency is missing: that job has no times to compare")
    return statistics.factor(measured_a.samples_ns, measured_b.samples_ns)


def _first_errors(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(p) for p in wrong['loc']) or 'file'}: {wrong['msg']}"
        for wrong in error.errors()
    ]
    return "\n".join(lines[:5])
