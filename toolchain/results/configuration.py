"""How a network is run: the five things that two measurements of one network may differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from toolchain.models import variants

# A device says which runtime it ran, and what it says is no more than a name: the page has it in
# attributes, and a runtime that this version doesn't know is shown like any other.
Runtime = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
OptLevel = Annotated[int, Field(ge=0, le=9)]
Threads = Annotated[int, Field(ge=1, lt=1 << 31)]
Batch = Annotated[int, Field(ge=1, lt=1 << 31)]


class Run(Protocol):
    """Whatever ran a network, or is to run it, and says how."""

    @property
    def runtime(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def opt_level(self) -> int | None: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One way to run a network.

    Attributes:
        runtime: its name, as the runner on the device knows it.
        variant: the network's numeric variant, such as fp32 or int8.
        opt_level: what the network was compiled with; None under a runtime that has no levels.
        threads: of the runtime.
        batch: inputs an inference.
    """

    runtime: str
    variant: str
    opt_level: int | None
    threads: int
    batch: int

    @classmethod
    def of(cls, run: Run, *, batch: int) -> Configuration:
        """What a run says of itself, at so many inputs an inference."""
        return cls(
            runtime=run.runtime,
            variant=run.variant,
            opt_level=run.opt_level,
            threads=run.threads,
            batch=batch,
        )

    @property
    def variant_label(self) -> str:
        """Variant and level as one word, as libraries are named: `int8`, `O3`, `int8-O3`."""
        if self.opt_level is None:
            return self.variant
        return variants.library(self.variant, self.opt_level)
