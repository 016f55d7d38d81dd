"""The measurements among which a reader chooses: those that ran well and give what they should.

Of times only real devices have any; of an emulated one counted instructions are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.accuracy.counts import Run
from toolchain.models.variants import PLAIN
from toolchain.report import formatting
from toolchain.results.configuration import Configuration
from toolchain.results.measurement import Measurement, Result


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Top-1 of a configuration on the device, and of the same variant here; shares of 1.

    Attributes:
        there: on the device.
        here: where it was made.
        total: inputs that both are of.
        images: the digest of the user's images that they are; empty for a model's own samples.
    """

    there: float
    here: float
    total: int
    images: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A good measurement.

    Attributes:
        measured: what it is of.
        cost: what its speed is judged by: the median in ns, or guest instructions.
        top1: where inputs had labels.
    """

    measured: Measurement
    cost: float
    top1: Shares | None

    @property
    def words(self) -> str:
        """The configuration for people."""
        return formatting.configuration(self.measured.configuration)

    @property
    def form(self) -> tuple[str, str]:
        """Runtime and variant."""
        return self.measured.runtime, self.measured.variant

    @property
    def size(self) -> int:
        """Of the file that is run, in bytes; 0 where it is not known."""
        return self.measured.artifact.size if self.measured.artifact else 0


def by_title(result: Result, runs: Sequence[Run] = ()) -> dict[str, list[Candidate]]:
    """The candidates of each network at each batch, in the result's order.

    Args:
        result: of one device; of an emulated one that has times alone there are none.
        runs: accuracy on images of the user's, which counts before that on a model's own samples.
    """
    if result.emulated and not result.counted:
        return {}
    shares = _of_images(result, runs)
    by: dict[str, list[Candidate]] = {}
    for m in result.measurements:
        candidate = _candidate(result, m, shares.get((m.model, m.configuration)))
        if candidate is not None:
            by.setdefault(formatting.title(m), []).append(candidate)
    return by


def source_top1(found: Sequence[Candidate], of: Candidate) -> float | None:
    """Top-1 of a candidate's network as it was trained, on as many of the same inputs: a share.

    A slow configuration is given fewer inputs than a fast one, and their shares say nothing of
    each other. None where the network as it was trained was given others.
    """
    plain = [c.top1 for c in found if c.top1 and c.measured.variant == PLAIN]
    alike = [one for one in plain if of.top1 and _inputs(one) == _inputs(of.top1)]
    return max((one.here for one in alike), default=None)


def cost(of: float, *, counted: bool) -> str:
    """A candidate's cost for people."""
    return f"{of / 1e6:,.3f} M instructions" if counted else formatting.milliseconds(of)


def _inputs(shares: Shares) -> tuple[str, int]:
    return shares.images, shares.total


def _of_images(result: Result, runs: Sequence[Run]) -> dict[tuple[str, Configuration], Shares]:
    return {
        (run.model, subject.configuration): Shares(
            there=counts.top1 / counts.total,
            here=counts.reference_top1 / counts.total,
            total=counts.total,
            images=run.content,
        )
        for run in runs
        if run.host == result.host
        for subject in run.subjects
        if (counts := subject.sum()) is not None and counts.total
    }


def _candidate(result: Result, m: Measurement, images: Shares | None) -> Candidate | None:
    """A measurement that may be recommended: it ended well, and gives what its reference does."""
    known = images is not None or m.accuracy is not None
    wrong = m.parity is not None and not m.parity.holds and not known
    if m.status != "ok" or wrong or m.threads > result.device.cores:
        return None
    timing = m.timing()
    each = timing.latency_ns if timing else None
    if result.counted:
        each = m.instructions.each if m.instructions else None
    if each is None:
        return None
    if images is None and m.accuracy is not None:
        total = m.accuracy.total
        images = Shares(
            there=m.accuracy.correct / total,
            here=m.accuracy.reference_correct / total,
            total=total,
            images="",
        )
    return Candidate(measured=m, cost=each, top1=images)
