"""What a worker is asked and what it answers: JSON, which each side checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

TOPIC = "edgewright"  # of what workers say while they work
# what Dask calls resources; a worker that can't import our code has none, and is given no job
JOBS, CONVERSIONS = "edgewright", "conversions"
BEAT_S = 5.0  # they say something at least as often
Line = Annotated[str, StringConstraints(max_length=2000)]
Words = Annotated[str, StringConstraints(max_length=20_000)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Message):
    """A job.

    Attributes:
        kind: of work, the name of its class.
        work: its fields.
        inputs: all that decides what is made, as who asks computes it.
        given: the inputs of the entry with the files that it reads; None where it reads none.
        python: the version of who asks.
    """

    kind: str
    work: dict[str, Any]
    inputs: dict[str, Any]
    given: dict[str, Any] | None
    python: str


class Said(_Message):
    """An error of ours, in words; `kind` is the name of its class."""

    kind: Line
    brief: Line
    detail: Words = ""
    resolution: Words = ""


class Answer(_Message):
    """What became of a job.

    Attributes:
        worker: its address, as the scheduler has it.
        outcome: `made`, and given to the shared cache; `failed`, as it would anywhere; or `unfit`,
            when another worker may do better.
        error: why not.
    """

    worker: Line
    outcome: Literal["made", "failed", "unfit"]
    error: Said | None = None


class Beat(_Message):
    """What a worker says of a job that it is at.

    Attributes:
        key: of the job, as the scheduler has it.
        worker: its address.
        name: what it is called.
        line: the step that it is at; empty when there is no new one.
    """

    key: Line
    worker: Line
    name: Line
    line: Annotated[str, Field(max_length=500)] = ""
