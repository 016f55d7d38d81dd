"""What a reader wants to know first: which configuration of a network to take on a device.

Of times only real devices say that; of an emulated one counted instructions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolchain.accuracy.counts import Run
from toolchain.report import candidates
from toolchain.report.candidates import Candidate
from toolchain.report.formatting import mebibytes, number, percent, size
from toolchain.report.measurement_rows import own_memory
from toolchain.results import measurement

HARDLY = 0.005  # points of accuracy that are not worth a word


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a configuration must keep to; None asks for nothing.

    Attributes:
        under_ms: the median of its times, in ms.
        within: percentage points of top-1 that it may lose against its source's.
    """

    under_ms: float | None = None
    within: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best configuration by one measure.

    Attributes:
        what: such as fastest.
        configuration: in words.
        value: in words.
    """

    what: str
    configuration: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of one network at one batch on one device.

    Attributes:
        title: the network, with its batch.
        model: the network.
        sentence: which configuration to take, and why.
        best: by each measure that is known, where there is a choice.
    """

    title: str
    model: str
    sentence: str
    best: list[Best] = field(default_factory=list)


def answers(
    result: measurement.Result, runs: Sequence[Run] = (), limits: Limits = NO_LIMITS
) -> list[Answer]:
    """An answer for each network of a result, in its order.

    Args:
        result: of one device.
        runs: accuracy on images of the user's, which counts before that on a model's own samples.
        limits: what a configuration must keep to.
    """
    found = candidates.by_title(result, runs)
    return [_answer(result, title, of, limits) for title, of in found.items()]


def by_network(found: Sequence[Answer]) -> list[list[Answer]]:
    """The answers of a result by their network, each with its batches in order."""
    groups: dict[str, list[Answer]] = {}
    for answer in found:
        groups.setdefault(answer.model, []).append(answer)
    return list(groups.values())


def _answer(
    result: measurement.Result, title: str, found: Sequence[Candidate], limits: Limits
) -> Answer:
    counted = result.counted
    fitting = [
        c for c in found if _fits(c, candidates.source_top1(found, c), limits, counted=counted)
    ]
    model = found[0].measured.model
    if not fitting:
        nothing = f"nothing keeps to {_asked(limits)}"
        return Answer(title=title, model=model, sentence=nothing, best=_best(found))
    taken = min(fitting, key=lambda c: c.cost)
    others = [c for c in fitting if c.form != taken.form]
    parts = [f"take {taken.words}: {candidates.cost(taken.cost, counted=counted)}"]
    if others:
        rival = min(others, key=lambda c: c.cost)
        parts.append(_by_count(taken, rival) if counted else _by_time(result, taken, rival))
    source = candidates.source_top1(found, taken)
    if taken.top1 is not None and source is not None:
        parts.append(_loss(100 * (source - taken.top1.there)))
    return Answer(title=title, model=model, sentence=", ".join(parts), best=_best(fitting))


def _fits(candidate: Candidate, source: float | None, limits: Limits, *, counted: bool) -> bool:
    if limits.under_ms is not None and (counted or candidate.cost / 1e6 > limits.under_ms):
        return False
    if limits.within is None:
        return True
    if candidate.top1 is None or source is None:
        return False
    # a share is a float: half a thousandth of a point is no loss
    return 100 * (source - candidate.top1.there) <= limits.within + 5e-4


def _asked(limits: Limits) -> str:
    said = []
    if limits.under_ms is not None:
        said.append(f"{number(limits.under_ms)} ms")
    if limits.within is not None:
        said.append(f"{number(limits.within)} points of its source's top-1, as far as it is known")
    return " and ".join(said)


def _by_time(result: measurement.Result, taken: Candidate, rival: Candidate) -> str:
    factor = measurement.latency_ratio((result, rival.measured), (result, taken.measured))
    if factor.low is None or factor.high is None:
        return (
            f"{number(factor.value)} times faster than {rival.words}, of too few times to be sure"
        )
    if not factor.beyond_noise:
        return f"within noise as fast as {rival.words}"
    span = f"{number(factor.low)} to {number(factor.high)}"
    return f"{number(factor.value)} times faster ({span}) than {rival.words}"


def _by_count(taken: Candidate, rival: Candidate) -> str:
    return f"where {rival.words} takes {number(rival.cost / taken.cost)} times as many"


def _loss(points: float) -> str:
    if abs(points) < HARDLY:
        return "as accurate as its source"
    return f"for {number(points)} points" if points > 0 else f"{number(-points)} points above it"


def _best(found: Sequence[Candidate]) -> list[Best]:
    """The best by each measure, where there is more than one to choose from."""
    if len(found) < 2:
        return []
    sized = [c for c in found if c.size]
    weighed = [c for c in found if own_memory(c.measured) is not None]
    judged = [c for c in found if c.top1]
    best = []
    if sized:
        least = min(sized, key=lambda c: (c.size, c.cost))
        best.append(Best(what="smallest", configuration=least.words, value=size(least.size)))
    if weighed:
        lean = min(weighed, key=lambda c: (_memory(c), c.cost))
        best.append(Best(what="leanest", configuration=lean.words, value=mebibytes(_memory(lean))))
    if judged:
        right = max(judged, key=lambda c: (_top1(c), -c.cost))
        said = percent(_top1(right))
        best.append(Best(what="most accurate", configuration=right.words, value=said))
    return best


def _memory(candidate: Candidate) -> int:
    return own_memory(candidate.measured) or 0


def _top1(candidate: Candidate) -> float:
    return candidate.top1.there if candidate.top1 else 0.0
