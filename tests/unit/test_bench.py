"""Bench: which jobs are planned, and what is kept when something goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.measure import bench, jobs, matrix_order
from deploy.measure.jobs import Selection
from deploy.measure.runner_protocol import Job, Started
from tests.support import measured
from tests.support.deployed import DEPLOYED, END, LISTED, started
from toolchain.core.errors import BenchError, CommandError, ConnectionFailed, UsageError
from toolchain.results import measurement


class FakeConnection:
    """A device whose runner says what it was given to say, then ends or breaks."""

    def __init__(self, *events: dict[str, Any] | str, breaks: BaseException | None = None) -> None:
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


# the jobs in the order in which the runner gets them
SPREAD = matrix_order.spread(jobs.plan(DEPLOYED))


def told(job: Job, number: int) -> dict[str, Any]:
    """The runner's answer to a job."""
    content = json.loads(measured_as(job).model_dump_json())
    return {"event": "result", "job": number, "result": content}


def measured_as(job: Job) -> measurement.Measurement:
    return measured.measurement(
        model=job.model,
        batch=job.batch,
        runtime=job.runtime,
        variant=job.variant,
        opt_level=job.opt_level,
        threads=job.threads,
    )


RESULT = told(SPREAD[0], 0)
ANSWERS = [told(job, number) for number, job in enumerate(SPREAD)]
DROPPED = ConnectionFailed("board: the connection was lost", detail="reset")


def run(connection: FakeConnection, folder: Path, **options: Any) -> measurement.Result:
    result, path = bench.run(
        connection, host="board", release="~/edgewright/current", folder=folder, **options
    )
    assert measurement.load(path) == result
    return result


def test_everything_deployed_for_the_target_is_planned() -> None:
    planned = jobs.plan(DEPLOYED)
    assert [(j.model, j.batch, j.runtime, j.variant, j.opt_level) for j in planned] == [
        ("digits-cnn", 1, "tflite", "fp32", None),
        ("digits-cnn", 1, "tvm", "fp32", 0),
        ("digits-cnn", 1, "tvm", "fp32", 3),
        ("net", 4, "tflite", "fp32", None),
        ("net", 4, "tvm", "fp32", 0),
        ("net", 4, "tvm", "fp32", 3),
    ]
    assert planned[2].file == "models/digits-cnn/b1/rv64gc/O3.so"
    assert planned[2].samples == "models/digits-cnn/b1/samples.npz"


def test_a_library_in_integers_is_compared_with_the_kernels_whose_arithmetic_it_has() -> None:
    of_variant = {"file": "reference-int8.npz", "sha256": "c" * 64, "size": 1}
    kernels = {**of_variant, "file": "kernels-int8.npz"}
    listed = json.loads(json.dumps(LISTED))
    card = listed["models"][0]["card"]
    card["references"] = {"int8": of_variant}
    card["tflite"] = {"int8": {**of_variant, "file": "int8.tflite"}}
    library = {**card["libraries"]["rv64gc"]["O3"], "variant": "int8"}
    card["libraries"] = {
        "rv64gc": {
            "int8-O3": {**library, "kernels": kernels},
            "int8-O0": {**library, "opt_level": 0},
        }
    }
    planned = jobs.plan(jobs.Deployed.model_validate(listed), Selection(models=["digits-cnn"]))
    folder = "models/digits-cnn/b1"
    assert {(job.runtime, job.opt_level): job.reference for job in planned} == {
        ("tflite", None): f"{folder}/reference-int8.npz",
        ("tvm", 0): f"{folder}/reference-int8.npz",
        ("tvm", 3): f"{folder}/kernels-int8.npz",
    }


def test_a_choice_narrows_the_plan() -> None:
    selection = Selection(models=["net"], runtimes=["tvm"], opt_levels=[3], threads=[1, 2])
    planned = jobs.plan(DEPLOYED, selection)
    assert [(j.model, j.opt_level, j.threads) for j in planned] == [("net", 3, 1), ("net", 3, 2)]


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"models": ["nat"]}, "net"),
        ({"runtimes": ["onnx"]}, "tflite, tvm"),
        ({"variants": ["int8"]}, "fp32"),
        ({"opt_levels": [2]}, "--opt-level 2"),
        ({"batches": [2]}, "1, 4"),
    ],
)
def test_a_choice_of_nothing_names_what_there_is(choice: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        jobs.plan(DEPLOYED, Selection(**choice))
    assert named in caught.value.resolution


def test_choices_that_exclude_each_other_are_an_error() -> None:
    with pytest.raises(UsageError, match="nothing"):
        jobs.plan(DEPLOYED, Selection(models=["net"], batches=[1]))
    with pytest.raises(UsageError, match="thread"):
        jobs.plan(DEPLOYED, Selection(threads=[0]))


def test_a_result_comes_home(tmp_path: Path) -> None:
    seen: list[bench.Progress] = []
    where = {"event": "progress", "job": 0, "of": 6, "stage": "time", "done": 3, "seconds": 2.0}
    connection = FakeConnection(started(), where, *ANSWERS, END)
    result = run(
        connection, tmp_path, settings=measurement.Settings(budget_s=2), progress=seen.append
    )
    assert result.complete
    assert not result.emulated
    assert result.measurements == [measured_as(job) for job in jobs.plan(DEPLOYED)]
    assert connection.spec["budget_s"] == 2
    assert len(connection.spec["jobs"]) == 6
    assert connection.commands[0][0] == "edgewright/current/venv/bin/python"
    assert [p.stage for p in seen] == ["time", *["done"] * 6]
    first = SPREAD[0]
    named = first.configuration.variant_label
    assert seen[0].label == f"{first.model} b{first.batch} {first.runtime} {named} 1 thread"


def test_a_device_is_emulated_when_the_inventory_or_the_runner_says_so(tmp_path: Path) -> None:
    looks = FakeConnection(started(emulation="QEMU_CPU=rv64"), *ANSWERS, END)
    assert run(looks, tmp_path).emulated
    said = FakeConnection(started(), *ANSWERS, END)
    assert run(said, tmp_path, emulated=True).emulated


def test_a_level_leaves_the_other_runtime_alone() -> None:
    planned = jobs.plan(DEPLOYED, Selection(models=["net"], opt_levels=[0]))
    assert [(j.runtime, j.opt_level) for j in planned] == [("tflite", None), ("tvm", 0)]


def test_neighbours_in_the_plan_are_spread_in_time_and_back_in_the_result(tmp_path: Path) -> None:
    planned = jobs.plan(DEPLOYED, Selection(threads=[1, 2]))
    spread = matrix_order.spread(planned)
    assert spread != planned
    assert set(spread) == set(planned)
    assert spread == matrix_order.spread(list(reversed(planned)))
    answers = [told(job, number) for number, job in enumerate(spread)]
    connection = FakeConnection(started(), *answers, END)
    result = run(connection, tmp_path, jobs=planned)
    assert [j["file"] for j in connection.spec["jobs"]] == [job.file for job in spread]
    assert [m.configuration for m in result.measurements] == [j.configuration for j in planned]


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    planned = jobs.plan(DEPLOYED)
    with pytest.raises(BenchError):
        run(FakeConnection(started(), RESULT, breaks=DROPPED), tmp_path, jobs=planned)
    unfinished = partial(
        matrix_order.unfinished, host="board", settings=measurement.Settings(), counted=False
    )
    before = unfinished(measurement.load_all(tmp_path, pytest.fail), release="b" * 64)
    assert before is not None
    assert unfinished([before], release="c" * 64) is None
    rest = matrix_order.spread(matrix_order.left(planned, before))
    assert len(rest) == len(planned) - 1
    answers = [told(job, number) for number, job in enumerate(rest)]
    connection = FakeConnection(started(), *answers, END)
    result = run(connection, tmp_path, jobs=planned, before=before)
    assert [matrix_order.key(m) for m in result.measurements] == list(
        map(matrix_order.key, planned)
    )
    assert result.complete
    assert unfinished(measurement.load_all(tmp_path, pytest.fail), release="b" * 64) is None
    assert measurement.latest(measurement.load_all(tmp_path, pytest.fail)) == [result]


def test_what_was_measured_before_the_link_dropped_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="after 1 of 6 jobs") as caught:
        run(FakeConnection(started(), RESULT, breaks=DROPPED), tmp_path)
    (kept,) = measurement.load_all(tmp_path, pytest.fail)
    assert not kept.complete
    assert kept.measurements == [measured_as(SPREAD[0])]
    assert str(next(tmp_path.iterdir())) in caught.value.resolution


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt(), RuntimeError("a bug"), SystemExit(1)])
def test_whatever_ends_a_run_what_was_measured_is_kept(
    tmp_path: Path, ended_by: BaseException
) -> None:
    with pytest.raises(type(ended_by)) as caught:
        run(FakeConnection(started(), RESULT, breaks=ended_by), tmp_path)
    (kept,) = measurement.load_all(tmp_path, pytest.fail)
    assert not kept.complete
    assert kept.measurements == [measured_as(SPREAD[0])]
    assert str(next(tmp_path.iterdir())) in caught.value.__notes__[0]


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1e99", "[" * 5000, '{"a":' * 150])
@pytest.mark.parametrize("key", ["load_ns", "parity", "job"])
def test_an_answer_that_no_number_can_hold_or_nests_without_end_loses_no_other(
    tmp_path: Path, value: str, key: str
) -> None:
    nested = value + "1" + {"[": "]", "{": "}"}.get(value[0], "") * value.count(value[0])
    number = nested if value[0] in "[{" else value
    second = json.dumps(ANSWERS[1])
    if key == "job":
        harmed = second.replace('"job": 1', f'"job": {number}')
    else:
        harmed = second.replace(f'"{key}": ', f'"{key}": {number}, "{key}_": ')
    assert harmed != second
    with pytest.raises(BenchError) as caught:
        run(FakeConnection(started(), RESULT, harmed, *ANSWERS[2:], END), tmp_path)
    (kept,) = measurement.load_all(tmp_path, pytest.fail)
    assert not kept.complete
    assert measured_as(SPREAD[0]) in kept.measurements
    assert "run the same command again" in caught.value.resolution


def test_a_runner_that_leaves_a_job_out_has_not_ended(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="after 5 of 6 jobs"):
        run(FakeConnection(started(), *ANSWERS[:5], END), tmp_path)
    with pytest.raises(BenchError, match="after 6 of 6 jobs") as caught:
        run(FakeConnection(started(), *ANSWERS, RESULT, END), tmp_path)
    assert "second answer to job 0" in caught.value.detail


def test_a_link_that_drops_before_anything_was_measured_is_the_links_error(tmp_path: Path) -> None:
    for events in ([], [started()]):
        with pytest.raises(ConnectionFailed):
            run(FakeConnection(*events, breaks=DROPPED), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_runner_that_ends_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="ended early"):
        run(FakeConnection(started(), RESULT), tmp_path)


def test_noise_on_the_line_is_not_an_event(tmp_path: Path) -> None:
    connection = FakeConnection("Welcome!", started(), "{broken", "[]", *ANSWERS, END)
    assert run(connection, tmp_path).complete


def test_a_runner_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="said nothing") as caught:
        run(FakeConnection("no such thing"), tmp_path)
    assert "no such thing" in caught.value.detail


def test_a_runner_of_another_version_is_an_error(tmp_path: Path) -> None:
    strange = {"event": "result", "job": 0, "result": {"speed": 1}}
    with pytest.raises(BenchError, match="not the one this version knows"):
        run(FakeConnection(started(), strange, END), tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        {"runtime": "tvm" if SPREAD[0].runtime == "tflite" else "tflite"},
        {"samples_ns": [-1]},
        {"artifact": {"file": "f", "sha256": "short", "size": 1}},
    ],
)
def test_an_answer_that_can_not_be_is_an_error(tmp_path: Path, answer: dict[str, Any]) -> None:
    claimed = {**RESULT, "result": {**RESULT["result"], **answer}}
    with pytest.raises(BenchError, match="not the one this version knows"):
        run(FakeConnection(started(), claimed, END), tmp_path)


@pytest.mark.parametrize("number", [-1, 6])
def test_an_answer_to_a_job_that_was_not_asked_is_an_error(tmp_path: Path, number: int) -> None:
    with pytest.raises(BenchError, match="not the one this version knows"):
        run(FakeConnection(started(), {**RESULT, "job": number}, END), tmp_path)


def test_a_runner_of_a_release_of_before_levels_were_a_field_is_understood(tmp_path: Path) -> None:
    answers = [told(job, number) for number, job in enumerate(SPREAD)]
    for answer in answers:
        del answer["result"]["opt_level"]
    result = run(FakeConnection(started(), *answers, END), tmp_path)
    assert sorted(m.opt_level for m in result.measurements if m.opt_level is not None) == [
        0,
        0,
        3,
        3,
    ]
    assert {m.configuration for m in result.measurements} == {j.configuration for j in SPREAD}


def test_an_event_of_a_newer_runner_is_let_be(tmp_path: Path) -> None:
    newer = {"event": "weather", "sky": "clear"}
    later = {**END, "skipped": 0}
    assert run(FakeConnection(started(), newer, *ANSWERS, later), tmp_path).complete


@pytest.mark.parametrize(
    ("kernel", "bits", "machine"),
    [
        ("aarch64", 32, "armv7l"),
        ("armv8l", 32, "armv7l"),
        ("aarch64", 64, "aarch64"),
        ("riscv64", 64, "riscv64"),
        ("aarch64", None, "aarch64"),
    ],
)
def test_a_result_has_the_machine_of_the_devices_programs(
    kernel: str, bits: int | None, machine: str
) -> None:
    device = {"machine": kernel, "cores": 4, "ram_bytes": 1, "kernel": "6.6", "python": "3.11.2"}
    said = {"event": "start", "release": "", "device": device}
    started = Started.model_validate(said if bits is None else {**said, "bits": bits})
    assert started.described().machine == machine


def test_a_device_without_a_release_is_told_in_a_sentence() -> None:
    class Empty(FakeConnection):
        def run(self, args: Sequence[str], **_: Any) -> str:
            raise CommandError([*args], 127, "python: not found")

    with pytest.raises(BenchError, match="nothing is deployed") as caught:
        jobs.deployed(Empty(), "edgewright/current")
    assert "invoke deploy" in caught.value.resolution


def test_more_threads_than_cores_are_said_to_be() -> None:
    here = measured.result(*(measured.measurement(threads=n) for n in (1, 2, 4, 8)))
    assert bench.crowded(here).startswith("board has 4 cores: 8 threads")
    assert bench.crowded(measured.result(measured.measurement(threads=1))) == ""
