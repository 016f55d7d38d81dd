"""A cluster for tests: what is asked of it, by a scheduler of Dask or one that is played."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.shared_caches import Team
from toolchain.cluster import task
from toolchain.cluster.cluster_executor import ClusterExecutor
from toolchain.cluster.messages import Answer, Beat, Question, Said
from toolchain.cluster.work import Job, Work
from toolchain.cluster.works.conversion_work import ConversionWork
from toolchain.core.errors import ModelError
from toolchain.core.store import Store
from toolchain.models.resolve import resolve_model
from toolchain.shared_cache import shared_store


@dataclass(frozen=True, kw_only=True)
class Doubled(Work):
    """An entry with the text of a file, twice."""

    file: Path
    number: int = 0

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return {"step": "convert", "text": self.file.read_text(), "number": self.number}

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        return {"text": self.file}

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        return type(self)(file=folder / "text", number=self.number)

    def make(self, store: Store, progress: Callable[[str], None]) -> None:
        """See `Work`."""
        progress("doubling")
        text = self.file.read_text()
        if text == "bad":
            raise ModelError("it is bad", resolution="have a good one")
        store.get_or_build(self.inputs(), lambda into: _write(into / "twice", text * 2))


@dataclass(frozen=True, kw_only=True)
class Counted(Work):
    """An entry that no file is read for."""

    number: int

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return {"step": "convert", "number": self.number}

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        return {}

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        del folder
        return self

    def make(self, store: Store, progress: Callable[[str], None]) -> None:
        """See `Work`."""
        progress("counting")
        store.get_or_build(self.inputs(), lambda into: _write(into / "is", str(self.number)))


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def silent(_: str) -> None:
    """The progress of a job that nobody watches."""


def job(work: Work, progress: Callable[[str], None] = silent) -> Job[str]:
    """A job of some work."""
    return Job(what="it", work=work, progress=progress)


def network(path: Path) -> ConversionWork:
    """The conversion of a file of one operator."""
    shape = [1, 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return ConversionWork(spec=resolve_model(None, model_file=path), batch=1)


@dataclass
class PlayedScheduler:
    """A scheduler whose workers are threads here, by what each does with a question.

    Attributes:
        asked: the addresses that were asked, in order.
    """

    at: dict[str, Callable[[str], str]]
    address: str = "tcp://played:1"
    running: bool = True
    asked: list[str] = field(default_factory=list)
    cancelled: int = 0
    beats: list[Callable[[Any], None]] = field(default_factory=list)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def workers(self) -> dict[str, int]:
        """See `Scheduler`."""
        return dict.fromkeys(self.at, 1)

    def submit(
        self, asked: str, key: str, workers: list[str] | None, *, heavy: bool
    ) -> Future[str]:
        """See `Scheduler`."""
        del heavy
        address = (workers or list(self.at))[0]
        self.asked.append(address)
        beat = Beat(key=key, worker=address, name=address[-1], line="begun")
        self.beats[0](beat.model_dump(mode="json"))
        return self.pool.submit(self.at[address], asked)

    def listen(self, heard: Callable[[Any], None]) -> None:
        """See `Scheduler`."""
        self.beats.append(heard)

    def cancel(self, futures: list[Any]) -> None:
        """See `Scheduler`."""
        self.cancelled += len(futures)

    def close(self) -> None:
        """See `Scheduler`."""


def works(address: str) -> Callable[[str], str]:
    """What a good worker does."""
    return lambda asked: task.answered(asked, address, silent).model_dump_json()


def refuses(address: str, brief: str) -> Callable[[str], str]:
    """What a worker does that can't do it."""
    error = Said(kind="Unfit", brief=brief)
    answer = Answer(worker=address, outcome="unfit", error=error)
    return lambda _: answer.model_dump_json()


def of_another_python(asked: str) -> str:
    """A question of someone whose Python is another one."""
    question = Question.model_validate_json(asked)
    return question.model_copy(update={"python": "2.7.18"}).model_dump_json()


def team(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A shared cache in a folder, and workers with stores of their own, which know our work."""
    (folder / "shared").mkdir()
    found = Team(folder, str(folder / "shared"), monkeypatch)
    for kind in (Doubled, Counted):
        monkeypatch.setitem(task.KINDS, kind.__name__, kind)

    def store(say: Callable[[str], None]) -> Any:
        there = shared_store.opened(say, share=True, jobs=True)
        there.root = folder / "worker"
        return there

    monkeypatch.setattr(task, "_store", store)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(folder / "here"))
    return found


def executor(scheduler: PlayedScheduler, team: Team) -> ClusterExecutor:
    """What has a team's jobs done by a scheduler that is played."""
    stores: list[Any] = [
        shared_store.opened(team.said.append, share=share, jobs=True) for share in (False, True)
    ]
    return ClusterExecutor(scheduler, *stores)
