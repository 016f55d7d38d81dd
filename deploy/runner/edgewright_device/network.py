"""A network of a release, ready to be called."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from edgewright_runner import backends

from edgewright_device import box_decoding, class_map, framing, pictures, sounds
from edgewright_device.errors import InputError, MeaningError, RuntimeFailedError
from edgewright_device.release import DETECTION, PREPROCESSING, SPECTROGRAM, Form, Model

Arrays = dict[str, np.ndarray]
# how bytes of just the input's size lie in it
AS_IT_IS = SimpleNamespace(resize="none")
WRITE = "write {} into the model's TOML file, convert and deploy again: docs/how-to/your-model.md"


@dataclass(frozen=True)
class Box:
    """An object that was found in a picture.

    Attributes:
        label: the name of its class, or `class N` where the release has no names.
        score: of 1.
        left, top, right, bottom: in pixels of the picture.
    """

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Network:
    """A network under one runtime. It serves one thread at a time.

    Args:
        model: of the release.
        form: which of its forms.
        threads: of the runtime.

    Raises:
        RuntimeFailedError: the runtime can't be imported, or can't load the model.

    Attributes:
        name: the model's.
        batch: samples of a call.
        release: the id of the release that it is of.
        runtime, variant, opt_level, threads: what executes it.
        labels: the names of its classes, in the order of its outputs; empty where there are none.
        signature: `inputs` and `outputs`, each a list of objects with `name`, `shape` and `dtype`,
            and for whole numbers that stand for others `quantization`, with `scale` and `zero`.
        seconds: what the last inference took, without copying inputs and outputs.
    """

    def __init__(self, model: Model, form: Form, threads: int) -> None:
        card = model.card
        self.name, self.batch, self.release = model.name, model.batch, model.release
        self.runtime, self.variant, self.opt_level = form.runtime, form.variant, form.opt_level
        self.threads = threads
        self.labels = model.labels()
        self.signature: dict[str, Any] = {"inputs": card["inputs"], "outputs": card["outputs"]}
        self.seconds = 0.0
        self._preprocessing = model.described("preprocessing", PREPROCESSING)
        self._spectrogram = model.described("spectrogram", SPECTROGRAM)
        self._detection = model.described("detection", DETECTION)
        self._classes: int | None = model.metadata.get("classes")
        self._inputs = {
            t["name"]: (t, tuple(t["shape"]), np.dtype(t["dtype"])) for t in card["inputs"]
        }
        state = card.get("state") or {"feeds": []}
        self._feeds = [(feed["input"], feed["output"]) for feed in state["feeds"]]
        self._state: Arrays = {}
        self.reset()
        fed = {name for name, _ in self._feeds}
        self._own = [name for name in self._inputs if name not in fed]
        self._backend = _loaded(form, threads, self.signature)

    def __call__(self, given: Any = None, /, **arrays: Any) -> Arrays:
        """One inference.

        Args:
            given: a picture or a sound, as `input` takes it; or arrays by the name of their input,
                for names that are no Python words.
            arrays: an array for each input, by its name. A batch of 1 may be left out of shapes.
                An input with state is what the call before gave for it, unless it is given.

        Returns:
            an array for each output, by its name, a copy.

        Raises:
            InputError: that is not what the network takes.
            MeaningError: nothing says how a picture or sound becomes its input.
            RuntimeFailedError: the runtime failed.
        """
        if given is not None:
            arrays = {**self._named(given), **arrays}
        taken = self._taken(arrays)
        try:
            self._backend.set_inputs(taken)
            started = time.perf_counter()
            self._backend.run()
            self.seconds = time.perf_counter() - started
            outputs: Arrays = self._backend.outputs()
        except Exception as error:
            raise RuntimeFailedError(
                f"{self.runtime} failed with {self.name}: {type(error).__name__}: {error}"
            ) from error
        for name, output in self._feeds:
            _, shape, dtype = self._inputs[name]
            self._state[name] = outputs[output].reshape(shape).astype(dtype, copy=False)
        return outputs

    def taken(self, given: Any) -> Arrays:
        """All inputs of the next call as the network takes them, its state among them.

        Args:
            given: as for a call; or arrays by the name of their input.

        Raises:
            InputError: that is not what the network takes.
            MeaningError: nothing says how a picture or sound becomes its input.
        """
        return self._taken(self._named(given))

    def reset(self) -> None:
        """Begin a sequence anew: every input with state is zeros again."""
        for name, _ in self._feeds:
            tensor, shape, dtype = self._inputs[name]
            scale = tensor.get("quantization")
            self._state[name] = np.full(shape, scale.get("zero", 0) if scale else 0, dtype)

    def input(self, given: Any) -> np.ndarray:
        """What the network is given for a picture, a sound or an array.

        Args:
            given: the path of a picture or of a .wav file; a picture as Pillow has it, or as bytes
                of (height, width) or (height, width, 3), RGB; a sound as numbers from -1 to 1 at
                16,000 Hz; or an array that is the input already.

        Returns:
            the input as the network takes it, whole numbers where it is rounded.

        Raises:
            InputError: it is none of these, or the network has several inputs.
            MeaningError: nothing says how it becomes the input.
        """
        if len(self._own) != 1:
            raise InputError(
                f"{self.name} has the inputs {', '.join(self._own)}", "give each by its name"
            )
        tensor, shape, dtype = self._inputs[self._own[0]]
        value = self._decoded(given)
        if value.dtype == dtype and value.shape in (shape, shape[1:]) and value.ndim > 1:
            return value.reshape(shape)
        if self.batch != 1:
            raise InputError(
                f"{self.name} is deployed at batch {self.batch}", "give its whole input as an array"
            )
        if self._spectrogram is not None and value.ndim == 1:
            return _quantised(sounds.prepared(value, self._spectrogram, shape), tensor, dtype)
        if value.dtype != np.uint8:
            return _fitted(value, tensor, shape, dtype)
        if self._preprocessing is None:
            raise MeaningError(
                f"nothing says how a picture becomes the input of {self.name}",
                WRITE.format("[preprocessing]"),
            )
        return _quantised(pictures.prepared(value, self._preprocessing, shape), tensor, dtype)

    def classify(self, given: Any, top: int = 5) -> list[tuple[str, float]]:
        """The best classes of a picture, a sound or an array, with their scores, best first.

        Args:
            given: as for `input`.
            top: how many of them.

        Raises:
            MeaningError: the network gives no row of scores.
        """
        found = list(self._real(self(given)).values())
        if len(found) != 1 or found[0].size < 2 or self.batch != 1:
            raise MeaningError(f"{self.name} gives no row of scores", "call it for its arrays")
        scores = found[0].reshape(-1)
        best = np.argsort(-scores.astype(np.float64), kind="stable")[:top]
        return [(self.label(int(number)), float(scores[number])) for number in best]

    def detect(self, given: Any, score: float = 0.25) -> list[Box]:
        """The objects in a picture, the surest first.

        Args:
            given: a picture, as for `input`.
            score: what they must have at least.

        Raises:
            MeaningError: nothing says how the network's outputs become boxes.
        """
        classes = len(self.labels) or self._classes
        if self._detection is None or not classes:
            raise MeaningError(
                f"nothing says how outputs of {self.name} become boxes", WRITE.format("[detection]")
            )
        pixels = self._decoded(given)
        place = self._place(pixels)
        outputs = {name: array[0] for name, array in self._real(self(pixels)).items()}
        try:
            size = place.width, place.height
            found = box_decoding.decoded(outputs, self._detection, classes, size)
        except box_decoding.OtherHeadError as error:
            raise MeaningError(f"{error.brief}: {error.detail}", error.resolution) from error
        corners = place.original(found.corners)
        return [
            Box(self.label(int(number)), float(sure), *(float(edge) for edge in edges))
            for edges, sure, number in zip(corners, found.scores, found.classes, strict=True)
            if sure >= score
        ]

    def segment(self, given: Any) -> np.ndarray:
        """The class of each pixel of a picture, (height, width) of bytes; 255 where none is known.

        Args:
            given: a picture, as for `input`.

        Raises:
            MeaningError: the network is no segmenter.
        """
        pixels = self._decoded(given)
        place = self._place(pixels)
        outputs = {name: array[0] for name, array in self._real(self(pixels)).items()}
        try:
            found, _ = class_map.class_map(outputs, self._classes)
        except class_map.NoSegmenterError as error:
            raise MeaningError(f"{self.name} is no segmenter: {error}", "call it") from error
        return class_map.of_image(found, place, (pixels.shape[1], pixels.shape[0]))

    def label(self, number: int) -> str:
        """The name of a class, or `class N` where the release has no names."""
        return self.labels[number] if number < len(self.labels) else f"class {number}"

    def _named(self, given: Any) -> dict[str, Any]:
        return dict(given) if isinstance(given, Mapping) else {self._own[0]: self.input(given)}

    def _taken(self, arrays: Mapping[str, Any]) -> Arrays:
        """Arrays in the shapes and types of all inputs."""
        feeds = {**self._state, **arrays} if self._state else arrays
        if feeds.keys() != self._inputs.keys():
            raise self._other_names(feeds)
        taken = {}
        for name, (tensor, shape, dtype) in self._inputs.items():
            array = feeds[name]
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                array = _fitted(array, tensor, shape, dtype)
            taken[name] = array
        return taken

    def _place(self, pixels: np.ndarray) -> framing.Frame:
        """Where a picture lies in the input."""
        _, shape, dtype = self._inputs[self._own[0]]
        size = pictures.fitting(shape)
        as_it_is = pixels.dtype == dtype and pixels.shape == shape[1:]
        how = AS_IT_IS if as_it_is else self._preprocessing
        if how is None or size is None:
            raise MeaningError(
                f"nothing says how a picture becomes the input of {self.name}",
                WRITE.format("[preprocessing]"),
            )
        height, width, _, _ = size
        try:
            image = pixels.shape[1], pixels.shape[0]
            return framing.frame(image, how, width, height)
        except ValueError as error:
            raise InputError(
                f"the picture is {error} pixels, and {self.name} takes {width} x {height}",
                "give one of that size: its preprocessing resizes nothing",
            ) from error

    def _decoded(self, given: Any) -> np.ndarray:
        """Pixels, samples of sound, or an array as it is."""
        if isinstance(given, (str, os.PathLike)):
            path = Path(given)
            if path.suffix.lower() == ".wav":
                return sounds.decoded(path)
            if path.suffix.lower() == ".npy":
                return _array_in(path)
            size = pictures.fitting(self._inputs[self._own[0]][1])
            return pictures.decoded(path, grey=size is not None and size[2] == 1)
        if hasattr(given, "convert") and hasattr(given, "getbands"):  # Pillow's
            return np.asarray(given.convert("L" if given.mode == "L" else "RGB"), np.uint8)
        return np.asarray(given)

    def _real(self, outputs: Arrays) -> Arrays:
        """Outputs with the real numbers that whole ones stand for."""
        scales = {t["name"]: t.get("quantization") for t in self.signature["outputs"]}
        return {
            name: array
            if (scale := scales[name]) is None
            else (array.astype(np.float32) - scale.get("zero", 0)) * scale["scale"]
            for name, array in outputs.items()
        }

    def _other_names(self, feeds: Mapping[str, Any]) -> InputError:
        missing = [name for name in self._inputs if name not in feeds]
        unknown = [name for name in feeds if name not in self._inputs]
        what = f"no {missing[0]}" if missing else f"{unknown[0]}, which is none of its inputs"
        return InputError(
            f"{self.name} was given {what}",
            "; ".join(_described(tensor) for tensor, _, _ in self._inputs.values()),
        )


def _loaded(form: Form, threads: int, signature: dict[str, Any]) -> Any:
    """A runtime that holds a model."""
    by = {one["name"]: one for of in signature.values() for one in of}
    try:
        backend = backends.open_runtime(form.runtime, threads)
        backend.load(str(form.path))
        backend.bind(
            {
                "inputs": [by[name] for name in form.inputs],
                "outputs": [by[name] for name in form.outputs],
            }
        )
    except Exception as error:
        raise RuntimeFailedError(
            f"{form.runtime} can't load {form.path}: {type(error).__name__}: {error}",
            "run the program by the release's own Python: current/venv/bin/python",
        ) from error
    return backend


def _array_in(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        InputError: it holds none.
    """
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    # a damaged head may be no Python, or claim more than the memory holds
    except Exception as error:
        raise InputError(f"{path} holds no array: {error}", "write it by numpy.save") from error
    return array


def _fitted(given: Any, tensor: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array as an input takes it.

    Raises:
        InputError: it has another shape, or numbers that the input can't hold.
    """
    array = np.asarray(given)
    if array.shape != shape and not (shape[:1] == (1,) and array.shape == shape[1:]):
        raise InputError(f"an array of shape {array.shape} was given", _described(tensor))
    array = array.reshape(shape)
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "f" and tensor.get("quantization") is not None:
        return _quantised(array, tensor, dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InputError(f"an array of {array.dtype} was given", _described(tensor))
    made = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(made, array):
        raise InputError(f"a number does not fit into {dtype}", _described(tensor))
    return made


def _quantised(real: np.ndarray, tensor: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Real numbers as an input has them: rounded where it is."""
    scale = tensor.get("quantization")
    if scale is None:
        return real.astype(dtype, copy=False)
    whole = np.rint(real / scale["scale"]) + scale.get("zero", 0)
    limits = np.iinfo(dtype)
    rounded: np.ndarray = np.clip(whole, limits.min, limits.max).astype(dtype)
    return rounded


def _described(tensor: Any) -> str:
    shape = ", ".join(map(str, tensor["shape"]))
    return f"{tensor['name']} is {tensor['dtype']} ({shape})"
