"""Statistics of raw times and counts: pure functions, units in the names.

They follow the practice of the Deep Learning Inference benchmark (github.com/itlab-vision/
dl-benchmark, `delete_incorrect_time`, `three_sigma_rule`, `calculate_latency`,
`calculate_average_fps`), so that results can stand beside the published ones.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FLOOR_NS = 1_000
SIGMAS = 3.0
CONFIDENCE = 0.95
BLOCKS = 8
FEWEST = 2 * BLOCKS  # times that a run needs for its noise to be judged


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What raw times say.

    Attributes:
        samples: how many times were measured.
        kept: how many the floor and the three-sigma rule left.
        latency_ns: median of the kept times.
        mean_ns: their mean.
        std_ns: their population standard deviation.
        p90_ns: 90th percentile of the times above the floor; the three-sigma rule would cut off
            the tail that a percentile is there to show.
        p99_ns: 99th percentile, likewise.
        fps: kept inferences x batch / total kept time, in inputs a second.
    """

    samples: int
    kept: int
    latency_ns: float
    mean_ns: float
    std_ns: float
    p90_ns: float
    p99_ns: float
    fps: float


def summarise(samples_ns: Sequence[int], *, batch: int, floor_ns: int = FLOOR_NS) -> Timing:
    """The statistics of one job's raw times.

    Args:
        samples_ns: time of each inference in nanoseconds, in the order measured.
        batch: inputs an inference.
        floor_ns: shorter times can't be an inference (a clock that stood still) and are dropped.

    Raises:
        ValueError: no time is left, or the batch isn't positive.
    """
    if batch < 1:
        raise ValueError(f"a batch of {batch}")
    valid = [t for t in samples_ns if t >= max(floor_ns, 1)]
    if not valid:
        raise ValueError(f"none of {len(samples_ns)} times reaches the floor of {floor_ns} ns")
    kept = within_sigmas(valid)
    return Timing(
        samples=len(samples_ns),
        kept=len(kept),
        latency_ns=float(statistics.median(kept)),
        mean_ns=statistics.fmean(kept),
        std_ns=_deviation(kept),
        p90_ns=percentile(valid, 90),
        p99_ns=percentile(valid, 99),
        fps=len(kept) * batch * 1e9 / sum(kept),
    )


def within_sigmas(times: Sequence[int], sigmas: float = SIGMAS) -> list[int]:
    """The times at most so many population standard deviations from their mean; one pass.

    By Chebyshev's inequality at least 1 - 1/sigmas^2 of them are kept.
    """
    mean, deviation = statistics.fmean(times), _deviation(times)
    # Rounding must not throw out the only value there is.
    reach = sigmas * deviation + 1e-9 * abs(mean)
    return [t for t in times if abs(t - mean) <= reach]


def _deviation(times: Sequence[int]) -> float:
    """The population standard deviation, in floats: `statistics.pstdev` takes fractions for it."""
    mean = statistics.fmean(times)
    return math.sqrt(math.fsum((t - mean) ** 2 for t in times) / len(times))


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile by linear interpolation between closest ranks.

    Definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
    Statistician 50 (1996); numpy's default.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent}")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def blocks(times: Sequence[int]) -> list[float]:
    """The median of each of `BLOCKS` consecutive parts: how much a run drifted."""
    ends = [round(n * len(times) / BLOCKS) for n in range(BLOCKS + 1)]
    return [statistics.median(times[a:b]) for a, b in itertools.pairwise(ends)]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """How many times as long one thing takes as another.

    Attributes:
        value: the ratio of the medians.
        low, high: what the noise of both runs leaves open: the ratios of their least and greatest
            medians of blocks. None where one has fewer than `FEWEST` times.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def beyond_noise(self) -> bool:
        """Whether the two are known to differ."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def factor(times: Sequence[int], others: Sequence[int]) -> Factor:
    """How many times as long as the others some times are.

    Args:
        times: of inferences, in nanoseconds, in the order measured, at least one.
        others: the same of what they are compared with.
    """
    value = summarise(times, batch=1).latency_ns / summarise(others, batch=1).latency_ns
    if min(len(times), len(others)) < FEWEST:
        return Factor(value=value, low=None, high=None)
    mine, theirs = blocks(times), blocks(others)
    low, high = min(mine) / max(theirs), max(mine) / min(theirs)
    return Factor(value=value, low=min(low, value), high=max(high, value))


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A share with its confidence interval, each from 0 to 1."""

    count: int
    total: int
    share: float
    low: float
    high: float


def wilson(count: int, total: int, *, confidence: float = CONFIDENCE) -> Proportion:
    """A share of successes with Wilson's score interval.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal
    of the American Statistical Association 22 (1927). Unlike the normal approximation it stays
    within 0 to 1 and has a width when all or none succeeded.

    Raises:
        ValueError: counts or confidence that make no sense.
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    spread = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At the ends the interval reaches the share exactly; floating point misses it by an ulp.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return Proportion(count=count, total=total, share=share, low=low, high=high)
