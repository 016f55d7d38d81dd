"""A search on this machine: TVM's RPC without SSH, libraries linked by this machine's compiler."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax, rpc

from deploy.agent import programs
from tests.support.networks import CASES
from toolchain import targets
from toolchain.compile import compilation_job, onnx_import, pipeline
from toolchain.compile.compilation import TILED
from toolchain.compile.tir import search_space
from toolchain.compile.tir.register_blocking import Tile
from toolchain.core import process
from toolchain.core.errors import ConnectionFailed
from toolchain.core.store import Store
from toolchain.tuning import records
from toolchain.tuning import search_job as tuning_work
from toolchain.tuning.budget import Budget
from toolchain.tuning.devices import MeasuringError, RemoteDevice, plausible_seconds
from toolchain.tuning.records import Database, Header
from toolchain.tuning.search_request import SearchResult

SERVER = Path(programs.__file__).with_name("rpc_server.py")
COMPILER = shutil.which("g++")
KEY = "0123456789abcdef"
TARGET = targets.of_this_machine()


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of the test's own."""
    monkeypatch.setenv("EDGEWRIGHT_RECORDS", str(tmp_path / "records"))


pytestmark = pytest.mark.skipif(COMPILER is None, reason="this machine has no C++ compiler")


@contextmanager
def server(idle: float = 3600.0) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A device's server on this machine, and its port."""
    program = [sys.executable, "-u", "-c", SERVER.read_text()]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(json.dumps({"key": KEY, "idle": idle, "threads": 1}).encode() + b"\n")
        running.stdin.flush()
        # TVM takes a while to begin on a busy machine: that long it is not left in silence
        while not select.select([running.stdout], [], [], 0.5)[0]:
            running.stdin.write(b"\n")
            running.stdin.flush()
        try:
            yield running, int(json.loads(running.stdout.readline())["port"])
        finally:
            running.stdin.close()
            running.wait(30)


def module() -> tvm.IRModule:
    """Two matrix products of different shape, the second twice."""
    draw = np.random.default_rng(1)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((16, 24), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = x
            for shape in ((24, 32), (32, 32), (32, 32)):
                weights = relax.const(draw.standard_normal(shape).astype(np.float32))
                y = builder.emit(relax.op.matmul(y, weights))
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    return pipeline.lower(builder.get(), compilation_job.host_target(), TILED)


def link(objects: list[Path], output: Path) -> None:
    """By this machine's compiler."""
    assert COMPILER is not None
    process.run([COMPILER, "-shared", "-fPIC", *objects, "-o", output])


def searched(
    lowered: tvm.IRModule, folder: Path, ports: dict[str, int], trials: int
) -> SearchResult:
    """What a search came to."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    prepared = tuning_work.prepared(
        lowered,
        compilation_job.host_target(),
        database=Database(Store(folder), Header.of(TARGET, "1")),
        link=link,
        folder=scratch,
        devices=[
            RemoteDevice(name=name, port=port, key=KEY, say=lambda _: None, away=3.0)
            for name, port in ports.items()
        ],
        budget=Budget(trials=trials),
        progress=lambda _: None,
    )
    return tuning_work.search(prepared)


def test_a_search_begins_with_our_own_goes_on_where_it_was_and_changes_no_result(
    tmp_path: Path,
) -> None:
    lowered = module()
    with server() as (_, port), server() as (_, other):
        first = searched(lowered, tmp_path, {"a": port, "b": other}, 3)
        second = searched(lowered, tmp_path, {"a": port, "b": other}, 7)
    assert (first.trials, first.new) == (3, 3)
    assert (second.trials, second.new) == (7, 4)
    trials = Database(Store(tmp_path), Header.of(TARGET, "1")).trials()
    assert [t.own for t in trials[:4]] == [True] * 4  # two functions, each on both devices
    assert {t.host for t in trials} == {"a", "b"}
    assert all(t.seconds for t in trials)
    assert second.curve
    # whatever it found: all that was tried is used, and the network computes the same
    tuned = {t.workload: Tile(**t.tile.model_dump()) for t in trials if not t.own}
    assert search_space.count(tuned, lowered) > 0
    x = tvm.runtime.tensor(np.ones((16, 24), np.float32))
    outputs = []
    for tiles in ({}, tuned):
        scheduled, _ = pipeline.schedule(lowered, compilation_job.host_target(), TILED, tiles)
        machine = relax.VirtualMachine(
            pipeline.build(scheduled, compilation_job.host_target()), tvm.cpu()
        )
        outputs.append(machine["main"](x).numpy())
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4)


def test_a_function_with_an_exponential_is_tuned_too(tmp_path: Path) -> None:
    lowered = pipeline.lower(
        onnx_import.from_onnx(CASES["x * sigmoid(x), its tanh"]),
        compilation_job.host_target(),
        TILED,
    )
    with server() as (_, port):
        assert searched(lowered, tmp_path, {"a": port}, 2).trials == 2


def test_a_device_that_goes_costs_what_it_had_in_hand_and_no_record(tmp_path: Path) -> None:
    lowered = module()
    with server() as (_, port):
        searched(lowered, tmp_path, {"a": port}, 2)
    kept = Database(Store(tmp_path), Header.of(TARGET, "1")).trials()
    with pytest.raises(ConnectionFailed, match="no device is left") as caught:
        searched(lowered, tmp_path, {"a": port}, 5)
    assert "again" in caught.value.resolution
    assert Database(Store(tmp_path), Header.of(TARGET, "1")).trials() == kept
    with server() as (_, port):
        assert searched(lowered, tmp_path, {"a": port}, 5).new == 3
    assert records.ratios(Database(Store(tmp_path), Header.of(TARGET, "1")).trials())


def greeting(key: bytes, length: int | None = None, magic: int = 0xFF271) -> bytes:
    """What a client says first, as TVM has it."""
    return struct.pack("<ii", magic, len(key) if length is None else length) + key


STRANGERS = {
    "an empty key": greeting(b""),
    "blanks": greeting(b"   "),
    "another key": greeting(b"client:0123456789abcdee"),
    "the key as a server": greeting(b"server:" + KEY.encode()),
    "bytes that are no text": greeting(b"\xff\xfe client"),
    "a key of less than nothing": greeting(b"", length=-1),
    "a key without end": greeting(b"client:", length=(1 << 31) - 1),
    "something else": b"GET / HTTP/1.1\r\n\r\n",
    "half of a number": b"\x71",
    "nothing": b"",
}


def answers(port: int) -> bool:
    """Whether who knows the key gets a session."""
    return bool(rpc.connect("127.0.0.1", port, KEY, session_timeout=30).cpu(0).exist)


def test_who_says_something_else_ends_no_server() -> None:
    with server() as (running, port):
        for said in STRANGERS.values():
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                stranger.sendall(said)
                if len(said) >= 8:
                    with suppress(ConnectionResetError):
                        assert stranger.recv(64) in (b"", struct.pack("<i", 0xFF271 + 2))
            assert running.poll() is None
        assert answers(port)


def test_who_is_silent_keeps_nobody_out() -> None:
    with server() as (_, port), ExitStack() as stack:
        for number in range(50):
            stranger = socket.create_connection(("127.0.0.1", port), timeout=10)
            stack.enter_context(stranger)
            stranger.sendall(greeting(b"client:", length=60)[: number % 12])
        began = time.monotonic()
        assert answers(port)
        assert answers(port)
        assert time.monotonic() - began < 20


def descendants(process: int) -> set[int]:
    """All processes that a process has started, and theirs."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return set()
    found = {int(child) for child in children}
    return found.union(*(descendants(child) for child in found))


def runs(process: int) -> bool:
    """Whether a process is there, and is more than how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_is_killed_with_its_group_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with server() as (running, port):
        assert answers(port)
        every = descendants(running.pid)
        assert len(every) >= 2
        assert list(tmp_path.iterdir())
        os.killpg(running.pid, end)
        running.wait(30)
        for _ in range(150):
            if not any(runs(one) for one in every) and not list(tmp_path.iterdir()):
                break
            time.sleep(0.1)
        assert [one for one in every if runs(one)] == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_left_goes_at_the_next_start_unless_somebody_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    left, used, fresh = (tmp_path / f"edgewright-tune-{name}" for name in ("left", "used", "fresh"))
    for folder in (left, used, fresh):
        folder.mkdir()
        (folder / "library.so").write_text("x")
    for folder in (left, used):
        os.utime(folder, (1, 1))
    held = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with server():
            assert not left.exists()
            assert (used / "library.so").is_file()
            assert (fresh / "library.so").is_file()
    finally:
        os.close(held)


def test_a_server_that_hears_nothing_more_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with server(idle=2.0) as (running, _):
        every = {running.pid, *descendants(running.pid)}
        assert list(tmp_path.iterdir())
        running.wait(60)
        for _ in range(300):
            if not any(runs(one) for one in every):
                break
            time.sleep(0.1)
        assert not any(runs(one) for one in every)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("times", [[], [0.001, 0.0], [-1.0], [float("inf")], [float("nan")]])
def test_times_that_can_not_be_are_no_times(times: list[float]) -> None:
    with pytest.raises(MeasuringError, match="the device says"):
        plausible_seconds(times)
    assert plausible_seconds([0.001]) == [0.001]
