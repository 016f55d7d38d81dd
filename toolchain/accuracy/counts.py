"""Accuracy on a user's own labelled images: the counts of each shard, kept as they come.

One JSON file in results/accuracy for a device, a model and a set of images; what is shown is
computed from its counts. It doesn't measure (`deploy.measure.accuracy` does).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.core import store
from toolchain.core.errors import BenchError
from toolchain.results import measurement as results
from toolchain.results.measurement import Runtime

Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Counts(_Part):
    """Of one shard under one runtime; the reference is the same form on the machine that sent it.

    `agree` counts images of which both say the same class.
    """

    total: Count
    top1: Count
    top5: Count
    reference_top1: Count
    agree: Count


class Subject(_Part):
    """One runtime with one file, and its counts by shard; `error` ends it."""

    runtime: Runtime
    variant: str
    threads: int
    sha256: str
    shards: dict[str, Counts] = Field(default_factory=dict)
    error: str = ""

    def sum(self) -> Counts | None:
        """The counts of all shards; None before the first."""
        if not self.shards:
            return None
        each = [counts.model_dump() for counts in self.shards.values()]
        return Counts(**{name: sum(one[name] for one in each) for name in each[0]})


class Run(_Part):
    """results/accuracy/NAME.json.

    Attributes:
        images: how many there are to run.
        unreadable: names of images that were left out.
        published_top1, published_top5: in percent, what others measured, on ImageNet.
        release: of the device when it began.
        content: the hash of the prepared images.
    """

    host: str
    model: str
    dataset: str
    images: int
    unreadable: list[str]
    published_top1: float | None = None
    published_top5: float | None = None
    emulated: bool
    release: str
    content: str
    subjects: list[Subject] = Field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it, by temporary name and rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())

    def subject(self, runtime: Runtime, variant: str, threads: int, sha256: str) -> Subject:
        """The subject of a file under a runtime, new when it is not there or of other bytes."""
        for known in self.subjects:
            if (known.runtime, known.variant, known.threads) == (runtime, variant, threads):
                if known.sha256 == sha256:
                    return known
                self.subjects.remove(known)
                break
        made = Subject(runtime=runtime, variant=variant, threads=threads, sha256=sha256)
        self.subjects.append(made)
        self.subjects.sort(key=lambda s: (s.runtime, s.variant, s.threads))
        return made


def load(path: Path) -> Run | None:
    """Read a run; None when there is none.

    Raises:
        BenchError: the file can't be used.
    """
    try:
        return Run.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BenchError(
            f"{path} can't be used",
            detail=str(error),
            resolution="move the file away, then measure again with `invoke accuracy`",
        ) from error


def load_all(folder: Path) -> list[Run]:
    """Every run of a folder, by host, model and images.

    Raises:
        BenchError: one of them can't be used.
    """
    found = [run for path in folder.glob("*.json") if (run := load(path)) is not None]
    return sorted(found, key=lambda run: (run.host, run.model, run.dataset, run.content))


def counts_of(measurement: results.Measurement) -> Counts | None:
    """What the runner said of one shard; None where it failed before."""
    accuracy, parity = measurement.accuracy, measurement.parity
    if measurement.status != "ok" or accuracy is None or parity is None:
        return None
    return Counts(
        total=accuracy.total,
        top1=accuracy.correct,
        top5=accuracy.correct_top5,
        reference_top1=accuracy.reference_correct,
        agree=parity.top1_agree,
    )
