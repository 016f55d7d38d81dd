"""What a word of a command line means that stands after no option, and what is said of others."""

from __future__ import annotations

import copy
import functools

import pytest
from invoke.exceptions import Exit
from invoke.parser import Parser

import tasks
from toolchain.commandline import free_words, options
from toolchain.commandline.options import DEFAULT_TARGET, Board, Devices
from toolchain.core.errors import UsageError


@functools.cache
def of_tasks() -> Parser:
    """Invoke's parser for our tasks; a copy, as it takes their help away."""
    free_words.install()
    return Parser(contexts=copy.deepcopy(tasks.ns).to_contexts())


def parsed(line: str) -> list[tuple[str, dict[str, object]]]:
    """Each task of a command line, with the options that it was given."""
    return [
        (context.name, {a.name: a.value for a in context.args.values() if a.got_value})
        for context in of_tasks().parse_argv(line.split())
    ]


@pytest.mark.parametrize("name", ["deploy", "bench", "run", "accuracy", "releases", "tune", "keys"])
def test_a_word_after_a_task_on_devices_is_a_device(name: str) -> None:
    assert parsed(f"{name} my-board") == [(name, {"host": "my-board"})]


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("convert net.onnx", "model", "net.onnx"),
        ("compile net.onnx", "model", "net.onnx"),
        ("inspect net.onnx", "model", "net.onnx"),
        ("build-wheels x86_64", "target", "x86_64"),
        ("emulator.down emu-x", "name", "emu-x"),
        ("add-board pi@192.0.2.10", "address", "pi@192.0.2.10"),
        ("setup ncnn", "extra", "ncnn"),
    ],
)
def test_elsewhere_it_is_what_the_task_is_about(line: str, option: str, value: str) -> None:
    ((_, given),) = parsed(line)
    assert given == {option: value}


def test_a_name_comes_before_a_target() -> None:
    assert parsed("add-board pi@192.0.2.10 porch") == [
        ("add-board", {"address": "pi@192.0.2.10", "name": "porch"})
    ]
    assert parsed("emulator.up porch") == [("emulator.up", {"name": "porch"})]


def test_a_word_is_taken_wherever_it_stands_and_tasks_stay_tasks() -> None:
    assert parsed("bench --threads 2 a --json") == [
        ("bench", {"threads": "2", "host": "a", "json": True})
    ]
    assert parsed("convert a compile deploy b") == [
        ("convert", {"model": "a"}),
        ("compile", {}),
        ("deploy", {"host": "b"}),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("bench a b", "invoke bench --host a,b"),
        ("build-wheels a b", "invoke build-wheels --target b,"),
        ("clean 30", "clean takes no word without an option, such as '30'"),
        ("bench a --modle x", "invoke bench --model\\?"),
        ("benhc a", "invoke bench\\?"),
        ("bench --host", "--host takes a value"),
        ("bench --host a --budget", "--budget takes a value"),
        ("add-board", "add-board needs a word after it: ADDRESS"),
    ],
)
def test_what_means_nothing_is_refused_with_what_to_type(line: str, says: str) -> None:
    with pytest.raises(Exit, match=says) as caught:
        parsed(line)
    assert caught.value.code == UsageError.exit_code
    assert "what to do: " in str(caught.value.message)


def test_what_is_made_for_a_device_is_for_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Devices] = []

    def target_of(devices: Devices) -> str:
        asked.append(devices)
        return "aarch64"

    monkeypatch.setattr(options, "target_of_devices", target_of)
    assert Board().name() == DEFAULT_TARGET
    assert Board(target="armv7l").name() == "armv7l"
    assert Board(target="pi4").name() == "cortex-a72"
    assert Board(target="bpi-f3").name() == "rv64gcv"
    assert Board(host="pi", inventory="i.yml").name() == "aarch64"
    assert Board(host="pi", target="aarch64").name() == "aarch64"
    assert asked == [Devices(host="pi", inventory="i.yml"), Devices(host="pi")]
    with pytest.raises(UsageError, match="pi is of target aarch64, not rv64gc"):
        Board(host="pi", target="rv64gc").name()
