"""Many conversions and compilations: all that can be done is done, what failed is told at the end.

Conversions run one after another, as one takes all the memory that TensorFlow wants; compilations
run side by side, each in a process of its own. What was built before is only looked up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from toolchain import convert, paths
from toolchain.compile import Compiler, Linker, compile_model
from toolchain.convert import variant as variant_of
from toolchain.errors import EdgewrightError, ModelError
from toolchain.models import ModelSpec
from toolchain.models.card import ModelCard
from toolchain.models.variants import PLAIN
from toolchain.targets import Target

Say = Callable[[str], None]
# Shows that a step runs; gives what takes its current line.
Step = Callable[[str], AbstractContextManager[Say]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What could not be done, and why."""

    what: str
    error: EdgewrightError


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """One library to make: a form of a converted model at a level."""

    folder: Path
    model: str
    batch: int
    variant: str
    opt_level: int

    def __str__(self) -> str:
        form = "" if self.variant == PLAIN else f"{self.variant}, "
        return f"{self.model}, batch {self.batch}, {form}O{self.opt_level}"


@dataclass(kw_only=True)
class Outcome:
    """What a matrix came to: the cards of its folders as they are now, in its order."""

    cards: dict[Path, ModelCard] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    jobs: int = 0

    def refuse(self) -> None:
        """Raise when something failed: the error itself when it is the only one.

        Raises:
            EdgewrightError: that of the one job that failed.
            ModelError: several failed.
        """
        if not self.failures:
            return
        if len(self.failures) == 1:
            raise self.failures[0].error
        raise ModelError(
            f"{len(self.failures)} of {self.jobs} jobs failed",
            detail="\n".join(f"{f.what}: {f.error.brief}" for f in self.failures),
            resolution="the others are done; --debug and one of these alone says more",
        )


def converted(
    specs: Sequence[ModelSpec], batches: Sequence[int], forms: Sequence[str], step: Step
) -> Outcome:
    """Convert each model at each batch to each form, in dist/models.

    Args:
        specs: the models.
        batches: the batches.
        forms: variants, from `variants.chosen`; the plain form is made in any case.
        step: shows each.
    """
    made = Outcome()
    for spec in specs:
        for batch in batches:
            folder = paths.dist() / "models" / spec.name / f"b{batch}"
            for form in (PLAIN, *(f for f in forms if f != PLAIN)):
                name = "" if form == PLAIN else f", {form}"
                title = f"convert {spec.name}, batch {batch}{name}"
                made.jobs += 1
                try:
                    with step(title) as say:
                        made.cards[folder] = (
                            convert.convert(spec, batch, progress=say)
                            if form == PLAIN
                            else variant_of.add(spec, batch, form, folder, progress=say)
                        )
                except EdgewrightError as error:
                    made.failures.append(Failure(what=title, error=error))
                    if form == PLAIN:
                        break  # nothing to make the others of
    return made


def planned(
    cards: Sequence[tuple[Path, ModelCard]], forms: Sequence[str], levels: Sequence[int]
) -> list[Compilation]:
    """The compilations of converted models: each form that has a graph, or that says why not."""
    return [
        Compilation(
            folder=folder, model=card.model, batch=card.batch, variant=form, opt_level=level
        )
        for folder, card in cards
        for form in forms
        for level in levels
        if form == PLAIN or form in card.tflite
    ]


def compiled(
    plan: Sequence[Compilation],
    target: Target,
    *,
    linker: Linker,
    compiler: Compiler,
    workers: int | None = None,
    step: Step,
) -> Outcome:
    """Compile all of a plan, so many at once; the cards at the end name all that was made.

    Args:
        plan: from `planned`.
        target: what to compile for.
        linker: as `compile_model`.
        compiler: as `compile_model`.
        workers: jobs at once; the cores that this process may use when not given.
        step: shows it.
    """
    done = Outcome(jobs=len(plan))
    cores = workers or len(os.sched_getaffinity(0))
    at_once = max(1, min(len(plan), cores))
    title = (
        f"compile {plan[0]}, for {target.name}"
        if len(plan) == 1
        else f"compile {len(plan)} libraries for {target.name}, {at_once} at once"
    )
    finished = 0
    started = time.monotonic()

    def one(job: Compilation, say: Say) -> Failure | None:
        nonlocal finished
        try:
            compile_model(
                job.folder,
                target,
                job.opt_level,
                variant=job.variant,
                linker=linker,
                compiler=compiler,
                both_at_once=at_once < cores,
                progress=lambda line: say(f"{finished} of {len(plan)}; {job}: {line}"),
            )
        except EdgewrightError as error:
            return Failure(what=str(job), error=error)
        finally:
            finished += 1
        return None

    with step(title) as say, ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda job: one(job, say), plan))
        say(f"{len(plan)} in {time.monotonic() - started:.0f} s")
        done.failures += [failure for failure in results if failure is not None]
        if len(plan) == 1:
            done.refuse()  # inside, so that the step shows that it failed
    done.cards = {job.folder: ModelCard.load(job.folder) for job in plan}
    return done
