"""The space of tiles, the records of a search, and what a compilation takes of them."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import tvm
from tvm import te, tirx
from tvm_ffi import structural_equal

from deploy.inventory.reading import Device
from deploy.measure import tuning_devices
from toolchain import targets
from toolchain.compile import pipeline
from toolchain.compile.compilation_request import TileRecord
from toolchain.compile.tir import search_space
from toolchain.compile.tir.register_blocking import Extents, Tile, by_instructions
from toolchain.core.errors import UsageError
from toolchain.core.store import Store
from toolchain.targets.instruction_sets import Registers
from toolchain.tuning import records, run
from toolchain.tuning.budget import Budget
from toolchain.tuning.records import Database, Header, Trial

AVX2 = Registers(lanes=8, count=16)
TARGET = targets.target("x86_64")
TVM = "0.27.0.post1"
OTHER = TileRecord(rows=2, vectors=1, width=16)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of the test's own."""
    monkeypatch.setenv("EDGEWRIGHT_RECORDS", str(tmp_path / "kept"))


def product(rows: int, inner: int, columns: int) -> tirx.PrimFunc:
    """A matrix product."""
    a, b = te.placeholder((rows, inner), name="A"), te.placeholder((inner, columns), name="B")
    k = te.reduce_axis((0, inner), name="k")
    c = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    return te.create_prim_func([a, b, c])


def database(tmp_path: Path, header: Header | None = None) -> Database:
    """An empty one."""
    return Database(Store(tmp_path), header or Header.of(TARGET, TVM))


def trial(tile: TileRecord, *seconds: float, host: str = "a", own: bool = False) -> Trial:
    """One of a workload."""
    return Trial(workload="f" * 16, function="f", host=host, tile=tile, own=own, seconds=seconds)


OWN = TileRecord(rows=1, vectors=1, width=8)


@pytest.mark.parametrize("stride", [None, 1, 2])
@pytest.mark.parametrize(
    "registers",
    [
        AVX2,
        Registers(lanes=4, count=32, indexed=True),
        Registers(lanes=4, count=32, group=4, inputs=0, resized=2),
        Registers(lanes=1, count=32),
    ],
)
def test_the_space_has_our_own_tile_first_and_legal_ones_only(
    registers: Registers, stride: int | None
) -> None:
    extents = Extents(rows=28, columns=96, stride=stride)
    tiles = search_space.tiles(extents, registers)
    assert tiles[0] == by_instructions(registers, extents)
    assert len(tiles) == len(set(tiles)) > 4
    assert all(search_space.legal(tile, extents) for tile in tiles)


@pytest.mark.parametrize(
    ("weights", "inputs", "columns_first"),
    [
        (9 << 20, 100 << 10, True),  # a late layer: each tile of positions would need them all
        (9 << 20, 3 << 20, True),  # neither stays in the cache, and the inputs are fewer
        (16 << 10, 3 << 20, False),  # an early layer
        (16 << 10, 16 << 10, False),  # both stay there
    ],
)
def test_what_is_read_again_for_each_tile_stays_in_the_cache(
    weights: int, inputs: int, columns_first: bool
) -> None:
    of = Extents(rows=14, columns=512, positions=196, weights=weights, inputs=inputs)
    assert by_instructions(AVX2, of).columns_first is columns_first


def test_a_workload_is_what_a_function_computes_not_its_name() -> None:
    function = product(8, 16, 32)
    renamed = function.with_attr("global_symbol", "another")
    assert search_space.workload(function) == search_space.workload(renamed)
    assert search_space.workload(function) != search_space.workload(product(8, 16, 64))
    assert len(search_space.workload(function)) == 16


def test_only_what_has_a_tile_can_be_tuned() -> None:
    assert search_space.extents(product(8, 16, 32), AVX2) == Extents(
        rows=8, columns=32, positions=8, weights=4 * 16 * 32, inputs=4 * 8 * 16
    )
    x = te.placeholder((8, 32), name="x")
    copied = te.create_prim_func([x, te.compute((8, 32), lambda i, j: x[i, j] + 1.0)])
    assert search_space.extents(copied, AVX2) is None


def test_a_compilation_takes_the_tuned_tile_of_a_function_and_of_no_other() -> None:
    function, other = product(8, 16, 32), product(4, 16, 32)
    module = tvm.IRModule({"f": function, "g": other})
    target = tvm.target.Target(TARGET.tvm())
    tuned = {search_space.workload(function): Tile(rows=2, vectors=1, width=8, columns_first=True)}
    plain, _ = pipeline.schedule(module, target, 3)
    better, _ = pipeline.schedule(module, target, 3, tuned)
    assert search_space.count(tuned, module) == 1
    assert not structural_equal(plain["f"], better["f"])
    assert structural_equal(plain["g"], better["g"])


def test_a_tile_that_does_not_divide_is_not_used() -> None:
    function = product(8, 16, 32)
    module = tvm.IRModule({"f": function})
    target = tvm.target.Target(TARGET.tvm())
    tuned = {search_space.workload(function): Tile(rows=3, vectors=1, width=8)}
    plain, _ = pipeline.schedule(module, target, 3)
    better, _ = pipeline.schedule(module, target, 3, tuned)
    assert structural_equal(plain["f"], better["f"])


def test_records_come_back_and_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    kept = database(tmp_path)
    first, second = trial(OWN, 1.0, own=True), trial(OTHER, 0.5)
    kept.add(first)
    with (kept.folder / records.LINES).open("ab") as lines:
        lines.write(b'{"workload": "ff')
    kept.add(second)
    assert database(tmp_path).trials() == [first, second]


def test_devices_of_different_speed_are_compared_by_our_own_choice_on_each(tmp_path: Path) -> None:
    slow = [trial(OWN, 4.0, own=True, host="b"), trial(OTHER, 2.0, host="b")]
    fast = [trial(OWN, 1.0, own=True), trial(TileRecord(rows=4, vectors=1, width=8), 0.9)]
    assert records.best([*slow, *fast]) == {"f" * 16: (OTHER, 0.5)}


def test_what_is_hardly_better_failed_or_has_nothing_to_compare_with_is_not_used() -> None:
    own = trial(OWN, 1.0, own=True)
    assert records.best([own, trial(OTHER, 0.99)]) == {}
    assert records.best([own, trial(OTHER)]) == {}
    assert records.best([trial(OTHER, 0.1), trial(OWN, 1.0, own=True, host="b")]) == {}


def test_a_database_of_another_target_or_version_is_ignored_with_a_line(tmp_path: Path) -> None:
    where = Store(tmp_path)
    assert records.notes(where, TARGET, TVM) == []
    for header in (
        Header.of(targets.target("aarch64"), TVM),
        Header.of(TARGET, "0.26.0"),
        Header.of(TARGET, TVM).model_copy(update={"schedules": 0}),
    ):
        for one in (trial(OWN, 1.0, own=True), trial(OTHER, 0.5)):
            database(tmp_path, header).add(one)
    assert records.tuned(where, TARGET, TVM) == {}
    (line,) = records.notes(where, TARGET, TVM)
    assert "ignored" in line
    for named in ("aarch64, TVM 0.27.0.post1", "x86_64, TVM 0.26.0", "schedules 0"):
        assert named in line
    for one in (trial(OWN, 1.0, own=True), trial(OTHER, 0.5)):
        database(tmp_path).add(one)
    assert records.tuned(where, TARGET, TVM) == {"f" * 16: OTHER}
    assert "1 functions" in records.notes(where, TARGET, TVM)[0]


def test_records_stand_apart_from_the_cache_and_those_in_it_are_read(tmp_path: Path) -> None:
    found = database(tmp_path / "cache")
    for one in (trial(OWN, 1.0, own=True), trial(OTHER, 0.5)):
        found.add(one)
    assert found.folder.is_relative_to(tmp_path / "kept")
    assert not (tmp_path / "cache" / records.FOLDER).exists()
    # as an earlier version left them
    (tmp_path / "cache" / records.FOLDER).mkdir()
    found.folder.rename(tmp_path / "cache" / records.FOLDER / found.key)
    where = Store(tmp_path / "cache")
    assert records.tuned(where, TARGET, TVM) == {"f" * 16: OTHER}
    found.add(trial(OTHER, 0.4))
    assert [t.median for t in database(tmp_path / "cache").trials()] == [1.0, 0.5, 0.4]
    shutil.rmtree(where.root)
    assert [t.median for t in database(tmp_path / "cache").trials()] == [0.4]


def test_a_search_needs_an_end() -> None:
    for trials, minutes in ((None, None), (0, None), (None, -1.0)):
        with pytest.raises(UsageError, match="an end"):
            Budget(trials=trials, minutes=minutes)


def test_what_is_used_up_first_ends_a_search() -> None:
    both = Budget(trials=10, minutes=1.0)
    assert not both.over(trials=9, seconds=59.0)
    assert both.over(trials=10, seconds=0.0)
    assert both.over(trials=0, seconds=60.0)
    assert not Budget(trials=10).over(trials=9, seconds=1e9)
    assert not Budget(minutes=1.0).over(trials=10**9, seconds=59.0)


def test_a_curve_is_drawn_from_its_first_point_to_its_last() -> None:
    line = run.drawn([(2, 4.0), (10, 3.0), (20, 1.0)], width=10)
    assert len(line) == 10
    assert (line[0], line[-1]) == ("█", "▁")
    assert sorted(line, reverse=True) == list(line)
    assert run.drawn([(2, 4.0)]) == ""


def board(name: str, target: str, *, emulated: bool = False) -> Device:
    return Device(name=name, host="127.0.0.1", target=target, emulated=emulated)


def test_devices_of_several_targets_and_emulated_ones_are_refused() -> None:
    foreign = next(name for name, t in targets.all_targets().items() if not t.native())
    assert tuning_devices.only_target([board("a", foreign), board("b", foreign)]).name == foreign
    with pytest.raises(UsageError, match="several targets"):
        tuning_devices.only_target([board("a", "rv64gc"), board("b", "x86_64")])
    with pytest.raises(UsageError, match="emulated"):
        tuning_devices.only_target([board("a", foreign, emulated=True)])


@pytest.mark.parametrize("line", ["", "{", "Killed", '{"port": 70000}', '{"port": "a"}', "[]"])
def test_a_server_that_says_no_port_could_not_begin(line: str) -> None:
    answer = tuning_devices.Answer.read(line)
    assert (answer.port, answer.failed) == (None, line)


def test_a_server_says_its_port_and_its_version() -> None:
    said = '{"port": 9090, "version": "0.27.0", "machine": "riscv64"}'
    answer = tuning_devices.Answer.read(said)
    assert (answer.port, answer.version, answer.failed) == (9090, "0.27.0", "")


@pytest.mark.parametrize(("turn_s", "quiet"), [(0.0, [True, False]), (60.0, [True, True])])
def test_a_device_is_waited_for_again_after_the_turns_of_others_alone(
    monkeypatch: pytest.MonkeyPatch, turn_s: float, quiet: list[bool]
) -> None:
    seen: list[bool] = []

    def exclusive(*_: object, quiet: bool, **__: object) -> nullcontext[None]:
        seen.append(quiet)
        return nullcontext()

    device = MagicMock()
    device.root = "edgewright"
    answer = MagicMock(port=9090, version=TVM, failed="")
    monkeypatch.setattr(tuning_devices, "exclusive", exclusive)
    monkeypatch.setattr(tuning_devices, "connection", MagicMock())
    monkeypatch.setattr(tuning_devices.Answer, "read", lambda _: answer)
    keeper = tuning_devices._Keeper(
        device, "key", TVM, MagicMock(), pytest.fail, quiet=True, turn_s=turn_s
    )
    for _ in quiet:
        keeper.open()
    assert seen == quiet
