"""The Relax pipeline of each optimisation level, each pass with its reason.

  O0  as imported: one function an operator, TVM's own loops. To find out whether a wrong result
      comes from the model or from what we do to it.
  O1  constants folded, operators fused: fewer passes over memory, TVM's own loops.
  O2  and a batch one sample after another, images channels-last (NHWC), softmax as operators of one
      reduction at most, padding by what computes the image, exponentials as polynomials, loops
      vectorised along the channels and shared by threads.
  O3  and reductions computed in tiles that fit the target's registers, with NEON from inputs loaded
      four at a time, and weights laid out as the tiles read them; of int8 by dot products where
      the target has them. The default.

LLVM always runs at its own level 3. Every level plans memory ahead and takes the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax, tirx

from toolchain.compile import tvm_versions
from toolchain.compile.relax import batch_splitting
from toolchain.compile.relax.constant_folding import fold_layouts
from toolchain.compile.relax.quantization import as_elementwise, with_integer_products
from toolchain.compile.relax.softmax_decomposition import split_softmax
from toolchain.compile.tir import (
    multiversioning,
    padding_propagation,
    search_space,
    stack_allocation,
    target_code,
    weight_prepacking,
)
from toolchain.compile.tir.default_schedule import Rule
from toolchain.compile.tir.register_blocking import Tile
from toolchain.compile.tir.vector_exponential import VECTORISED

# Convolutions with channels last, for input and weights: vectors then run along channels at any
# stride and window, and 1x1 convolutions are matrix products as they stand.
LAYOUTS = {
    "relax.nn.conv2d": ["NHWC", "HWIO"],
    # TVM has no loops for another layout of these.
    "relax.nn.conv2d_transpose": ["NCHW", "IOHW"],
}


def lower(module: tvm.IRModule, target: tvm.target.Target, opt_level: int) -> tvm.IRModule:
    """Relax as imported to Relax that calls TIR functions only, without schedules.

    What comes out is the same for every CPU, but for a batch that fits in its caches, and products
    of integers that it has an instruction for; `schedule` then differs.
    """
    transform = relax.transform
    if opt_level >= 2:
        # A batch one sample after another, where its values would leave the caches.
        module = batch_splitting.apart(module, target_code.kept(target))
        # Rounding that the layout pass can look through.
        module = as_elementwise(module)
        module = _run(
            [
                transform.ConvertLayout(LAYOUTS),
                # ConvertLayout leaves nested expressions, and transposes that cancel.
                transform.Normalize(),
                transform.CanonicalizeBindings(),
                transform.DeadCodeElimination(["main"]),
            ],
            module,
        )
        dot = target_code.dot_product(target)
        if opt_level >= 3 and dot is not None:
            # int8 by int8, where the target has an instruction for it.
            module = with_integer_products(module, dot)
        # One reduction a function, as the schedules want it.
        module = split_softmax(module)
        # A border of zeros by what computes the image.
        module = padding_propagation.apart(module)
    if opt_level >= 1:
        # Weights are turned and biases reshaped now and not in each inference.
        module = fold_layouts(module)
    # Operators to loops. All that follows works on these.
    passes: list[Any] = [transform.LegalizeOps(VECTORISED if opt_level >= 2 else {})]
    if opt_level >= 1:
        passes += [
            # What kind of loop each is; FoldConstant and FuseOps need to know.
            transform.AnnotateTIROpPattern(),
            # What else depends on constants alone.
            transform.FoldConstant(),
            # Borders are fused too.
            padding_propagation.fusible(),
            # Bias, activation and residual into the convolution before them.
            transform.FuseOps(),
            transform.FuseTIR(),
            # What was folded or fused away.
            transform.DeadCodeElimination(["main"]),
        ]
    with target:
        return _run(passes, module)


def _run(passes: list[Any], module: tvm.IRModule) -> tvm.IRModule:
    with tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(passes)(module)


def schedule(
    module: tvm.IRModule,
    target: tvm.target.Target,
    opt_level: int,
    tuned: Mapping[str, Tile] | None = None,
) -> tuple[tvm.IRModule, list[str]]:
    """The module with every function that our rule fits rescheduled; and the others' names.

    Args:
        module: from `lower`.
        target: what to schedule for.
        opt_level: 0 to 3.
        tuned: the tiles that tuning found, by workload.
    """
    if opt_level < 2:
        return module, []
    registers = target_code.registers(target)
    longer = multiversioning.longer(target)
    heavy = multiversioning.heavy(module) if longer else set()
    constant = weight_prepacking.constants(module)
    packs: dict[str, weight_prepacking.Packs] = {}
    scheduled, others = module.clone(), []
    for variable, function in list(module.functions_items()):
        if not isinstance(function, tirx.PrimFunc):
            continue
        name = variable.name_hint
        rule = Rule(
            registers=registers,
            tiled=opt_level >= 3,
            choose=search_space.chosen(tuned or {}, function, registers),
            dot=target_code.dot_product(target),
            constant=constant.get(name, frozenset()),
        )
        wide = target_code.registers(longer) if longer and name in heavy else None
        forms = multiversioning.forms(rule, function, wide)
        if forms is None:
            others.append(name)
            continue
        packs[name] = weight_prepacking.packs(function, forms[0])
        put(scheduled, variable, forms, target)
    return weight_prepacking.packed(scheduled, packs), sorted(others)


def put(
    module: tvm.IRModule,
    variable: tvm.ir.GlobalVar,
    forms: tuple[tirx.PrimFunc, ...],
    target: tvm.target.Target,
) -> None:
    """Give a function of a module its schedule, or those for vectors of two lengths."""
    short, *long = (for_lowering(form, target) for form in forms)
    module.update_func(variable, short)
    for form in long:
        multiversioning.add(module, variable, short, form)


def for_lowering(function: tirx.PrimFunc, target: tvm.target.Target) -> tirx.PrimFunc:
    """A scheduled function as TVM is to lower it for a target."""
    if target_code.registers(target).scalable:
        return function.with_attr("target", _fixed(target))
    return function


def _fixed(target: tvm.target.Target) -> tvm.target.Target:
    """The target as the lowering of a scheduled function should see it.

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
    """
    rest, long = _long_forms(batch_splitting.together(module), target)
    if long is not None:
        rest = rest.with_attr("external_mods", [long])
    lowering = _lowering(target, choosing=long is not None)
    return relax.build(rest, target, relax_pipeline="default", tir_pipeline=lowering)


def build_functions(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """Scheduled functions without Relax to a library, with all their forms."""
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
    return tvm_versions.lowering(
        *([multiversioning.choosing(target)] if choosing else []), stack_allocation.keeping()
    )
