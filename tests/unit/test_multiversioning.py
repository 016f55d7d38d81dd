"""A library for RVV or x86-64 has two forms of what matters, and chooses as it runs."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from elftools.elf.elffile import ELFFile
from onnx import helper
from tvm import te, tirx
from tvm_ffi import structural_equal

from tests.support.compiled import PC, TARGET, scheduled
from tests.support.networks import NEON, SCALAR, VECTORS, X86, convolution, model, random
from toolchain.compile import onnx_import, pipeline, tvm_versions
from toolchain.compile.tir import multiversioning, register_blocking, search_space, target_code
from toolchain.core import process
from toolchain.formats import onnx_reference
from toolchain.targets.instruction_sets import x86
from toolchain.tuning.functions import candidate, functions

NAME = "fused_conv2d_add_maximum_minimum"


def names(module: tvm.IRModule) -> set[str]:
    return {variable.name_hint for variable in module.get_global_vars()}


@pytest.fixture(scope="module")
def pointwise() -> tvm.IRModule:
    """A 1x1 convolution; 32 of its 64 channels are four registers of 256 bits."""
    return scheduled(convolution((1, 32, 14, 14), 64, 1))


def test_a_function_that_most_work_is_in_has_two_forms(pointwise: tvm.IRModule) -> None:
    assert {NAME, f"{NAME}_long"} <= names(pointwise)
    rest, long = multiversioning.split(pointwise)
    assert f"{NAME}_long" in names(long)
    assert names(rest) == names(pointwise) - names(long)


def test_each_form_fills_four_registers_of_its_length(pointwise: tvm.IRModule) -> None:
    rest, long = multiversioning.split(pointwise)
    short = tvm.IRModule({NAME: rest[NAME].with_attr("global_symbol", NAME)})
    long = tvm.IRModule({f"{NAME}_long": long[f"{NAME}_long"]})
    for form, of, channels in ((short, TARGET, 16), (long, multiversioning.longer(TARGET), 32)):
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
    library = pipeline.build(pointwise, TARGET).mod
    (code,) = [
        str(m.inspect_source("asm"))
        for m in library.imports
        if f"\n{tvm_versions.SYMBOL}{NAME}:\n" in m.inspect_source("asm")
    ]
    chooser = of_function(code, f"{tvm_versions.SYMBOL}{NAME}")
    assert any("vlenb" in instruction for instruction in chooser)
    assert [i for i in chooser if i.startswith("tail\t")] == [
        f"tail\t{tvm_versions.SYMBOL}{NAME}_{form}" for form in ("short", "long")
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

    pipeline.build(pointwise, TARGET).export_library(str(tmp_path / "unused.so"), fcompile=keep)
    needed, defined = set(), []
    for path in tmp_path.glob("lib*.o"):
        with path.open("rb") as file:
            for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
                if not symbol.name.startswith(tvm_versions.SYMBOL):
                    continue
                if symbol["st_shndx"] == "SHN_UNDEF":
                    needed.add(symbol.name)
                elif symbol["st_info"]["bind"] == "STB_GLOBAL":
                    defined.append(symbol.name)
    long = names(multiversioning.split(pointwise)[1])
    assert needed == {f"{tvm_versions.SYMBOL}{name}" for name in long}
    assert {f"{tvm_versions.SYMBOL}{NAME}{form}" for form in ("", "_short", "_long")} <= set(
        defined
    )
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
    module = pipeline.lower(onnx_import.from_onnx(graph), TARGET, 3)
    work = {
        variable.name_hint: multiversioning.values(module[variable])
        for variable in module.get_global_vars()
        if variable.name_hint in ("conv2d", "mean")
    }
    padding = 14 * 14 * 128  # of none: a copy
    assert work == {"conv2d": 12 * 12 * 64 * 128 * 9 + padding, "mean": 12 * 12 * 64 + 64}
    heavy = multiversioning.heavy(module)
    assert "conv2d" in heavy
    assert "mean" not in heavy


def test_what_no_rule_can_schedule_has_one_form() -> None:
    x = te.placeholder((8, 32), name="x")
    twice = te.create_prim_func([x, te.compute((8, 32), lambda i, j: x[i, j] * 2.0, name="root")])
    module = tvm.IRModule({"f": twice})  # two blocks have the name of the outermost
    assert multiversioning.values(twice) == 0
    found, others = pipeline.schedule(module, TARGET, 3)
    assert others == ["f"]
    assert names(found) == {"f"}


def test_a_function_whose_loops_are_the_same_for_both_lengths_has_one_form() -> None:
    module = pipeline.lower(onnx_import.from_onnx(convolution((1, 32, 14, 14), 3, 1)), TARGET, 3)
    assert len(multiversioning.heavy(module)) > 1
    found, _ = pipeline.schedule(module, TARGET, 3)
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
    assert pipeline.build(module, TARGET).as_text()


@pytest.mark.parametrize(
    "target",
    [
        SCALAR,
        NEON,
        {**X86, "mcpu": "x86-64"},
        {**X86, "mcpu": "x86-64-v4"},
        {**X86, "mcpu": "haswell"},
        {**VECTORS, "mattr": [*SCALAR["mattr"], "+v", "+zvl256b"]},
    ],
    ids=["scalar", "neon", "without AVX", "AVX-512", "Haswell", "RVV of a known length"],
)
def test_vectors_of_one_length_have_one_form(target: dict[str, object]) -> None:
    known = tvm.target.Target(target)
    assert multiversioning.longer(known) is None
    assert not [n for n in names(scheduled(convolution((1, 8, 4, 4), 8, 1), known)) if "long" in n]


def test_registers_are_as_long_as_the_target_says() -> None:
    assert target_code.registers(TARGET).lanes == 4
    assert target_code.registers(multiversioning.longer(TARGET)).lanes == 8
    assert target_code.registers(PC).lanes == 8
    assert target_code.registers(multiversioning.longer(PC)).lanes == 16


def test_on_x86_64_one_form_has_the_vectors_of_avx2_and_the_other_those_of_avx_512() -> None:
    module = scheduled(convolution((1, 32, 14, 14), 64, 1), PC)
    rest, long = multiversioning.split(module)
    short = tvm.IRModule({NAME: rest[NAME].with_attr("global_symbol", NAME)})
    for form, of, longest in ((short, PC, "ymm"), (long, multiversioning.longer(PC), "zmm")):
        code: str = tirx.build(form, of).inspect_source("asm")
        assert max(re.findall(r"vfmadd.*%([xyz]mm)", code)) == longest


X86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None,
    reason="libraries for x86-64 are linked and run here",
)
# Runs a library in a process of its own, whose CPU may be told to lack something.
RUN = """
import sys
import numpy as np, tvm
from tvm import relax
machine = relax.VirtualMachine(tvm.runtime.load_module(sys.argv[1]), tvm.cpu())
x = np.load(sys.argv[2])
np.save(sys.argv[3], machine["main"](tvm.runtime.tensor(x)).numpy())
"""
WITHOUT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F"}


Array = npt.NDArray[np.float32]


def run(module: tvm.IRModule, x: Array, env: dict[str, str], folder: Path) -> Array:
    """What a module computes, as a library in a process with these variables."""
    library, given, found = (folder / name for name in ("model.so", "x.npy", "y.npy"))
    pipeline.build(module, PC).export_library(str(library))
    np.save(given, x)
    process.run([sys.executable, "-c", RUN, library, given, found], env=env)
    result: Array = np.load(found)
    return result


def of_itself(operator: str) -> tuple[tvm.IRModule, str]:
    """A network of one operator with its input on both sides, and the name of its longer form."""
    graph = model([helper.make_node(operator, ["x", "x"], ["y"])], (1, 32, 14, 14))
    module = scheduled(graph, PC)
    (name,) = {n for n in names(module) if n.endswith(multiversioning.LONG)}
    return module, name


@X86_64
@pytest.mark.parametrize("env", [{}, WITHOUT], ids=["as the CPU is", "without AVX-512"])
def test_a_library_runs_the_form_that_the_cpu_has(env: dict[str, str], tmp_path: Path) -> None:
    # what the long form computes is something else, so that it is seen which one ran
    (module, name), (other, sum_of) = of_itself("Mul"), of_itself("Add")
    module.update_func(module.get_global_var(name), other[sum_of].with_attr("global_symbol", name))
    x = random(1, 32, 14, 14)
    y = run(module, x, env, tmp_path)
    flags = re.findall(r"^flags.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split()
    long = not env and set(x86.AVX512) <= set(flags)
    np.testing.assert_allclose(y, x + x if long else x * x, rtol=1e-6)


@X86_64
@pytest.mark.parametrize("env", [{}, WITHOUT], ids=["as the CPU is", "without AVX-512"])
@pytest.mark.parametrize("channels", [64, 96, 20], ids=str)
def test_both_forms_compute_what_onnx_runtime_does(
    channels: int, env: dict[str, str], tmp_path: Path
) -> None:
    graph = convolution((1, 32, 14, 14), channels, 3, pads=[1, 1, 1, 1])
    x = random(1, 32, 14, 14)
    (wanted,) = onnx_reference.run(graph, {"x": x})
    y = run(scheduled(graph, PC), x, env, tmp_path)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


def test_a_tile_is_measured_in_both_forms_as_a_compilation_makes_them() -> None:
    module = pipeline.lower(onnx_import.from_onnx(convolution((1, 32, 14, 14), 64, 1)), TARGET, 3)
    registers = target_code.registers(TARGET)
    (one,) = [f for f in functions(module, registers, lambda _: 1) if f.name == NAME]
    tuned = register_blocking.Tile(rows=2, vectors=4, width=8)
    both = candidate(one, tuned, TARGET)
    compiled, _ = pipeline.schedule(module, TARGET, 3, {one.workload: tuned})
    for name, form in (("main", NAME), ("main_long", f"{NAME}_long")):
        assert structural_equal(
            both[name].with_attr("global_symbol", name),
            compiled[form].with_attr("global_symbol", name),
        )
    library = pipeline.build_functions(both, TARGET)
    main = of_function(library.inspect_source("asm"), f"{tvm_versions.SYMBOL}main")
    assert [
        i.removeprefix(f"tail\t{tvm_versions.SYMBOL}") for i in main if i.startswith("tail")
    ] == [
        "main_short",
        "main_long",
    ]


def test_a_tuned_tile_is_as_many_registers_in_the_longer_form() -> None:
    short, long = (target_code.registers(t) for t in (TARGET, multiversioning.longer(TARGET)))
    of = register_blocking.Extents(rows=14, columns=96)
    tile = register_blocking.Tile(rows=2, vectors=2, width=12)
    assert search_space.stretched(tile, of, short, long) == replace(tile, width=24)
    odd = replace(tile, width=16)  # 2 times 32 does not divide 96
    assert search_space.stretched(odd, of, short, long) == odd
    own = register_blocking.by_instructions(short, of)
    assert search_space.stretched(own, of, short, long) == register_blocking.by_instructions(
        long, of
    )


def test_vectors_of_any_number_of_lanes_divide_what_powers_of_two_do_not() -> None:
    short, long = (target_code.registers(t) for t in (TARGET, multiversioning.longer(TARGET)))
    tile = register_blocking.Tile.of(long, 28, 120)
    assert tile == register_blocking.Tile(rows=7, vectors=1, width=30)
    assert (long.grouped(30), short.grouped(15), short.grouped(8)) == (4, 4, 2)
    assert (long.besides(30), long.besides(32)) == (5, 3)


def test_lanes_that_are_no_power_of_two_are_used_where_many_products_follow_each_load() -> None:
    long = target_code.registers(multiversioning.longer(PC))
    assert [long.loads(width) for width in (8, 12, 10, 7)] == [1, 3, 3, 5]
    assert register_blocking.Tile.of(long, 14, 24) == register_blocking.Tile(
        rows=14, vectors=2, width=12
    )
    assert register_blocking.Tile.of(long, 1, 1000) == register_blocking.Tile(
        rows=1, vectors=5, width=8
    )
