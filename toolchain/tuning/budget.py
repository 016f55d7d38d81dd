"""When a search ends. Of its own, as both sides of the worker need it and one has no TVM."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search may use: the one of the two that is used up first ends it.

    Attributes:
        trials: candidates, those of earlier searches included; none is no limit.
        minutes: since the search began; none is no limit.
    """

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Refuse one that never ends.

        Raises:
            UsageError: nothing limits it, or something is not above zero.
        """
        given = [n for n in (self.trials, self.minutes) if n is not None]
        if not given or any(n <= 0 for n in given):
            raise UsageError(
                "a search needs an end", resolution="give --trials N or --minutes M, above 0"
            )

    def over(self, *, trials: int, seconds: float) -> bool:
        """Whether so many candidates and seconds have used it up."""
        late = self.minutes is not None and seconds >= self.minutes * 60
        return late or (self.trials is not None and trials >= self.trials)
