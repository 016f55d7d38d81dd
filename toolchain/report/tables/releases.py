"""Which release was measured on which device, and what it ran there.

Of results alone: what a device runs now `invoke releases` asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolchain.report.charts import runtime_style
from toolchain.results.configuration import Configuration
from toolchain.results.measurement import Result

TITLE = "What each release ran"
MOST_SHOWN = 500  # rows of a page
COLUMNS = ("Device", "Release", "Measured", "Network", "Batches", "Ran")


@dataclass(frozen=True, kw_only=True)
class Form:
    """A network's form.

    Attributes:
        runtime: that ran it.
        variant: of the network.
        opt_level: what it was compiled with; None under a runtime that has no levels.
        ran: whether a measurement of it ended well.
    """

    runtime: str
    variant: str
    opt_level: int | None
    ran: bool


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a release ran of one network on one device, with the forms that ran at the same batches.

    Attributes:
        host: the device.
        target: that the release is of.
        release: its id.
        newest: whether no other was measured there later.
        first, last: when its first and its last measurements began.
        model: the network.
        batches: at each of which all forms were run.
        forms: by runtime, in the order of `runtime_style.in_order`.
    """

    host: str
    target: str
    release: str
    newest: bool
    first: datetime
    last: datetime
    model: str
    batches: tuple[int, ...]
    forms: tuple[Form, ...]

    @property
    def ran(self) -> str:
        """The forms in words: `TFLite fp32, int8; TVM O3`."""
        by_runtime: dict[str, list[str]] = {}
        for form in self.forms:
            by_runtime.setdefault(runtime_style.label(form.runtime), []).append(_words(form))
        return "; ".join(f"{name} {', '.join(of)}" for name, of in by_runtime.items())

    @property
    def measured(self) -> str:
        """The days of the first and the last measurements, in UTC."""
        first, last = (f"{at.astimezone(UTC):%Y-%m-%d}" for at in (self.first, self.last))
        return first if first == last else f"{first} to {last}"

    @property
    def row(self) -> tuple[str, ...]:
        """In words, in the order of `COLUMNS`."""
        release = f"{self.release[:16]}{', the newest' if self.newest else ''}"
        batches = ", ".join(map(str, self.batches))
        return self.host, release, self.measured, self.model, batches, self.ran

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "forms": [vars(form) for form in self.forms],
        }


def held(results: Iterable[Result]) -> list[Held]:
    """What each release ran on each device: by device, the newest release first, by network.

    Args:
        results: all that there are, since the newest alone leave out what earlier releases ran.
    """
    of_release: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        of_release.setdefault((result.host, result.release), []).append(result)
    last = {key: max(r.started for r in found) for key, found in of_release.items()}
    newest: dict[str, datetime] = {}
    for (host, _), at in last.items():
        newest[host] = max(at, newest.get(host, at))
    ordered = sorted(of_release, key=lambda key: (key[0], -last[key].timestamp(), key[1]))
    return [
        Held(
            host=key[0],
            target=of_release[key][-1].target,
            release=key[1],
            newest=last[key] == newest[key[0]],
            first=min(result.started for result in of_release[key]),
            last=last[key],
            model=model,
            batches=batches,
            forms=forms,
        )
        for key in ordered
        for model, batches, forms in _networks(of_release[key])
    ]


def shown(found: Sequence[Held]) -> list[Held]:
    """Those for which a page has room, of each device's newest release before of any other."""
    kept = {id(one) for one in sorted(found, key=lambda one: not one.newest)[:MOST_SHOWN]}
    return [one for one in found if id(one) in kept]


def _networks(
    results: Sequence[Result],
) -> Iterable[tuple[str, tuple[int, ...], tuple[Form, ...]]]:
    """Each network with the batches of its forms, and the forms that have the same batches."""
    ran: dict[tuple[str, str, str, int | None], dict[int, bool]] = {}
    for result in results:
        for m in result.measurements:
            of_form = ran.setdefault((m.model, m.runtime, m.variant, m.opt_level), {})
            of_form[m.batch] = of_form.get(m.batch, False) or m.status == "ok"
    alike: dict[tuple[str, tuple[int, ...]], list[Form]] = {}
    for (model, runtime, variant, level), batches in ran.items():
        for well in sorted(set(batches.values()), reverse=True):
            at = tuple(sorted(batch for batch, good in batches.items() if good == well))
            form = Form(runtime=runtime, variant=variant, opt_level=level, ran=well)
            alike.setdefault((model, at), []).append(form)
    rank = {
        name: number for number, name in enumerate(runtime_style.in_order({key[1] for key in ran}))
    }
    for (model, at), forms in sorted(alike.items()):
        yield model, at, tuple(sorted(forms, key=lambda form: rank[form.runtime]))


def _words(form: Form) -> str:
    of = Configuration(
        runtime=form.runtime,
        variant=form.variant,
        opt_level=form.opt_level,
        threads=1,
        batch=1,
    )
    return of.variant_label if form.ran else f"{of.variant_label} (failed)"
