"""A library for RVV has two forms of the functions that matter, and chooses as it runs."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import tvm
from elftools.elf.elffile import ELFFile
from onnx import helper
from tvm import te
from tvm_ffi import structural_equal

from tests.unit.test_passes import NEON, SCALAR, VECTORS, X86, convolution, model, random
from toolchain.compile import dialect, frontend, lengths, passes, space, tiles
from toolchain.tuning.functions import candidate, functions

TARGET = tvm.target.Target(VECTORS)
NAME = "fused_conv2d_add_maximum_minimum"


def scheduled(graph: onnx.ModelProto, target: tvm.target.Target = TARGET) -> tvm.IRModule:
    module, _ = passes.schedule(passes.lower(frontend.load(graph), target, 3), target, 3)
    return module


def names(module: tvm.IRModule) -> set[str]:
    return {variable.name_hint for variable in module.get_global_vars()}


@pytest.fixture(scope="module")
def pointwise() -> tvm.IRModule:
    """A 1x1 convolution; 32 of its 64 channels are four registers of 256 bits."""
    return scheduled(convolution((1, 32, 14, 14), 64, 1))


def test_a_function_that_most_work_is_in_has_two_forms(pointwise: tvm.IRModule) -> None:
    assert {NAME, f"{NAME}_long"} <= names(pointwise)
    rest, long = lengths.split(pointwise)
    assert f"{NAME}_long" in names(long)
    assert names(rest) == names(pointwise) - names(long)


def test_each_form_fills_four_registers_of_its_length(pointwise: tvm.IRModule) -> None:
    rest, long = lengths.split(pointwise)
    short = tvm.IRModule({NAME: rest[NAME].with_attr("global_symbol", NAME)})
    long = tvm.IRModule({f"{NAME}_long": long[f"{NAME}_long"]})
    for form, of, channels in ((short, TARGET, 16), (long, lengths.longer(TARGET), 32)):
        code: str = tvm.tirx.build(form, of).inspect_source("asm")
        assert len(re.findall(r"vfm(?:acc|add)\.vf", code)) == 2 * 7  # two steps
        before = code[: code.index("vfmacc.vf")].splitlines()
        (setting,) = [line for line in before if re.search(r"vset\w*vli.*e32, m4", line)][-1:]
        count = re.search(rf"vsetivli\tzero, {channels},", setting)
        register = re.search(r"vsetvli\tzero, (\w+),", setting)
        assert count or (register and re.search(rf"li\t{register[1]}, {channels}\n", code))


def of_function(code: str, symbol: str) -> list[str]:
    """The instructions of a function in assembly."""
    body = code[code.index(f"\n{symbol}:\n") :]
    return re.findall(r"^\t([a-z].*)$", body[: body.index("\t.size\t")], re.MULTILINE)


def test_what_has_the_functions_name_asks_how_long_vectors_are_and_goes_on(
    pointwise: tvm.IRModule,
) -> None:
    library = passes.build(pointwise, TARGET).mod
    (code,) = [
        str(m.inspect_source("asm"))
        for m in library.imports
        if f"\n{dialect.SYMBOL}{NAME}:\n" in m.inspect_source("asm")
    ]
    chooser = of_function(code, f"{dialect.SYMBOL}{NAME}")
    assert any("vlenb" in instruction for instruction in chooser)
    assert [i for i in chooser if i.startswith("tail\t")] == [
        f"tail\t{dialect.SYMBOL}{NAME}_{form}" for form in ("short", "long")
    ]
    # Nothing is stored: not the arguments anew, and no result where there is no place for one.
    assert not any(re.match(r"s[bhwd]\t|v?f?s[wd]\t|vs", instruction) for instruction in chooser)
    assert len(chooser) < 20


def test_the_objects_of_a_library_have_all_that_they_call(
    pointwise: tvm.IRModule, tmp_path: Path
) -> None:
    def keep(_output: str, files: list[str], **_options: Any) -> None:
        for file in files:
            shutil.copyfile(file, tmp_path / Path(file).name)

    passes.build(pointwise, TARGET).export_library(str(tmp_path / "unused.so"), fcompile=keep)
    needed, defined = set(), []
    for path in tmp_path.glob("lib*.o"):
        with path.open("rb") as file:
            for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
                if not symbol.name.startswith(dialect.SYMBOL):
                    continue
                if symbol["st_shndx"] == "SHN_UNDEF":
                    needed.add(symbol.name)
                elif symbol["st_info"]["bind"] == "STB_GLOBAL":
                    defined.append(symbol.name)
    long = names(lengths.split(pointwise)[1])
    assert needed == {f"{dialect.SYMBOL}{name}" for name in long}
    assert {f"{dialect.SYMBOL}{NAME}{form}" for form in ("", "_short", "_long")} <= set(defined)
    assert len(defined) == len(set(defined))


def test_a_function_with_little_work_has_one_form() -> None:
    graph = model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="heavy"),
            helper.make_node("GlobalAveragePool", ["c"], ["y"], name="light"),
        ],
        (1, 128, 14, 14),
        {"w": random(64, 128, 3, 3)},
    )
    module = passes.lower(frontend.load(graph), TARGET, 3)
    work = {
        variable.name_hint: lengths.values(module[variable])
        for variable in module.get_global_vars()
        if variable.name_hint in ("conv2d", "mean")
    }
    padding = 14 * 14 * 128  # of none: a copy
    assert work == {"conv2d": 12 * 12 * 64 * 128 * 9 + padding, "mean": 12 * 12 * 64 + 64}
    heavy = lengths.heavy(module)
    assert "conv2d" in heavy
    assert "mean" not in heavy


def test_what_no_rule_can_schedule_has_one_form() -> None:
    x = te.placeholder((8, 32), name="x")
    twice = te.create_prim_func([x, te.compute((8, 32), lambda i, j: x[i, j] * 2.0, name="root")])
    module = tvm.IRModule({"f": twice})  # two blocks have the name of the outermost
    assert lengths.values(twice) == 0
    found, others = passes.schedule(module, TARGET, 3)
    assert others == ["f"]
    assert names(found) == {"f"}


def test_a_function_whose_loops_are_the_same_for_both_lengths_has_one_form() -> None:
    module = passes.lower(frontend.load(convolution((1, 32, 14, 14), 3, 1)), TARGET, 3)
    assert len(lengths.heavy(module)) > 1
    found, _ = passes.schedule(module, TARGET, 3)
    assert any(name.endswith("_long") for name in names(found))  # the transpose of the input
    # Three channels are one vector of three, whatever the length.
    assert not [name for name in names(found) if name.startswith("fused") and "long" in name]


def test_a_model_of_one_input_is_reshaped_by_a_view_as_with_one_form() -> None:
    """TVM looks at the loops of a function of one input for whether it only reshapes."""
    graph = model(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
        ],
        (1, 64, 14, 14),
    )
    module = scheduled(graph)
    assert any(name.endswith("_long") for name in names(module))
    assert passes.build(module, TARGET).as_text()


@pytest.mark.parametrize(
    "target",
    [SCALAR, NEON, X86, {**VECTORS, "mattr": [*SCALAR["mattr"], "+v", "+zvl256b"]}],
    ids=["scalar", "neon", "x86", "RVV of a known length"],
)
def test_vectors_of_one_length_have_one_form(target: dict[str, object]) -> None:
    known = tvm.target.Target(target)
    assert lengths.longer(known) is None
    assert not [n for n in names(scheduled(convolution((1, 8, 4, 4), 8, 1), known)) if "long" in n]


def test_registers_are_as_long_as_the_target_says() -> None:
    assert tiles.Registers.of(TARGET).lanes == 4
    assert tiles.Registers.of(lengths.longer(TARGET)).lanes == 8


def test_a_tile_is_measured_in_both_forms_as_a_compilation_makes_them() -> None:
    module = passes.lower(frontend.load(convolution((1, 32, 14, 14), 64, 1)), TARGET, 3)
    registers = tiles.Registers.of(TARGET)
    (one,) = [f for f in functions(module, registers, lambda _: 1) if f.name == NAME]
    tuned = tiles.Tile(rows=2, vectors=4, width=8)
    both = candidate(one, tuned, TARGET)
    compiled, _ = passes.schedule(module, TARGET, 3, {one.workload: tuned})
    for name, form in (("main", NAME), ("main_long", f"{NAME}_long")):
        assert structural_equal(
            both[name].with_attr("global_symbol", name),
            compiled[form].with_attr("global_symbol", name),
        )
    library = passes.build_functions(both, TARGET)
    main = of_function(library.inspect_source("asm"), f"{dialect.SYMBOL}main")
    assert [i.removeprefix(f"tail\t{dialect.SYMBOL}") for i in main if i.startswith("tail")] == [
        "main_short",
        "main_long",
    ]


def test_a_tuned_tile_is_as_many_registers_in_the_longer_form() -> None:
    short, long = (tiles.Registers.of(t) for t in (TARGET, lengths.longer(TARGET)))
    of = tiles.Extents(rows=14, columns=96)
    tile = tiles.Tile(rows=2, vectors=2, width=12)
    assert space.stretched(tile, of, short, long) == replace(tile, width=24)
    odd = replace(tile, width=16)  # 2 times 32 does not divide 96
    assert space.stretched(odd, of, short, long) == odd
    own = tiles.by_instructions(short, of)
    assert space.stretched(own, of, short, long) == tiles.by_instructions(long, of)


def test_vectors_of_any_number_of_lanes_divide_what_powers_of_two_do_not() -> None:
    short, long = (tiles.Registers.of(t) for t in (TARGET, lengths.longer(TARGET)))
    tile = tiles.Tile.of(long, 28, 120)
    assert tile == tiles.Tile(rows=7, vectors=1, width=30)
    assert (long.grouped(30), short.grouped(15), short.grouped(8)) == (4, 4, 2)
    assert (long.besides(30), long.besides(32)) == (5, 3)
