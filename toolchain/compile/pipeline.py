"""The Relax pipeline of each optimisation level, each pass with its reason.

  O0  as imported: one function an operator, TVM's own loops. To find out whether a wrong result
      comes from the model or from what we do to it.
  O1  constants folded, operators fused: fewer passes over memory, TVM's own loops.
  O2  and a batch one sample after another, images channels-last (NHWC), products of rounded values
      as exact sums of integers, softmax as operators of one reduction at most, padding by what
      computes the image, exponentials as polynomials, loops vectorised along the channels and
      shared by threads.
  O3  and reductions computed in tiles that fit the target's registers, with NEON from inputs loaded
      four at a time, and weights laid out as the tiles read them; of int8 by dot products where
      the target has them. The default.

LLVM always runs at its own level 3. Every level plans memory ahead and takes the same input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir.transform import Pass

from toolchain.compile import tvm_versions
from toolchain.compile.relax import (
    batch_splitting,
    channels_last,
    constant_folding,
    fusion_bounds,
    integer_products,
    quantization,
    softmax_decomposition,
    step_rounding,
)
from toolchain.compile.tir import (
    multiversioning,
    padding_propagation,
    search_space,
    stack_allocation,
    target_code,
    weight_prepacking,
)
from toolchain.compile.tir.default_schedule import ScheduleRule
from toolchain.compile.tir.extrema import FROM_INFINITY
from toolchain.compile.tir.register_blocking import Tile
from toolchain.compile.tir.trial_builds import Try
from toolchain.compile.tir.vector_functions import VECTORISED, for_vectors
from toolchain.targets.instruction_sets import Registers

# Convolutions with channels last, for input and weights: vectors then run along channels at any
# stride and window, and 1x1 convolutions are matrix products as they stand.
LAYOUTS = {
    "relax.nn.conv2d": ["NHWC", "HWIO"],
    # TVM has no loops for another layout of these.
    "relax.nn.conv2d_transpose": ["NCHW", "IOHW"],
}
# TVM's own scale: a Sequential leaves out the passes above the context's level.
EVERY_PASS = 3
PACKED = 3  # the level from which instructions for products of integers are used


def passes(
    target: tvm.target.Target,
    opt_level: int,
    on_left_out: Callable[[str], None] = channels_last.ignore,
    attempt: Try | None = None,
) -> list[Pass]:
    """What `lower` runs, in this order: each pass has the lowest level that has it, and why.

    A pass's own docstring says what it needs before it and what it leaves.

    Args:
        target: what is compiled for.
        opt_level: 0 to 3.
        on_left_out: called with a line about a pass that is left out, since it refuses the graph.
        attempt: runs first what may take the process down; see `convert_images`.
    """
    transform = relax.transform
    packs = opt_level >= PACKED
    arithmetic = integer_products.Arithmetic(
        dot=target_code.dot_product(target) if packs else None,
        widens=target_code.widens(target),
        short=packs and target_code.adds_short_products(target),
    )
    table: list[tuple[int, Pass]] = [
        # A batch one sample after another, where its values would leave the caches.
        (2, batch_splitting.split_batch(target_code.kept(target))),
        # Rounding that the layout pass can look through.
        (2, quantization.decompose_qdq()),
        # Vectors along the channels, at any stride and window.
        (2, channels_last.convert_images(LAYOUTS, on_left_out, attempt)),
        # Products of what was rounded as exact sums of integers.
        (2, integer_products.fake_quantization_to_integer(arithmetic)),
        # Rounding to steps without a function of each value.
        (2, step_rounding.round_by_addition()),
        # One reduction a function, as the schedules want it.
        (2, softmax_decomposition.decompose_softmax()),
        # A border of zeros by what computes the image.
        (2, padding_propagation.hoist_padding()),
        # Weights are transposed and biases reshaped now and not in each inference.
        (1, constant_folding.fold_constant_by_numpy()),
        # Operators to loops, from O2 on exponentials to polynomials. What follows works on these.
        (0, transform.LegalizeOps({**FROM_INFINITY, **(VECTORISED if opt_level >= 2 else {})})),
        # What kind of loop each is; FoldConstant and FuseOps need to know.
        (1, transform.AnnotateTIROpPattern()),
        # What else depends on constants alone.
        (1, transform.FoldConstant()),
        # Borders are fused too.
        (1, padding_propagation.annotate_padding()),
        # No exponential of an exponential of an exponential in one function.
        (1, fusion_bounds.bound_fusion()),
        # Bias, activation and residual into the convolution before them.
        (1, transform.FuseOps()),
        (1, transform.FuseTIR()),
        # What was folded or fused away.
        (1, transform.DeadCodeElimination(["main"])),
    ]
    return [one for least, one in table if opt_level >= least]


def lower(
    module: tvm.IRModule,
    target: tvm.target.Target,
    opt_level: int,
    on_left_out: Callable[[str], None] = channels_last.ignore,
    attempt: Try | None = None,
) -> tvm.IRModule:
    """Relax as imported to Relax that calls TIR functions only, without schedules.

    It runs in the caller's pass context where that is of level 3, TVM's highest, so that its
    instruments see each pass; else in one of its own.

    Args:
        module: `main` of operators of Relax, images in NCHW, weights in OIHW; it is not changed.
        target: decides whether a batch fits in its caches, and about products of integers that it
            has an instruction for; what comes out is else the same for every CPU, and `schedule`
            then differs.
        opt_level: 0 to 3.
        on_left_out: called with a line about a pass that is left out, since it refuses the graph.
        attempt: runs first what may take the process down; see `convert_images`.

    Returns:
        `main`, which calls functions by `call_tir`: from O1 on fused ones, from O2 on over images
        in NHWC and weights in HWIO. Parameters and output stay in the layouts that they had.
    """
    sequence = tvm.transform.Sequential(
        passes(target, opt_level, on_left_out, attempt), name=f"edgewright.O{opt_level}"
    )
    with target:
        if tvm.transform.PassContext.current().opt_level >= EVERY_PASS:
            return sequence(module)
        with tvm.transform.PassContext(opt_level=EVERY_PASS):
            return sequence(module)


def schedule(
    module: tvm.IRModule,
    target: tvm.target.Target,
    opt_level: int,
    tuned: Mapping[str, Tile] | None = None,
    refused: Collection[str] = (),
) -> tuple[tvm.IRModule, list[str]]:
    """The module with every function that our rule fits rescheduled; and the others' names.

    Args:
        module: from `lower` at the same level; it is not changed.
        target: what to schedule for.
        opt_level: 0 to 3; below 2 nothing is scheduled, and none is named.
        tuned: the tiles that tuning found, by workload (`search_space.workload`).
        refused: functions that keep TVM's loops, since LLVM fails on ours.
    """
    others: list[str] = []
    if opt_level < 2:
        return module, others
    scheduling = apply_default_schedule(
        target,
        tiled=opt_level >= 3,
        tuned=tuned or {},
        on_unscheduled=others.append,
        refused=refused,
    )
    return scheduling(module), sorted(others)


def apply_default_schedule(
    target: tvm.target.Target,
    *,
    tiled: bool,
    tuned: Mapping[str, Tile],
    on_unscheduled: Callable[[str], None],
    refused: Collection[str] = (),
) -> Pass:
    """ApplyDefaultSchedule: TIR functions with loops of ours, their weights prepacked.

    Needs: what `lower` leaves at O2 or O3. Leaves: functions with the attribute
    `tirx.is_scheduled`, those that most of the work is in in two forms where vectors of two lengths
    are compiled for (`multiversioning`), and constants packed for them; functions that the rule
    doesn't fit as they were.

    Args:
        target: what to schedule for.
        tiled: compute reductions in register tiles; else only vectorise them.
        tuned: the tiles that tuning found, by workload.
        on_unscheduled: called with the name of each function that the rule doesn't fit.
        refused: functions that are left as they are.
    """

    def apply(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        registers = target_code.registers(target)
        longer = multiversioning.longer(target)
        heavy = multiversioning.heavy(module) if longer else set()
        constant = weight_prepacking.constant_arguments(module)
        packings: dict[str, weight_prepacking.Packing] = {}
        scheduled = module.clone()
        for variable, function in list(module.functions_items()):
            if not isinstance(function, tirx.PrimFunc):
                continue
            name = variable.name_hint
            rule = ScheduleRule(
                registers=registers,
                tiled=tiled,
                choose=search_space.chosen(tuned, function, registers),
                dot=target_code.dot_product(target),
                constant=constant.get(name, frozenset()),
            )
            wide = target_code.registers(longer) if longer and name in heavy else None
            scheduled_forms = None if name in refused else _forms(rule, function, wide)
            if scheduled_forms is None:
                on_unscheduled(name)
                continue
            forms, packings[name] = scheduled_forms
            put_forms(scheduled, variable, forms, target)
        return weight_prepacking.prepack_weights(packings)(scheduled)

    return tvm.transform.module_pass(apply, opt_level=2, name="ApplyDefaultSchedule")


def _forms(
    rule: ScheduleRule, function: tirx.PrimFunc, wide: Registers | None
) -> tuple[tuple[tirx.PrimFunc, ...], weight_prepacking.Packing] | None:
    """A function's schedules and what they pack; None, so that it keeps TVM's loops, if that fails.

    A schedule's steps are refused by TVM for loops that the rule was not written for (a scatter's
    stores, a reduction to one number, a size that is not known yet), with whatever error.
    """
    try:
        forms = multiversioning.forms(rule, function, wide)
        return forms and (forms, weight_prepacking.packing_of(function, forms[0]))
    except Exception:  # noqa: BLE001 # one function's schedule is no reason to lose the network
        return None


def put_forms(
    module: tvm.IRModule,
    variable: tvm.ir.GlobalVar,
    forms: tuple[tirx.PrimFunc, ...],
    target: tvm.target.Target,
) -> None:
    """Give a function of a module its schedule, or those for vectors of two lengths.

    Args:
        module: with the function; it is changed.
        variable: the function's.
        forms: the function scheduled, and, if there are two, then for longer vectors.
        target: of the first form.
    """
    short, *long = (for_lowering(form, target) for form in forms)
    module.update_func(variable, short)
    for form in long:
        multiversioning.add(module, variable, short, form)


def for_lowering(function: tirx.PrimFunc, target: tvm.target.Target) -> tirx.PrimFunc:
    """A scheduled function as TVM is to lower it: with RVV, its vectors as they are."""
    function = for_vectors(function)
    if target_code.registers(target).scalable:
        return function.with_attr("target", _without_features(target))
    return function


def _without_features(target: tvm.target.Target) -> tvm.target.Target:
    """The target's triple alone, as the lowering of a scheduled function should see it.

    For a CPU whose vectors have no fixed length TVM rewrites each vector of a schedule as a masked
    loop that counts on the device, and no tile of those stays in registers (MobileNetV3-Large with
    RVV: 1.56e9 instructions instead of 0.08e9). LLVM still compiles for the whole target, and RVV
    has the schedule's vectors at any length from 128 bits.
    """
    return tvm.target.Target({"kind": "llvm", "mtriple": str(target.attrs["mtriple"])})


def build(module: tvm.IRModule, target: tvm.target.Target) -> Any:
    """Optimised Relax to an executable: memory planned, calls made explicit, LLVM run.

    TVM's default pipeline has, in order, all that is left to do: sort and sampling dispatched,
    reshapes made views, tensors allocated from a static plan, dead ones freed, shapes lowered.

    Args:
        module: from `schedule`, or from `lower` for TVM's own loops.
        target: what both were given.

    Returns:
        a VMExecutable whose `main` takes and gives what the imported one did.
    """
    rest, long = _long_forms(batch_splitting.join_batch()(module), target)
    if long is not None:
        rest = rest.with_attr("external_mods", [long])
    lowering = _lowering(target, choosing=long is not None)
    return relax.build(rest, target, relax_pipeline="default", tir_pipeline=lowering)


def build_functions(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """Scheduled functions without Relax to a library, with all their forms.

    Args:
        module: of TIR functions, put there by `put_forms`, each called by its name with tensors.
        target: what they are scheduled for.
    """
    rest, long = _long_forms(module, target)
    library = tirx.build(rest, target, pipeline=_lowering(target, choosing=long is not None))
    if long is not None:
        library.import_module(long)
    return library


def _long_forms(
    module: tvm.IRModule, target: tvm.target.Target
) -> tuple[tvm.IRModule, tvm.runtime.Module | None]:
    """The module without its forms for longer vectors, and these built, if there are any."""
    longer = multiversioning.longer(target)
    rest, long = multiversioning.split(module)
    if longer is None or not long.functions:
        return rest, None
    return rest, tirx.build(long, longer, pipeline=_lowering(longer, choosing=False))


def _lowering(target: tvm.target.Target, *, choosing: bool) -> Any:
    """How loops are lowered; a function with two forms chooses between them."""
    return tvm_versions.tir_pipeline(
        *([multiversioning.choosing(target)] if choosing else []), stack_allocation.keeping()
    )
