"""The search, as MetaSchedule drives it.

MetaSchedule decides which function comes next, by how much of an inference it takes and by what its
last trials gained. A function's space, the candidates in it and how they are built and measured are
ours: `search`. Nothing is built while something is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import tvm
from tvm import s_tir
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from toolchain.compile.tir import multiversioning
from toolchain.tuning.functions import Function, candidate
from toolchain.tuning.records import Trial
from toolchain.tuning.search import BATCH, BuildFailedError, Tuning

UNLIMITED = 1 << 30  # the budget is the tuning's own


def run(tuning: Tuning) -> None:
    """Search until the budget is used up, nothing is left to try, or no device is."""
    with _no_intrinsics():
        contexts = [
            ms.TuneContext(
                tvm.IRModule({"main": _counted(one)}),
                target=tuning.target,
                space_generator=ms.space_generator.ScheduleFn(lambda _: None, [], [], {}),
                search_strategy=Strategy(tuning, one),
                task_name=one.name,
                num_threads=1,
                rand_state=1,
            )
            for one in tuning.functions
        ]
    ms.task_scheduler.GradientBased(seed=1).tune(
        tasks=contexts,
        task_weights=[float(one.calls) for one in tuning.functions],
        max_trials_global=UNLIMITED,
        max_trials_per_task=UNLIMITED,
        num_trials_per_iter=BATCH,
        builder=Builder(tuning),
        runner=Runner(tuning),
        measure_callbacks=[],
        database=None,
        cost_model=None,
    )


def _counted(one: Function) -> tvm.tirx.PrimFunc:
    """A function that says how much it computes.

    MetaSchedule would count it, and fails at what an exponential binds to a name.
    """
    named = one.function.with_attr("global_symbol", "main")
    return named.with_attr("estimated_flops", multiversioning.values(one.function))


@contextmanager
def _no_intrinsics() -> Iterator[None]:
    """TuneContext imports TVM's tensor intrinsics, most of them CUDA's.

    They take most of a minute to parse, and no schedule of ours has one.
    """
    name = "tvm.s_tir.tensor_intrin"
    there = name in sys.modules
    sys.modules.setdefault(name, ModuleType(name))
    try:
        yield
    finally:
        if not there:
            del sys.modules[name]


@derived_object
class Strategy(ms.search_strategy.PySearchStrategy):  # type: ignore[misc]  # TVM has no types
    """Which candidates of a function come next."""

    def __init__(self, tuning: Tuning, function: Function) -> None:
        self.tuning, self.function = tuning, function

    def _initialize_with_tune_context(self, context: Any) -> None:
        """Nothing of it is needed."""

    def pre_tuning(self, *_arguments: Any) -> None:
        """Nothing is to be prepared."""

    def post_tuning(self) -> None:
        """Nothing is to be tidied."""

    def generate_measure_candidates(self) -> list[Any] | None:
        """The next candidates; None at the end."""
        self.tuning.batch = self.tuning.propose(self.function)
        made = []
        for function, tile in self.tuning.batch:
            better = candidate(function, tile, self.tuning.target)["main"]
            schedule = s_tir.Schedule(tvm.IRModule({"main": better}))
            arguments = ms.arg_info.ArgInfo.from_prim_func(better)
            made.append(ms.MeasureCandidate(schedule, arguments))
        return made or None

    def notify_runner_results(self, _candidates: Any, _results: Any) -> None:
        """The trials are known already."""

    def clone(self) -> Strategy:
        """The same."""
        return Strategy(self.tuning, self.function)


@derived_object
class Builder(ms.builder.PyBuilder):  # type: ignore[misc]  # as above
    """Makes libraries of a batch's candidates, in this process."""

    def __init__(self, tuning: Tuning) -> None:
        super().__init__()
        self.tuning = tuning

    def build(self, build_inputs: Any) -> list[Any]:
        """A library of each, or why not."""
        return [self._built(number) for number in range(len(build_inputs))]

    def _built(self, number: int) -> Any:
        try:
            path = self.tuning.built(number)
        except BuildFailedError as error:
            return ms.builder.BuilderResult(None, str(error))
        return ms.builder.BuilderResult(str(path), None)


@derived_object
class Runner(ms.runner.PyRunner):  # type: ignore[misc]  # as above
    """Measures a batch; it is done when `run` returns, so that nothing is built meanwhile."""

    def __init__(self, tuning: Tuning) -> None:
        super().__init__()
        self.tuning = tuning

    def run(self, runner_inputs: Any) -> list[Any]:
        """What was measured of each library."""
        paths = [Path(str(one.artifact_path)) for one in runner_inputs]
        trials = self.tuning.measure(paths)
        return [Measured(trials[path]) for path in paths]


@derived_object
class Measured(ms.runner.PyRunnerFuture):  # type: ignore[misc]  # as above
    """A result that is there already."""

    def __init__(self, trial: Trial | None) -> None:
        super().__init__()
        self.trial = trial

    def done(self) -> bool:
        """It is."""
        return True

    def result(self) -> Any:
        """Its times, or why there are none."""
        if self.trial is None or not self.trial.seconds:
            why = self.trial.failed if self.trial else "no device is left"
            return ms.runner.RunnerResult(None, why)
        return ms.runner.RunnerResult(list(self.trial.seconds), None)
