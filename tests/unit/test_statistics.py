"""The statistics of raw times."""

from __future__ import annotations

import statistics as python_statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.results import statistics

times = st.lists(st.integers(min_value=1_000, max_value=10**12), min_size=1, max_size=200)


@given(times, st.integers(min_value=1, max_value=64))
def test_latency_lies_among_the_times_and_percentiles_are_in_order(
    found: list[int], batch: int
) -> None:
    timing = statistics.summarise(found, batch=batch)
    assert min(found) <= timing.latency_ns <= max(found)
    assert timing.p90_ns <= timing.p99_ns <= max(found)
    assert timing.samples == len(found) >= timing.kept >= 1


@given(times, st.integers(min_value=1, max_value=64))
def test_fps_is_inputs_over_total_time(found: list[int], batch: int) -> None:
    timing = statistics.summarise(found, batch=batch)
    kept = statistics.within_sigmas(found)
    assert timing.fps * sum(kept) / 1e9 == pytest.approx(len(kept) * batch)
    assert timing.fps == pytest.approx(batch * 1e9 / timing.mean_ns)


@given(times)
def test_three_sigmas_keep_at_least_eight_ninths(found: list[int]) -> None:
    assert len(statistics.within_sigmas(found)) >= 8 / 9 * len(found) - 1e-9


@given(times)
def test_the_order_of_times_changes_nothing(found: list[int]) -> None:
    there = statistics.summarise(found, batch=1)
    back = statistics.summarise(found[::-1], batch=1)
    assert there.latency_ns == back.latency_ns
    assert there.fps == pytest.approx(back.fps)


@given(times, st.floats(min_value=0, max_value=100))
def test_percentile_is_that_of_numpy(found: list[int], percent: float) -> None:
    assert statistics.percentile(found, percent) == pytest.approx(np.percentile(found, percent))


@given(st.integers(min_value=1_000, max_value=10**12), st.integers(min_value=1, max_value=100))
def test_equal_times_are_all_kept(value: int, count: int) -> None:
    timing = statistics.summarise([value] * count, batch=1)
    assert (timing.kept, timing.latency_ns, timing.std_ns) == (count, value, 0)


def test_times_below_the_floor_are_dropped() -> None:
    timing = statistics.summarise([0, 10, 2_000, 4_000], batch=1)
    assert (timing.samples, timing.kept, timing.latency_ns) == (4, 2, 3_000)


def test_an_outlier_is_dropped_from_latency_and_fps_but_shows_in_p99() -> None:
    timing = statistics.summarise([1_000_000] * 50 + [100_000_000], batch=2)
    assert timing.kept == 50
    assert timing.fps == pytest.approx(2_000)
    assert timing.p99_ns > 10_000_000


def test_no_usable_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="floor"):
        statistics.summarise([1, 2], batch=1)
    with pytest.raises(ValueError, match="batch"):
        statistics.summarise([2_000], batch=0)


@given(st.data(), st.integers(min_value=1, max_value=100_000))
def test_wilson_holds_the_share_and_stays_within_zero_and_one(
    data: st.DataObject, total: int
) -> None:
    count = data.draw(st.integers(min_value=0, max_value=total))
    found = statistics.wilson(count, total)
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.high > found.low


@given(st.data(), st.integers(min_value=1, max_value=10_000))
def test_wilsons_ends_solve_its_equation(data: st.DataObject, total: int) -> None:
    count = data.draw(st.integers(min_value=0, max_value=total))
    z = python_statistics.NormalDist().inv_cdf(0.975)
    found = statistics.wilson(count, total)
    for end in (found.low, found.high):
        left, right = (found.share - end) ** 2, z * z * end * (1 - end) / total
        assert left == pytest.approx(right, abs=1e-9)


def test_wilson_of_a_known_case() -> None:
    # 81 of 263: 0.2553 to 0.3662, Newcombe, Statistics in Medicine 17 (1998), table I.
    found = statistics.wilson(81, 263)
    assert found.low == pytest.approx(0.2553, abs=5e-5)
    assert found.high == pytest.approx(0.3662, abs=5e-5)


@pytest.mark.parametrize(("count", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_an_error(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="of"):
        statistics.wilson(count, total)
