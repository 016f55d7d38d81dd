"""The inputs of a job with what the reference gives for them, and what the runtime gave so far.

Files of samples hold `in:NAME` and `out:NAME`, an array for each input and output with an
inference's values at each index of its first axis. Those of earlier versions, and shards of images,
have one input, `x` or pixels, and one output, `reference`, both (samples, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]
INPUT, OUTPUT = "in:", "out:"
ALONE: Json = {"inputs": [{"name": "x"}], "outputs": [{"name": "reference"}]}


class Samples:
    """The inputs with the reference's outputs, and what this runtime gave for them so far.

    Args:
        path: an .npz; `labels` (samples,) int64 where they are real.
        batch: samples an inference.
        reference: an .npz with `out:NAME`, or an .npy of an only output, to take in the place of
            the outputs in `path`.
        signature: the job's: names, and whole numbers' scale and zero, of inputs and outputs. One
            of before jobs had it is None: names are the file's.
        state: `feeds`, each with the name of an `input` and of the `output` whose value it is
            given a step later, and `steps`, the inferences of a sequence; None of most networks.
    """

    def __init__(
        self,
        path: Path,
        batch: int,
        reference: Path | None = None,
        signature: Json | None = None,
        state: Json | None = None,
    ) -> None:
        with np.load(str(path), allow_pickle=False) as arrays:
            self.inputs = _inputs(arrays, batch, signature)
            self.references = _references(arrays, batch, signature, reference)
            self.labels: np.ndarray | None = arrays.get("labels")
        self.batch = batch
        self.groups = len(next(iter(self.inputs.values())))
        known: list[Json] = (signature or ALONE)["outputs"]
        self.scales: Json = {one["name"]: one.get("quantization") for one in known}
        self.feeds: list[Json] = state["feeds"] if state else []
        self.steps = int(state["steps"]) if state else 1
        self.outputs: dict[int, dict[str, np.ndarray]] = {}

    def input(self, group: int) -> dict[str, np.ndarray]:
        """What one inference is given: a state, what the inference before it gave.

        Sequences are run from their first inference on.
        """
        given = {name: np.asarray(array[group]) for name, array in self.inputs.items()}
        if group % self.steps:
            before = self.outputs[group - 1]
            for feed in self.feeds:
                like = given[feed["input"]]
                value = before[feed["output"]].reshape(like.shape)
                given[feed["input"]] = value.astype(like.dtype, copy=False)
        return given

    def whole(self, groups: int) -> int:
        """So many inferences, and those that their last sequence lacks, as far as there are."""
        return min(-(-groups // self.steps) * self.steps, self.groups)

    def keep(self, group: int, outputs: dict[str, np.ndarray]) -> None:
        """Remember an inference's outputs: timed inferences check the model at no cost."""
        self.outputs[group] = {name: array.copy() for name, array in outputs.items()}

    def save(self, path: Path) -> None:
        """Write what the runtime gave: `out:NAME`, (inferences, *shape).

        Whole numbers are written as the real ones that they stand for.

        Raises:
            ValueError: the time was up before all inferences.
        """
        if len(self.outputs) < self.groups:
            raise ValueError(f"{len(self.outputs)} of {self.groups} inferences in the time given")
        stacked = {}
        for name in self.outputs[0]:
            values = np.stack([self.outputs[group][name] for group in range(self.groups)])
            scale = self.scales.get(name)
            stacked[OUTPUT + name] = (
                values if scale is None else _real(values, scale).astype(np.float32)
            )
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **stacked)

    @property
    def is_classification(self) -> bool:
        """Whether there is one output, a row of scores for each sample."""
        (name, *others) = self.references
        first = self.references[name]
        scores = first.ndim == 3 and first.shape[1] == self.batch and first.shape[2] > 1
        real = first.dtype.kind == "f" or self.scales.get(name) is not None
        return not others and scores and real

    def verdict(self) -> Json:
        """Parity with the reference, and accuracy where there are labels.

        Raises:
            ValueError: an output has another shape than its reference.
        """
        groups = sorted(self.outputs)
        got, want = {}, {}
        for name, reference in self.references.items():
            shape = reference.shape[1:]
            given = [self.outputs[group][name] for group in groups]
            other = [array.shape for array in given if array.size != reference[0].size]
            if other:
                raise ValueError(f"output {name} has shape {other[0]}, the reference {shape}")
            want[name] = reference[groups]
            got[name] = np.stack([array.reshape(shape) for array in given])
        parity = self._parity(got, want, len(groups))
        if not self.is_classification:
            return {"parity": parity}
        return self._classified(got, want, groups, parity)

    def _parity(self, got: Json, want: Json, count: int) -> Json:
        outputs = [difference(name, got[name], want[name], self.scales.get(name)) for name in want]
        finite = all(one["max_abs"] is not None for one in outputs)
        return {
            **({"steps": self.steps} if self.feeds else {}),
            "count": count * self.batch,
            "available": self.groups * self.batch,
            "max_abs": max(one["max_abs"] for one in outputs) if finite else None,
            "reference_max_abs": max(one["reference_max_abs"] for one in outputs),
            "outputs": outputs,
        }

    def _classified(self, got: Json, want: Json, groups: list[int], parity: Json) -> Json:
        """What is known of a classification beyond its parity."""
        (scores,), (reference,) = (
            [array.reshape(-1, array.shape[-1]) for array in arrays.values()]
            for arrays in (got, want)
        )
        top, reference_top = scores.argmax(axis=1), reference.argmax(axis=1)
        parity["top1_agree"] = int((top == reference_top).sum())
        verdict: Json = {"parity": parity, "predictions": [int(t) for t in top]}
        if self.labels is not None:
            rows = np.concatenate([np.arange(g * self.batch, (g + 1) * self.batch) for g in groups])
            labels = self.labels[rows]
            five = np.argsort(-scores, axis=1, kind="stable")[:, :5]
            verdict["accuracy"] = {
                "total": len(rows),
                "available": self.groups * self.batch,
                "correct": int((top == labels).sum()),
                "correct_top5": int((five == labels[:, None]).any(axis=1).sum()),
                "reference_correct": int((reference_top == labels).sum()),
            }
        return verdict


def difference(name: str, got: np.ndarray, want: np.ndarray, scale: Json | None) -> Json:
    """How far one output is from its reference, as `toolchain.results.measurement.OutputParity`.

    Args:
        name: the output's.
        got: its values.
        want: the reference's.
        scale: of whole numbers that stand for others: scale and zero.
    """
    if want.dtype.kind in "iub" and scale is None:
        differing = int((got != want).sum())
        apart = np.abs(got.astype(np.float64) - want.astype(np.float64))
        return {
            "name": name,
            "max_abs": float(apart.max(initial=0)),
            "reference_max_abs": float(np.abs(want.astype(np.float64)).max(initial=0)),
            "differing": differing / max(got.size, 1),
        }
    real, reference = (_real(array, scale) for array in (got, want))
    known = np.isfinite(reference)
    same = (real == reference) | (np.isnan(real) & np.isnan(reference))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(real - reference))
    largest = float(apart.max(initial=0))
    signal, noise = float((reference[known] ** 2).sum()), float((apart[known] ** 2).sum())
    found: Json = {
        "name": name,
        "max_abs": largest if np.isfinite(largest) else None,
        "reference_max_abs": float(np.abs(reference[known]).max(initial=0)),
        "reference_range": float(np.ptp(reference[known])) if known.any() else 0.0,
    }
    if scale is not None:
        found["step"] = float(scale["scale"])
    if signal and noise and np.isfinite(noise):
        found["sqnr_db"] = round(10 * float(np.log10(signal / noise)), 1)
    return found


def _real(array: np.ndarray, scale: Json | None) -> np.ndarray:
    real = array.astype(np.float64)
    return real if scale is None else (real - scale.get("zero", 0)) * scale["scale"]


def _inputs(arrays: Any, batch: int, signature: Json | None) -> dict[str, np.ndarray]:
    """(inferences, *shape) by name."""
    named = _named(arrays, INPUT)
    if named:
        return named
    name = (signature or ALONE)["inputs"][0]["name"]
    return {name: _grouped(inputs(arrays), batch)}


def _references(
    arrays: Any, batch: int, signature: Json | None, other: Path | None
) -> dict[str, np.ndarray]:
    """(inferences, *shape) by name."""
    if other is not None and other.suffix == ".npz":
        with np.load(str(other), allow_pickle=False) as found:
            return _named(found, OUTPUT)
    named = _named(arrays, OUTPUT) if other is None else {}
    if named:
        return named
    name = (signature or ALONE)["outputs"][0]["name"]
    rows = arrays["reference"] if other is None else np.load(str(other), allow_pickle=False)
    return {name: _grouped(rows.reshape(len(rows), -1), batch)}


def _named(arrays: Any, prefix: str) -> dict[str, np.ndarray]:
    return {
        key[len(prefix) :]: np.ascontiguousarray(arrays[key])
        for key in arrays
        if key.startswith(prefix)
    }


def _grouped(array: np.ndarray, batch: int) -> np.ndarray:
    """Samples as whole batches."""
    groups = len(array) // batch
    if groups < 1:
        raise ValueError(f"{len(array)} samples are less than one batch")
    return array[: groups * batch].reshape(groups, batch, *array.shape[1:])


def inputs(arrays: Any) -> np.ndarray:
    """The inputs of an .npz: x, or pixels as bytes and the numbers that make inputs of them."""
    if "pixels" not in arrays:
        return np.ascontiguousarray(arrays["x"], dtype=np.float32)
    pixels = arrays["pixels"]
    if arrays["reverse"]:
        pixels = pixels[..., ::-1]
    x = (pixels.astype(np.float64) * arrays["scale"] - arrays["mean"]) / arrays["std"]
    if arrays["channels_first"]:
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x, dtype=np.float32)
