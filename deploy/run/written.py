"""What came out of a run as tables, as JSON and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.run import drawing
from deploy.run.deployed_model import Choice, DeployedModel
from deploy.run.device_run import Ran
from deploy.run.meaning import Box, Meaning, real_numbers
from toolchain.accuracy.class_map import UNSEEN
from toolchain.core import paths
from toolchain.core.errors import UsageError
from toolchain.models.manifest import ModelManifest

Array = npt.NDArray[Any]
Json = dict[str, Any]
ARRAYS, PICTURES = (".npz",), (".png", ".jpg", ".jpeg", ".webp", ".bmp")
OUT = (
    "--out found.npz for arrays, --out FOLDER for several inputs, --out found.png for boxes and "
    "masks"
)
MOST_SHOWN = 20  # boxes in a table
SAME_PLACE = 0.5  # overlap (IoU) from which a box here is that of the device


def table(
    manifest: ModelManifest,
    ran: Ran,
    meaning: Meaning,
    here: Mapping[str, Array] | None,
    other: Meaning | None,
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of one input.

    Args:
        manifest: the model's.
        ran: what came out.
        meaning: what that says.
        here: what came out on this machine, where that is compared.
        other: what that says.
    """
    beside = ["here"] if other is not None else []
    if meaning.scores:
        known = _scores_here(manifest, here)
        rows = [
            [s.label, f"{s.score:.4g}", *([f"{known[s.number]:.4g}"] if beside else [])]
            for s in meaning.scores
        ]
        return ["class", "score", *beside], rows
    if meaning.boxes is not None:
        rows = [
            [
                box.label, f"{box.score:.3f}",
                *(f"{edge:.0f}" for edge in (box.left, box.top, box.right, box.bottom)),
                *([_box_here(box, other)] if other is not None else []),
            ]
            for box in meaning.boxes[:MOST_SHOWN]
        ]  # fmt: skip
        return ["object", "score", "left", "top", "right", "bottom", *beside], rows
    if meaning.mask is not None:
        shares = _shares(meaning)
        there = _shares(other) if other is not None else {}
        rows = [
            [_named(number), f"{share:.1%}", *([f"{there.get(number, 0):.1%}"] if beside else [])]
            for number, share in sorted(shares.items(), key=lambda pair: -pair[1])
        ]
        return ["class", "of the picture", *beside], rows
    rows = [
        [
            t.name, t.dtype, "x".join(map(str, t.shape)) or "one number",
            *(_ranges(real_numbers(ran.outputs[t.name], t))),
            *([" to ".join(_ranges(real_numbers(here[t.name], t))[:2])] if here else []),
        ]
        for t in manifest.outputs
    ]  # fmt: skip
    return ["output", "type", "shape", "least", "most", "mean", *beside], rows


def overview(
    ran: Sequence[Ran], meanings: Sequence[Meaning], others: Sequence[Meaning] | None
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of several inputs that were classified: the best class of each.

    Args:
        ran: the inputs.
        meanings: what each says.
        others: what each says here, where that is compared.
    """
    rows = []
    for number, (one, meaning) in enumerate(zip(ran, meanings, strict=True)):
        best = [meaning, *([] if others is None else [others[number]])]
        told = [part for of in best for part in (of.scores[0].label, f"{of.scores[0].score:.4g}")]
        rows.append([one.item.name, f"{one.seconds * 1000:.1f}", *told])
    beside = [] if others is None else ["here", "score"]
    return ["input", "ms", "class", "score", *beside], rows


def _scores_here(manifest: ModelManifest, here: Mapping[str, Array] | None) -> Array:
    if here is None:
        return np.zeros(0)
    (output,) = manifest.outputs
    return real_numbers(here[output.name], output).reshape(-1)


def _box_here(box: Box, other: Meaning) -> str:
    """The score of the box of that class that was found here in the same place."""
    best = max(
        (one for one in other.boxes or [] if one.number == box.number),
        key=lambda one: _overlap(box, one),
        default=None,
    )
    return f"{best.score:.3f}" if best and _overlap(box, best) >= SAME_PLACE else "-"


def _overlap(one: Box, other: Box) -> float:
    wide = min(one.right, other.right) - max(one.left, other.left)
    tall = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(wide, 0) * max(tall, 0)
    areas = [(b.right - b.left) * (b.bottom - b.top) for b in (one, other)]
    return both / max(sum(areas) - both, 1e-9)


def _shares(meaning: Meaning) -> dict[int, float]:
    """Which share of the picture each class has."""
    assert meaning.mask is not None
    numbers, counts = np.unique(meaning.mask, return_counts=True)
    return {int(n): int(c) / meaning.mask.size for n, c in zip(numbers, counts, strict=True)}


def _named(number: int) -> str:
    return "not seen" if number == UNSEEN else f"class {number}"


def _ranges(array: Array) -> list[str]:
    if array.size == 0:
        return ["-", "-", "-"]
    real = array.astype(np.float64)
    return [f"{value:.4g}" for value in (real.min(), real.max(), real.mean())]


def apart(manifest: ModelManifest, there: Mapping[str, Array], here: Mapping[str, Array]) -> str:
    """How far two runs' outputs are apart, in words."""
    words = []
    for tensor in manifest.outputs:
        a, b = (real_numbers(of[tensor.name], tensor).astype(np.float64) for of in (there, here))
        most = float(np.abs(b).max(initial=0))
        words.append(
            f"{tensor.name}: at most {np.abs(a - b).max(initial=0):.2g} apart, of up to {most:.3g}"
        )
    return "; ".join(words)


def plain(
    there: DeployedModel,
    choice: Choice,
    ran: Sequence[Ran],
    meanings: Sequence[Meaning],
    here: Sequence[Mapping[str, Array]] | None,
) -> Json:
    """All of it for programs, but for arrays: these are in the file that `--out` names."""
    one = choice.executable
    found = []
    for number, (its, meaning) in enumerate(zip(ran, meanings, strict=True)):
        entry: Json = {"input": its.item.name, "seconds": its.seconds}
        if meaning.scores:
            entry["scores"] = [asdict(score) for score in meaning.scores]
        if meaning.boxes is not None:
            entry["boxes"] = [asdict(box) for box in meaning.boxes]
        if meaning.mask is not None:
            entry["shares"] = {str(n): share for n, share in _shares(meaning).items()}
        entry["outputs"] = [
            _output(t.name, its.outputs[t.name], None if here is None else here[number][t.name])
            for t in there.manifest.outputs
        ]
        found.append(entry)
    return {
        "model": there.manifest.model,
        "batch": there.manifest.batch,
        "release": there.release,
        "runtime": one.runtime,
        "variant": one.variant,
        "opt_level": one.opt_level,
        "threads": choice.threads,
        "ran": found,
    }


def _output(name: str, array: Array, here: Array | None) -> Json:
    told: Json = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
    if here is not None:
        difference = np.abs(array.astype(np.float64) - here.astype(np.float64)).max(initial=0)
        told["max_abs"] = float(difference) if np.isfinite(difference) else None
    return told


def refuse_unknown(out: str) -> None:
    """Refuse an `--out` that is no folder and no kind of file that is written.

    Raises:
        UsageError: it is none.
    """
    suffix = Path(out).suffix.lower()
    if suffix and suffix not in (*ARRAYS, *PICTURES):
        raise UsageError(f"--out {out} is no file that is written here", resolution=OUT)


def files(
    manifest: ModelManifest, ran: Sequence[Ran], meanings: Sequence[Meaning], out: Path | None
) -> list[Path]:
    """Write what `--out` asks for; without it, pictures alone, into results/runs/MODEL/.

    Raises:
        UsageError: that can't be written.
    """
    drawn = [meaning.boxes is not None or meaning.mask is not None for meaning in meanings]
    suffix = out.suffix.lower() if out else ""
    if suffix in ARRAYS:
        assert out is not None
        return [_write_arrays(out, ran)]
    if out is not None and suffix and (suffix not in PICTURES or len(ran) > 1 or not all(drawn)):
        what = "arrays" if not all(drawn) else "several inputs" if len(ran) > 1 else "pictures"
        raise UsageError(f"{out.name} is no file for {what}", resolution=OUT)
    folder = out or paths.results() / "runs" / manifest.model
    written = []
    stems = [Path(one.item.name).stem for one in ran]
    for one, meaning, stem in zip(ran, meanings, stems, strict=True):
        if meaning.boxes is None and meaning.mask is None:
            continue
        name = stem if stems.count(stem) == 1 else one.item.name
        path = out if out and suffix else folder / f"{name}.png"
        _refuse_input(path, ran)
        _draw(one, meaning, path)
        written.append(path)
    if out is not None and not suffix and not all(drawn):
        written.append(_write_arrays(folder / f"{manifest.model}.npz", ran))
    return written


def _refuse_input(path: Path, ran: Sequence[Ran]) -> None:
    """Refuse to write over an input, whatever other name or link it is reached by."""
    if path.exists() and any(
        one.item.path.exists() and path.samefile(one.item.path) for one in ran
    ):
        raise UsageError(f"{path} is an input, and is not written over", resolution=OUT)


def _draw(ran: Ran, meaning: Meaning, path: Path) -> None:
    assert ran.item.picture is not None
    if meaning.boxes is not None:
        drawing.save(drawing.boxes(ran.item.picture, meaning.boxes), path)
    elif meaning.mask is not None:
        drawing.save(drawing.mask(ran.item.picture, meaning.mask), path)


def _write_arrays(path: Path, ran: Sequence[Ran]) -> Path:
    """Each output by its name; of several inputs stacked, (inputs, *shape)."""
    _refuse_input(path, ran)
    stacked = {
        name: np.stack([one.outputs[name] for one in ran]) if len(ran) > 1 else array
        for name, array in ran[0].outputs.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **stacked)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written", detail=str(error), resolution="--out found.npz"
        ) from error
    return path
