"""Pieces of the runner that need no process."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends, conduct, device, emulation, job, watch
from edgewright_runner.backends import tflite

from toolchain import runtimes
from toolchain.results import conditions, measurement


def node(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": np.array(inputs), "outputs": np.array(outputs)}


def test_a_graph_without_a_delegate_has_no_node_taken() -> None:
    ops = [node("CONV_2D", [0, 9], [1]), node("SOFTMAX", [1], [2])]
    assert tflite.delegated_nodes(ops) == {"total": 2, "taken": 0, "parts": 0}


def test_nodes_between_two_delegated_parts_are_not_counted() -> None:
    ops = [
        node("CONV_2D", [0, 9], [1]),
        node("RELU", [1], [2]),
        node("CUSTOM", [2], [3]),
        node("PAD", [3], [4]),
        node("ADD", [4, 2], [5]),
        node("DELEGATE", [0, 9], [2]),
        node("DELEGATE", [3, 2], [5]),
    ]
    assert tflite.delegated_nodes(ops) == {"total": 5, "taken": 4, "parts": 2}


def test_optional_inputs_are_no_tensors() -> None:
    ops = [node("FULLY_CONNECTED", [0, 1, -1], [2]), node("DELEGATE", [0], [2])]
    assert tflite.delegated_nodes(ops)["taken"] == 1


def test_hwcap_letters_of_riscv() -> None:
    bits = sum(1 << (ord(letter) - ord("a")) for letter in "imafdcv")
    assert device.riscv_letters(bits) == "imafdcv"
    assert device.riscv_letters(bits & ~(1 << (ord("v") - ord("a")))) == "imafdc"


def test_this_machine_is_described_and_is_not_emulated() -> None:
    found = measurement.Device.model_validate(device.describe())
    assert found.ram_bytes > 0
    assert found.python
    assert found.emulation is None


CPU_INFO = {
    "x86_64": "processor\t: 0\nvendor_id\t: GenuineIntel\n",
    "aarch64": "processor\t: 0\nCPU implementer\t: 0x41\n",
    "riscv64": "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc\n",
}


@pytest.mark.parametrize("machine", [*CPU_INFO, "armv7l", "i686"])
@pytest.mark.parametrize("shown", CPU_INFO)
def test_another_machines_cpu_gives_an_emulated_device_away(
    monkeypatch: pytest.MonkeyPatch, machine: str, shown: str
) -> None:
    files = {"/proc/cpuinfo": CPU_INFO[shown]}
    monkeypatch.setattr(emulation, "_read", lambda path: files.get(path, ""))
    same = emulation.family(machine) == emulation.family(shown)
    assert bool(emulation.emulation(machine)) != same


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        (f"/proc/{os.getppid()}/cmdline", "/usr/bin/qemu-riscv64\0-0\0sh\0", "parent process"),
        ("/proc/sys/kernel/arch", "x86_64\n", "the kernel is of x86_64"),
        ("/proc/device-tree/compatible", "riscv-virtio\0qemu\0", "QEMU's"),
    ],
)
def test_what_else_gives_an_emulated_device_away(
    monkeypatch: pytest.MonkeyPatch, path: str, text: str, why: str
) -> None:
    monkeypatch.setattr(emulation, "_read", lambda asked: text if asked == path else "")
    assert why in emulation.emulation("riscv64")


def test_a_snapshot_is_what_a_result_holds() -> None:
    found = conditions.Snapshot.model_validate(watch.snapshot())
    assert found.cpu_seconds > 0
    assert watch.peak_rss_bytes() > 1 << 20


def test_the_runners_defaults_are_those_of_the_settings() -> None:
    settings = measurement.Settings().model_dump()
    assert {key: settings[key] for key in job.DEFAULTS} == job.DEFAULTS


def test_each_runtime_has_its_twin_on_the_device() -> None:
    assert set(backends.names()) == set(runtimes.all_runtimes())


@pytest.mark.parametrize("name", ["nothing", "__init__", "os", "../backends"])
def test_only_a_module_of_the_folder_is_a_runtime(name: str) -> None:
    with pytest.raises(ValueError, match="unknown runtime"):
        backends.open_runtime(name, 1)


@pytest.mark.parametrize("nested", [False, True])
def test_an_answer_that_is_no_json_is_a_failed_job_and_ends_no_other(
    capsys: pytest.CaptureFixture[str], *, nested: bool
) -> None:
    value: Any = float("inf")
    for _ in range(100_000 if nested else 0):
        value = [value]
    asked = {"model": "net", "runtime": "tvm", "threads": 1}
    assert conduct._told(3, asked, {**asked, "status": "ok", "load_ns": value})
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["job"]) == ("result", 3)
    assert event["result"]["status"] == "failed"
    assert event["result"]["error"]["stage"] == "answer"
    assert event["result"]["model"] == "net"


@pytest.mark.parametrize("line", ["[" * 100_000, "[1]", '{"part": 3}', "7", "{"])
def test_what_a_runtime_prints_in_a_jobs_place_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "out").write_text(f'{line}\n{{"stage": "end", "part": {{"load_ns": 5}}}}\n')
    program = tmp_path / "main.py"
    program.write_text(f"print(open({str(tmp_path / 'out')!r}).read(), end='')")
    monkeypatch.setattr(sys, "argv", [str(program)])
    position = {"job": 0, "of": 1}
    result = conduct.run_job(tmp_path, {"model": "net"}, timeout=60, position=position)
    assert result == {"model": "net", "status": "ok", "load_ns": 5}


def test_a_snapshot_counts_what_others_do_and_how_long_threads_wait() -> None:
    before = watch.snapshot()
    latest = time.monotonic() + 0.3
    while time.monotonic() < latest:
        pass
    after = watch.snapshot()
    assert after["busy_seconds"] > before["busy_seconds"]
    assert after["waited_seconds"] >= before["waited_seconds"] >= 0
