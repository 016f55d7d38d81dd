"""The clock, the heat and the power over a run: read on the device, judged here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgewright_runner import watch

from tests.support import measured
from tests.support.measured import MS
from toolchain.report import formatting, measurement_rows
from toolchain.results import conditions
from toolchain.results.conditions import Fall, Reading
from toolchain.results.disturbances import disturbances


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /sys in which files can be put."""
    monkeypatch.setattr(watch, "SYS", tmp_path)
    return tmp_path


def put(system: Path, **files: object) -> None:
    for name, value in files.items():
        path = system / name.replace("__", "/").replace("_of_", ":")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def test_a_machine_without_meters_has_neither_watts_nor_energy(system: Path) -> None:
    assert watch.watts() is None
    assert watch.energy_uj() is None
    series = watch.Series()
    series._last -= 10
    series.look()
    assert series.moments == [], "a moment at which nothing could be read is none"


def test_packages_are_added_and_neither_their_zones_nor_the_whole_platform(system: Path) -> None:
    zones = {"0": ("package-0", 500), "1": ("package-1", 70), "0_of_0": ("core", 400)}
    for zone, (name, counter) in (zones | {"2": ("psys", 9000)}).items():
        put(
            system,
            **{
                f"class__powercap__intel-rapl_of_{zone}__name": name,
                f"class__powercap__intel-rapl_of_{zone}__energy_uj": counter,
            },
        )
    assert watch.energy_uj() == 570


@pytest.mark.parametrize(("first", "watts"), [("VDD_IN", 5.0), ("VDD_GPU_SOC", 8.5)])
def test_what_comes_in_is_not_added_to_its_parts(system: Path, first: str, watts: float) -> None:
    """As on Jetson boards with one INA3221; those without such a channel have parts alone."""
    put(system, class__hwmon__hwmon3__name="ina3221")
    rails = [(first, 1000), ("VDD_CPU", 500), ("VDD_SOC", 200)]
    for number, (label, current) in enumerate(rails, start=1):
        put(
            system,
            **{
                f"class__hwmon__hwmon3__in{number}_label": label,
                f"class__hwmon__hwmon3__in{number}_input": 5000,
                f"class__hwmon__hwmon3__curr{number}_input": current,
            },
        )
    # the sum of the currents, and a shunt's microvolts
    put(system, class__hwmon__hwmon3__curr4_input=1700, class__hwmon__hwmon3__in4_input=5000)
    assert watch.watts() == pytest.approx(watts)


def test_a_meter_says_power_or_voltage_and_current(system: Path) -> None:
    put(
        system,
        class__hwmon__hwmon0__power1_input=2_500_000,
        class__hwmon__hwmon0__curr1_input=500,
        class__hwmon__hwmon0__in1_input=5000,
        class__hwmon__hwmon1__curr2_input=300,
        class__hwmon__hwmon1__in2_input=5000,
        class__hwmon__hwmon1__curr3_input=300,
        class__hwmon__hwmon2__temp1_input=45_000,
    )
    # 2.5 W as such, 5 V times 0.3 A; a current without a voltage says nothing
    assert watch.watts() == pytest.approx(4.0)


def test_a_moment_is_taken_a_second_and_no_more_than_are_kept(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(system, class__thermal__thermal_zone0__temp=45_000)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    series = watch.Series()
    for step in range(4 * watch.MOST_MOMENTS):
        now[0] = 100 + step / 2
        series.look()
    assert len(series.moments) == watch.MOST_MOMENTS
    assert series.moments[0] == {
        "seconds": 1.0, "khz": None, "temperature_c": 45.0, "watts": None,
    }  # fmt: skip
    Reading.model_validate(series.moments[0])


def over(*clocks: int | None, watts: float | None = None) -> list[dict[str, Any]]:
    return [
        {"seconds": float(n), "khz": khz, "temperature_c": None, "watts": watts}
        for n, khz in enumerate(clocks, start=1)
    ]


def around(series: list[dict[str, Any]], **changes: object) -> dict[str, Any]:
    before, after = measured.snapshot(0), measured.snapshot(10)
    return {
        "before": before.model_copy(update={"energy_uj": changes.get("before")}),
        "after": after.model_copy(update={"energy_uj": changes.get("after")}),
        "series": series,
    }


def test_energy_is_the_boards_before_the_cpus() -> None:
    times = [4 * MS] * 100
    both = measured.measurement(
        samples_ns=times, conditions=around(over(None, watts=5.0), before=0, after=9_000_000)
    )
    # 5 W for 10 s, 100 inferences
    assert both.energy() == conditions.Energy(millijoules=500.0, of="the board's meters")
    cpus = measured.measurement(samples_ns=times, conditions=around([], before=10, after=9_000_010))
    assert cpus.energy() == conditions.Energy(millijoules=90.0, of="the CPU's counter")


@pytest.mark.parametrize(("before", "after"), [(None, None), (5, None), (7, 3), (5, 5)])
def test_a_counter_that_says_nothing_gives_no_energy(before: int | None, after: int | None) -> None:
    found = measured.measurement(
        samples_ns=[MS] * 9, conditions=around([], before=before, after=after)
    )
    assert found.energy() is None


def test_energy_is_said_of_real_devices_alone() -> None:
    one = measured.measurement(samples_ns=[4 * MS] * 100, conditions=around(over(None, watts=5.0)))
    (line,) = formatting.energies(measured.result(one))
    assert "500 mJ an inference by the board's meters" in line
    (row,) = measurement_rows.flatten([measured.result(one)])
    assert (row.energy_mj, row.energy_of) == (500.0, "the board's meters")
    emulated = measured.result(one, emulated=True)
    assert formatting.energies(emulated) == []
    assert measurement_rows.flatten([emulated])[0].energy_mj is None


def test_the_deepest_fall_of_the_clock_is_told() -> None:
    series = [Reading.model_validate(one) for one in over(600, 1500, None, 900, 1200, 1500)]
    assert conditions.fall(series) == Fall(from_khz=1500, to_khz=900, seconds=4.0)
    rising = [Reading.model_validate(one) for one in over(600, 1500, 1500)]
    assert conditions.fall(rising) is None


def test_a_clock_that_fell_and_came_back_disturbed_the_run() -> None:
    fell = measured.measurement(conditions=around(over(1_500_000, 900_000, 1_500_000)))
    assert "clock fell from 1500 to 900 MHz within the run, after 2 s" in disturbances(fell)
    steady = measured.measurement(conditions=around(over(1_500_000, 1_450_000, 1_500_000)))
    assert disturbances(steady) == disturbances(measured.measurement(conditions=around([])))
