"""What a model was worth by a metric, on a device and here: one JSON file in results/metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolchain.core import store
from toolchain.core.errors import BenchError
from toolchain.results.configuration import Configuration, OptLevel, Runtime, Threads
from toolchain.results.folder import newest, usable


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Judged(_Part):
    """One configuration with one file.

    Attributes:
        values: of its outputs on the device, by the metric's numbers' names.
        here: of its variant on the machine that sent it.
        error: why there are none.
    """

    runtime: Runtime
    variant: str
    opt_level: OptLevel | None
    threads: Threads
    sha256: str
    values: dict[str, float] = Field(default_factory=dict)
    here: dict[str, float] = Field(default_factory=dict)
    error: str = ""

    @property
    def configuration(self) -> Configuration:
        """How the model is run; images are run one by one."""
        return Configuration.of(self, batch=1)


class MetricRun(_Part):
    """results/metrics/NAME.json.

    Attributes:
        metric: its name, or the user's file.
        images: how many.
        release: of the device.
        content: the hash of the prepared images.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    host: str
    model: str
    dataset: str
    metric: str
    images: int
    emulated: bool
    release: str
    content: str
    subjects: list[Judged]

    @classmethod
    def load(cls, path: Path) -> MetricRun:
        """Read a run.

        Raises:
            BenchError: the file can't be used.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:  # not readable, no JSON, or none of a run
            raise BenchError(
                f"{path} can't be used",
                detail=str(error),
                resolution="move the file away, then measure again with `invoke accuracy`",
            ) from error

    def save(self, path: Path) -> None:
        """Write it, by temporary name and rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.model_dump_json(by_alias=True, indent=1) + "\n"
        store.write_atomically(path, text.encode())


def load_all(
    folder: Path, unreadable: Callable[[str], None], more: Sequence[Path] = ()
) -> list[MetricRun]:
    """Every run of a folder that can be used, by host, model and images.

    Args:
        folder: results/metrics/.
        unreadable: told a line for each file that can't be used, which names it.
        more: files of others, which `shared_folder.files` gives.
    """
    runs = usable(folder, MetricRun.load, unreadable, more)
    return sorted(newest(runs), key=lambda run: (run.host, run.model, run.dataset, run.metric))
