"""Bench: which jobs are planned, and what is kept when something goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.measure import bench, matrix_order
from tests.support import measured
from toolchain.core.errors import BenchError, ConnectionFailed, EdgewrightError, UsageError
from toolchain.results import measurement


def manifest(model: str, batch: int = 1) -> dict[str, Any]:
    def made(name: str) -> dict[str, Any]:
        return {"file": name, "sha256": "a" * 64, "size": 1}

    return {
        "schema": 1,
        "model": model,
        "batch": batch,
        "tflite": {"fp32": made("fp32.tflite")},
        "libraries": {
            "rv64gc": {"O3": made("rv64gc/O3.so"), "O0": made("rv64gc/O0.so")},
            "aarch64": {"O3": made("aarch64/O3.so")},
        },
        "samples": {**made("samples.npz"), "count": 8, "labelled": False},
    }


LISTED = {
    "release": "b" * 64,
    "target": "rv64gc",
    "models": [
        {"folder": "models/digits-cnn/b1", "card": manifest("digits-cnn")},
        {"folder": "models/net/b4", "card": manifest("net", 4)},
    ],
}
DEPLOYED = bench.Deployed.model_validate(LISTED)


class FakeConnection:
    """A device whose runner says what it was given to say, then ends or breaks."""

    def __init__(
        self, *events: dict[str, Any] | str, breaks: EdgewrightError | None = None
    ) -> None:
        self.events = events
        self.breaks = breaks
        self.commands: list[list[str]] = []
        self.spec: dict[str, Any] = {}

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Record the command and play the script."""
        self.commands.append(list(args))
        if "--list" in args:
            return json.dumps(LISTED) + "\n"
        assert input_text is not None
        assert silence is not None
        self.spec = json.loads(input_text)
        assert on_line is not None
        for event in self.events:
            on_line(event if isinstance(event, str) else json.dumps(event))
        if self.breaks is not None:
            raise self.breaks
        return ""


def started(*, emulation: str | None = None) -> dict[str, Any]:
    device = measured.device(emulation=emulation).model_dump()
    return {"event": "start", "release": "b" * 64, "device": device, "jobs": 1}


RESULT = {
    "event": "result",
    "job": 0,
    "result": json.loads(measured.measurement().model_dump_json()),
}
END = {"event": "end", "failed": 0}
DROPPED = ConnectionFailed("board: the connection was lost", detail="reset")


def run(connection: FakeConnection, folder: Path, **options: Any) -> measurement.Result:
    result, path = bench.run(
        connection, host="board", release="~/edgewright/current", folder=folder, **options
    )
    assert measurement.load(path) == result
    return result


def test_everything_deployed_for_the_target_is_planned() -> None:
    jobs = bench.plan(DEPLOYED)
    assert [(j.model, j.batch, j.runtime, j.variant) for j in jobs] == [
        ("digits-cnn", 1, "tflite", "fp32"),
        ("digits-cnn", 1, "tvm", "O0"),
        ("digits-cnn", 1, "tvm", "O3"),
        ("net", 4, "tflite", "fp32"),
        ("net", 4, "tvm", "O0"),
        ("net", 4, "tvm", "O3"),
    ]
    assert jobs[2].file == "models/digits-cnn/b1/rv64gc/O3.so"
    assert jobs[2].samples == "models/digits-cnn/b1/samples.npz"


def test_a_choice_narrows_the_plan() -> None:
    jobs = bench.plan(DEPLOYED, models=["net"], runtimes=["tvm"], levels=[3], threads=[1, 2])
    assert [(j.model, j.variant, j.threads) for j in jobs] == [("net", "O3", 1), ("net", "O3", 2)]


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"models": ["nat"]}, "net"),
        ({"runtimes": ["onnx"]}, "tflite, tvm"),
        ({"variants": ["int8"]}, "fp32"),
        ({"levels": [2]}, "--opt-level 2"),
        ({"batches": [2]}, "1, 4"),
    ],
)
def test_a_choice_of_nothing_names_what_there_is(choice: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        bench.plan(DEPLOYED, **choice)
    assert named in caught.value.resolution


def test_choices_that_exclude_each_other_are_an_error() -> None:
    with pytest.raises(UsageError, match="nothing"):
        bench.plan(DEPLOYED, models=["net"], batches=[1])
    with pytest.raises(UsageError, match="thread"):
        bench.plan(DEPLOYED, threads=[0])


def test_a_result_comes_home(tmp_path: Path) -> None:
    seen: list[bench.Progress] = []
    where = {"event": "progress", "job": 0, "of": 6, "stage": "time", "done": 3, "seconds": 2.0}
    connection = FakeConnection(started(), where, RESULT, END)
    result = run(
        connection, tmp_path, settings=measurement.Settings(budget_s=2), progress=seen.append
    )
    assert result.complete
    assert not result.emulated
    assert result.measurements == [measured.measurement()]
    assert connection.spec["budget_s"] == 2
    assert len(connection.spec["jobs"]) == 6
    assert connection.commands[0][0] == "edgewright/current/venv/bin/python"
    assert [p.stage for p in seen] == ["time", "done"]
    first = matrix_order.spread(bench.plan(DEPLOYED))[0]
    assert seen[0].label == f"{first.model} b{first.batch} {first.runtime} {first.variant} 1 thread"


def test_a_device_is_emulated_when_the_inventory_or_the_runner_says_so(tmp_path: Path) -> None:
    looks = FakeConnection(started(emulation="QEMU_CPU=rv64"), RESULT, END)
    assert run(looks, tmp_path).emulated
    said = FakeConnection(started(), RESULT, END)
    assert run(said, tmp_path, emulated=True).emulated


def test_a_level_leaves_the_other_runtime_alone() -> None:
    jobs = bench.plan(DEPLOYED, models=["net"], levels=[0])
    assert [j.variant for j in jobs] == ["fp32", "O0"]


def test_neighbours_in_the_plan_are_spread_in_time_and_back_in_the_result(tmp_path: Path) -> None:
    jobs = bench.plan(DEPLOYED, threads=[1, 2])
    spread = matrix_order.spread(jobs)
    assert spread != jobs
    assert sorted(map(matrix_order.key, spread)) == sorted(map(matrix_order.key, jobs))
    assert spread == matrix_order.spread(list(reversed(jobs)))
    told = [
        {"event": "result", "job": number, "result": json.loads(measured_as(j).model_dump_json())}
        for number, j in enumerate(spread)
    ]
    connection = FakeConnection(started(), *told, END)
    result = run(connection, tmp_path, jobs=jobs)
    assert [j["variant"] for j in connection.spec["jobs"]] == [j.variant for j in spread]
    assert [matrix_order.key(m) for m in result.measurements] == [matrix_order.key(j) for j in jobs]


def measured_as(job: bench.Job) -> measurement.Measurement:
    return measured.measurement(
        model=job.model,
        batch=job.batch,
        runtime=job.runtime,
        variant=job.variant,
        threads=job.threads,
    )


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    jobs = bench.plan(DEPLOYED)
    with pytest.raises(BenchError):
        run(FakeConnection(started(), RESULT, breaks=DROPPED), tmp_path, jobs=jobs)
    unfinished = partial(
        matrix_order.unfinished, host="board", settings=measurement.Settings(), counted=False
    )
    before = unfinished(measurement.load_all(tmp_path), release="b" * 64)
    assert before is not None
    assert unfinished([before], release="c" * 64) is None
    rest = matrix_order.spread(matrix_order.left(jobs, before))
    assert len(rest) == len(jobs) - 1
    told = [
        {"event": "result", "job": number, "result": json.loads(measured_as(j).model_dump_json())}
        for number, j in enumerate(rest)
    ]
    connection = FakeConnection(started(), *told, END)
    result = run(connection, tmp_path, jobs=jobs, before=before)
    assert [matrix_order.key(m) for m in result.measurements] == [matrix_order.key(j) for j in jobs]
    assert result.complete
    assert unfinished(measurement.load_all(tmp_path), release="b" * 64) is None
    assert measurement.latest(measurement.load_all(tmp_path)) == [result]


def test_what_was_measured_before_the_link_dropped_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="after 1 of 6 jobs") as caught:
        run(FakeConnection(started(), RESULT, breaks=DROPPED), tmp_path)
    (kept,) = measurement.load_all(tmp_path)
    assert not kept.complete
    assert kept.measurements == [measured.measurement()]
    assert str(next(tmp_path.iterdir())) in caught.value.resolution


def test_a_link_that_drops_before_anything_was_measured_is_the_links_error(tmp_path: Path) -> None:
    for events in ([], [started()]):
        with pytest.raises(ConnectionFailed):
            run(FakeConnection(*events, breaks=DROPPED), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_runner_that_ends_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="ended early"):
        run(FakeConnection(started(), RESULT), tmp_path)


def test_noise_on_the_line_is_not_an_event(tmp_path: Path) -> None:
    connection = FakeConnection("Welcome!", started(), "{broken", "[]", RESULT, END)
    assert run(connection, tmp_path).complete


def test_a_runner_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="said nothing") as caught:
        run(FakeConnection("no such thing"), tmp_path)
    assert "no such thing" in caught.value.detail


def test_a_runner_of_another_version_is_an_error(tmp_path: Path) -> None:
    strange = {"event": "result", "job": 0, "result": {"speed": 1}}
    with pytest.raises(BenchError, match="not the one this version knows"):
        run(FakeConnection(started(), strange, END), tmp_path)
