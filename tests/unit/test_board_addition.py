"""A board that is in no inventory yet: its address, what it is taken for, what it still lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.inventory import reading
from deploy.release import board_addition
from tests.support.probed import device_facts, riscv
from toolchain import targets
from toolchain.core.errors import BuildError, DeviceRefused, InventoryError, UsageError
from toolchain.targets import boards


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("192.0.2.10", {"ansible_host": "192.0.2.10"}),
        ("pi@192.0.2.10", {"ansible_host": "192.0.2.10", "ansible_user": "pi"}),
        ("pi@192.0.2.10:22", {"ansible_host": "192.0.2.10", "ansible_user": "pi"}),
        ("shelf:2222", {"ansible_host": "shelf", "ansible_port": 2222}),
        ("ssh://pi@shelf.local", {"ansible_host": "shelf.local", "ansible_user": "pi"}),
        ("2001:db8::7", {"ansible_host": "2001:db8::7"}),
        ("[2001:db8::7]:2222", {"ansible_host": "2001:db8::7", "ansible_port": 2222}),
        ("pi@fe80::7%eth0", {"ansible_host": "fe80::7%eth0", "ansible_user": "pi"}),
    ],
)
def test_an_address_is_what_ssh_takes(address: str, reached: dict[str, object]) -> None:
    assert board_addition.variables(address, "") == reached


@pytest.mark.parametrize("address", ["", "a b", "-oProxyCommand=x", "pi@", "h:70000", "a@b@c"])
def test_what_is_no_address_is_refused_before_anything_is_reached(address: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        board_addition.variables(address, "")


def test_a_key_is_named_so_that_the_inventory_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "id").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    named = "ansible_ssh_private_key_file"
    assert board_addition.variables("shelf", "id")[named] == str(tmp_path / "id")
    assert board_addition.variables("shelf", "~/id")[named] == "~/id"
    with pytest.raises(UsageError, match="there is no file"):
        board_addition.variables("shelf", "other")


PI = {"machine": "aarch64", "multiarch": "aarch64-linux-gnu", "hwcap": 0b11, "cpuinfo": {}}
PI5 = PI | {"hwcap": 0b11 | 1 << 8 | 1 << 20}  # <asm/hwcap.h>: fp, asimd, atomics, asimddp


@pytest.mark.parametrize(
    ("said", "block"),
    [
        (PI5 | {"board": "Raspberry Pi 5 Model B Rev 1.0"}, {"board": "pi5"}),
        (PI | {"board": "Raspberry Pi 4 Model B Rev 1.5"}, {"board": "pi4"}),
        (PI5 | {"board": "NVIDIA Jetson Orin Nano Developer Kit"}, {"board": "jetson-orin-nano"}),
        # a board that isn't known, and one whose name only begins like one that is
        (PI | {"board": "Someone's board"}, {"target": "aarch64"}),
        (PI | {"board": "Raspberry Pi 4000"}, {"target": "aarch64"}),
        # a known board with a system of which the target makes nothing
        ({"board": "Banana Pi BPI-F3"}, {"target": "rv64gc"}),
        ({"hwcap": riscv("imafdcv")}, {"target": "rv64gcv"}),
        ({"hwcap": riscv("imafdcv"), "board": "spacemit k1-x deb1 board"}, {"board": "bpi-f3"}),
        ({"emulation": "qemu"}, {"target": "rv64gc", "emulated": True}),
    ],
)
def test_the_target_is_the_best_that_the_board_runs(
    said: dict[str, object], block: dict[str, object]
) -> None:
    assert board_addition.describe(device_facts(**said)).block() == block


def test_what_the_board_does_not_run_is_refused_with_what_it_does() -> None:
    for asked in ({"target": "rv64gcv"}, {"board": "bpi-f3"}, {"target": "aarch64"}):
        with pytest.raises(DeviceRefused, match="does not run code") as caught:
            board_addition.describe(device_facts(), **asked)
        assert "rv64gc" in caught.value.resolution
    with pytest.raises(DeviceRefused, match="no target fits"):
        board_addition.describe(device_facts(hwcap=riscv("ima")))
    with pytest.raises(UsageError, match="pi6"):
        board_addition.refuse_unknown("pi6", "")


def test_what_is_to_be_installed_is_one_command() -> None:
    bare = device_facts(modules={"numpy": None}, venv=False, pip=False, python="3.10.12")
    lines = board_addition.describe(bare).to_do()
    assert lines[0] == "there: sudo apt-get install python3-numpy python3-venv python3-pip"
    assert "Python is 3.10.12" in lines[1]
    assert board_addition.describe(device_facts()).to_do() == []


def test_a_board_without_python_is_told_what_works_there() -> None:
    small = board_addition.describe(device_facts(python="none", modules={}, venv=False, pip=False))
    assert small.to_do() == [], "nothing that a release for it would miss"
    assert small.works().startswith("it has no Python: programs in C and C++ run networks there")
    assert small.following("small") == [
        "invoke build-library --target rv64gc",
        "invoke deploy --host small --library --dry-run",
    ]
    usual = board_addition.describe(device_facts())
    assert (usual.works(), usual.following("b")) == ("", ["invoke deploy --host b --dry-run"])


def test_a_name_is_the_boards_own_and_never_one_that_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yml"
    facts = device_facts(hostname="raspberrypi")
    assert board_addition.name_for(file, "192.0.2.1", facts) == "raspberrypi"
    assert board_addition.name_for(file, "shelf.local", facts) == "shelf"
    hostile = device_facts(hostname="../\x1b]0;x")
    reading.add_host(file, board_addition.name_for(file, "192.0.2.1", hostile), {})
    text = "all:\n  hosts: {raspberrypi: {edgewright: {board: pi4}}, 'raspberrypi-2': {}}\n"
    file.write_text(text)
    assert board_addition.name_for(file, "192.0.2.1", facts) == "raspberrypi-3"


def test_a_board_is_entered_once(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yml"
    reached = board_addition.variables("pi@192.0.2.1", "")
    board_addition.refuse_known(file, "shelf", reached)
    reading.add_host(file, "shelf", reached | {"edgewright": {"board": "pi4"}})
    with pytest.raises(UsageError, match="a host shelf already"):
        board_addition.refuse_known(file, "shelf", {"ansible_host": "192.0.2.2"})
    with pytest.raises(UsageError, match="already, as shelf"):
        board_addition.refuse_known(file, "", reached)
    board_addition.refuse_known(file, "", {**reached, "ansible_port": 2222})


def test_every_board_names_a_target_and_is_called_by_one_name() -> None:
    every = boards.all_boards()
    assert {"pi4", "pi5", "visionfive2", "bpi-f3", "jetson-orin-nano"} <= every.keys()
    for board in every.values():
        assert board.target in targets.all_targets()
        for model in board.models:
            assert boards.called(f"{model} v1.2") == boards.called(model) == board
    assert boards.called("") is None


def test_the_documents_have_every_board() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/targets.md").read_text()
    for board in boards.all_boards().values():
        assert f"| `{board.name}` | {board.title} | {board.cores} × {board.cpu} |" in text
        assert f"| `{board.target}` |" in text


def test_a_users_boards_are_boards_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boards").mkdir()
    file = tmp_path / "boards" / "mine.toml"
    entry = 'title = "Mine"\nmodels = ["Mine"]\ntarget = "{}"\ncpu = "A"\ncores = 2\n'
    monkeypatch.setenv("EDGEWRIGHT_PLUGINS", str(tmp_path))
    file.write_text("[mine]\n" + entry.format("aarch64"))
    facts = device_facts(**PI, board="Mine rev 2")
    assert board_addition.describe(facts).block() == {"board": "mine"}
    other = tmp_path / "boards" / "other.toml"
    other.write_text("[pi4]\n" + entry.format("aarch64"))
    with pytest.raises(BuildError, match="can't be used"):
        boards.all_boards()
    other.rename(other.with_suffix(".before"))
    other.with_name("third.toml").write_text("[other]\n" + entry.format("nothing"))
    with pytest.raises(BuildError, match="other can't be used"):
        boards.all_boards()


def inventory(tmp_path: Path, text: str) -> reading.Inventory:
    file = tmp_path / "inventory.yml"
    file.write_text(text)
    return reading.load(file)


def test_an_entry_may_say_which_board_it_is(tmp_path: Path) -> None:
    of_group = """\
all:
  children:
    shelf:
      vars: {edgewright: {target: rv64gc}}
      hosts:
        a: {edgewright: {board: pi5}}
        b: {edgewright: {board: pi5, target: aarch64}}
        c: {}
"""
    read = inventory(tmp_path, of_group)
    assert [(d.target, d.board) for d in map(read.host, "abc")] == [
        ("cortex-a76", "pi5"),
        ("aarch64", "pi5"),
        ("rv64gc", ""),
    ]


def test_a_board_that_is_not_known_or_stands_as_a_target_is_told(tmp_path: Path) -> None:
    entry = "all:\n  hosts:\n    a:\n      edgewright:\n        {}\n"
    with pytest.raises(InventoryError, match=r"unknown board; known: .*pi4"):
        inventory(tmp_path, entry.format("board: pi6"))
    with pytest.raises(InventoryError, match=r"write it as a board: `board: pi5`"):
        inventory(tmp_path, entry.format("target: pi5"))
