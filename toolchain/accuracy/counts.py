"""Accuracy on a user's own labelled images: the counts of each shard, kept as they come.

One JSON file in results/accuracy for a device, a model and a set of images; what is shown is
computed from its counts. It doesn't measure (`deploy.measure.accuracy` does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

from toolchain.core import store
from toolchain.core.errors import BenchError
from toolchain.results import earlier_schemas
from toolchain.results.configuration import Configuration, OptLevel, Runtime, Threads
from toolchain.results.field_types import Count, Positive
from toolchain.results.folder import newest, usable
from toolchain.results.measurement import Measurement


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Counts(_Part):
    """Of one shard under one runtime; the reference is its variant on the machine that sent it.

    `agree` counts images of which both say the same class.
    """

    total: Positive
    top1: Count
    top5: Count
    reference_top1: Count
    agree: Count

    @model_validator(mode="after")
    def _of_all(self) -> Self:
        if max(self.top1, self.top5, self.reference_top1, self.agree) > self.total:
            raise ValueError("more are counted than there are")
        return self


class Subject(_Part):
    """One configuration with one file, and its counts by shard; `error` ends it."""

    runtime: Runtime
    variant: str
    opt_level: OptLevel | None
    threads: Threads
    sha256: str
    shards: dict[str, Counts] = Field(default_factory=dict)
    error: str = ""

    @property
    def configuration(self) -> Configuration:
        """How the model is run; images are run one by one."""
        return Configuration.of(self, batch=1)

    def sum(self) -> Counts | None:
        """The counts of all shards; None before the first."""
        if not self.shards:
            return None
        shards = self.shards.values()
        return Counts(
            total=sum(shard.total for shard in shards),
            top1=sum(shard.top1 for shard in shards),
            top5=sum(shard.top5 for shard in shards),
            reference_top1=sum(shard.reference_top1 for shard in shards),
            agree=sum(shard.agree for shard in shards),
        )


class Run(_Part):
    """results/accuracy/NAME.json.

    Attributes:
        images: how many there are to run.
        unreadable: names of images that were left out.
        classes_matched: how labels and the model's classes were matched; empty in runs of before
            this was recorded, when folders were numbered in the order of their names.
        published_top1, published_top5: in percent, what others measured, on ImageNet.
        release: of the device when it began.
        content: the hash of the prepared images.
    """

    schema_: Literal[2] = Field(default=2, alias="schema")
    host: str
    model: str
    dataset: str
    images: int
    unreadable: list[str]
    classes_matched: str = ""
    published_top1: float | None = None
    published_top5: float | None = None
    emulated: bool
    release: str
    content: str
    subjects: list[Subject] = Field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it, by temporary name and rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_atomically(
            path, (self.model_dump_json(by_alias=True, indent=1) + "\n").encode()
        )

    def subject(self, configuration: Configuration, sha256: str) -> Subject:
        """The subject of a file in a configuration, new when it is not there or of other bytes."""
        for known in self.subjects:
            if known.configuration == configuration:
                if known.sha256 == sha256:
                    return known
                self.subjects.remove(known)
                break
        subject = Subject(
            runtime=configuration.runtime,
            variant=configuration.variant,
            opt_level=configuration.opt_level,
            threads=configuration.threads,
            sha256=sha256,
        )
        self.subjects.append(subject)
        self.subjects.sort(key=lambda s: (s.runtime, s.variant, s.opt_level or 0, s.threads))
        return subject


def load(path: Path) -> Run | None:
    """Read a run, of this version or of an earlier one; None when there is none.

    Raises:
        BenchError: the file can't be used.
    """
    try:
        return Run.model_validate(earlier_schemas.upgraded_accuracy(from_json(path.read_bytes())))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # not readable, no JSON, or none of a run
        raise BenchError(
            f"{path} can't be used",
            detail=str(error),
            resolution="move the file away, then measure again with `invoke accuracy`",
        ) from error


def load_all(
    folder: Path, unreadable: Callable[[str], None], more: Sequence[Path] = ()
) -> list[Run]:
    """Every run of a folder that can be used, by host, model and images.

    Args:
        folder: results/accuracy/.
        unreadable: told a line for each file that can't be used, which names it.
        more: files of others, which `shared_folder.files` gives.
    """
    runs = [run for run in usable(folder, load, unreadable, more) if run is not None]
    return sorted(newest(runs), key=lambda run: (run.host, run.model, run.dataset, run.content))


def counts_of(measurement: Measurement) -> Counts | None:
    """What the runner said of one shard; None where it failed before, or says other than counts."""
    accuracy, parity = measurement.accuracy, measurement.parity
    if measurement.status != "ok" or accuracy is None or parity is None:
        return None
    if parity.top1_agree is None or parity.top1_agree > accuracy.total:
        return None
    return Counts(
        total=accuracy.total,
        top1=accuracy.correct,
        top5=accuracy.correct_top5,
        reference_top1=accuracy.reference_correct,
        agree=parity.top1_agree,
    )
