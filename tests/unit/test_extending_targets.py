"""A target and an instruction set that a user adds: two files in a folder, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tvm

from deploy.release import wheel_compatibility
from deploy.release.wheel_compatibility import Content
from tests.support.networks import CASES
from tests.support.probed import device_facts
from toolchain import targets
from toolchain.compile import onnx_import, pipeline
from toolchain.compile.tir import target_code
from toolchain.compile.tir.register_blocking import Extents, Tile, by_instructions
from toolchain.core import plugins
from toolchain.core.errors import BuildError, UsageError
from toolchain.targets import catalogue
from toolchain.targets.instruction_sets import Registers
from toolchain.wheels.elf import Code

FOLDER = Path(__file__).with_name("made_up")
NAME = "made-up"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> targets.Target:
    monkeypatch.setenv(plugins.VARIABLE, str(FOLDER))
    return targets.target(NAME)


def test_the_target_is_one_of_all_and_only_where_its_folder_is_named(
    added: targets.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert targets.all_targets()[NAME] == added
    assert len(targets.all_targets()) > 1
    monkeypatch.delenv(plugins.VARIABLE)
    with pytest.raises(UsageError, match="unknown target: made-up"):
        targets.target(NAME)


def test_a_network_is_compiled_with_its_registers_and_caches(added: targets.Target) -> None:
    target = tvm.target.Target(added.tagged())
    registers = target_code.registers(target)
    assert (registers.lanes, registers.count, registers.kept) == (8, 32, 65536)
    lowered = pipeline.lower(onnx_import.from_onnx(CASES["1x1"]), target, 3)
    scheduled, others = pipeline.schedule(lowered, target, 3)
    assert others == []
    code = "".join(m.inspect_source("asm") for m in pipeline.build(scheduled, target).mod.imports)
    assert "xvfmadd.s" in code


def test_a_cache_decides_which_tiles_come_first() -> None:
    """Weights that don't stay in it are read once, and all inputs again for each tile of them."""
    registers = Registers(lanes=8, count=16)
    of = Extents(rows=14, columns=512, positions=196, weights=200 << 10, inputs=100 << 10)
    assert not by_instructions(replace(registers, kept=256 << 10), of).columns_first
    assert by_instructions(replace(registers, kept=128 << 10), of).columns_first


def test_32_bit_arm_has_half_the_registers_of_64_bit_arm() -> None:
    of = {name: tvm.target.Target(targets.target(name).tagged()) for name in ("armv7l", "aarch64")}
    registers = {name: target_code.registers(target) for name, target in of.items()}
    assert registers["armv7l"] == replace(registers["aarch64"], count=16)
    tile = Tile.of(registers["armv7l"], 14, 96)
    sums = tile.rows * tile.vectors
    assert sums + tile.rows + tile.vectors <= 16


def test_a_device_is_probed_and_its_wheels_are_checked(added: targets.Target) -> None:
    facts = device_facts(machine=added.machine, hwcap=1 << 5, cpuinfo={})
    assert facts.isa == added.cpu

    def problems(flags: int) -> list[str]:
        code = Code(machine=added.elf().machine, bits=64, little=True, flags=flags, versions={})
        content = Content(name="a.so", code=(("as a whole", code),))
        return [what for what, _ in wheel_compatibility.problems((content,), facts)]

    assert problems(0x43) == []
    assert problems(0x41) == ["a.so: as a whole has another float ABI than lp64d"]


def test_a_target_of_a_machine_that_nobody_knows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same target, without the module that knows its instructions."""
    (tmp_path / catalogue.KIND).mkdir()
    text = (FOLDER / "targets" / "made_up.toml").read_text()
    (tmp_path / catalogue.KIND / "mine.toml").write_text(text)
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path))
    with pytest.raises(BuildError, match="can't be used") as caught:
        targets.all_targets()
    assert "no instruction set has a machine loongarch64" in caught.value.detail


def test_two_targets_may_not_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / catalogue.KIND).mkdir()
    (tmp_path / catalogue.KIND / "mine.toml").write_text(catalogue.DATA.read_text())
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path))
    with pytest.raises(BuildError) as caught:
        targets.all_targets()
    assert "aarch64 is there already" in caught.value.detail
