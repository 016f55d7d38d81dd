"""Layers of Keras that TensorFlow runs in ways of its own, from their files to both forms."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.conversion import Bench
from toolchain.convert import variant_conversion
from toolchain.core import process
from toolchain.core.errors import ModelError
from toolchain.models.resolve import resolve_model

KERAS = """
import sys
from pathlib import Path
import keras
layers, folder = keras.layers, Path(sys.argv[1])
keras.utils.set_random_seed(0)
def save(name, given, made):
    keras.Model(given, made).save(folder / f"{name}.keras")
images, rows = keras.Input((8, 8, 8)), keras.Input((6, 4))
save("grouped", images, layers.Conv2D(16, 3, groups=4)(images))
save("grouped-rows", rows, layers.Conv1D(6, 3, groups=2)(rows))
steps = keras.Input((6, 4), batch_size=1)
save("stateful", steps, layers.LSTM(5, stateful=True)(steps))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    process.run([sys.executable, "-c", KERAS, folder])
    return folder


@pytest.mark.parametrize("name", ["grouped", "grouped-rows"])
def test_a_grouped_convolution_is_converted(files: Path, tmp_path: Path, name: str) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(resolve_model(model_file=files / f"{name}.keras"))
    assert {check.stage for check in made.checks} == {"onnx", "tflite"}
    assert made.missing == {}
    assert bench.compile(name).checks[-1].max_rel < 1e-4
    folder = bench.out / name / "b1"
    made = variant_conversion.add(
        resolve_model(model_file=files / f"{name}.keras"), 1, "int8", folder, cache=bench.cache
    )
    assert {"int8"} == made.graphs.keys()


def test_a_layer_that_keeps_its_state_is_refused_with_what_to_do(
    files: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"keeps state .* within itself") as caught:
        Bench(root=tmp_path).convert(resolve_model(model_file=files / "stateful.keras"))
    assert "its state as inputs and outputs" in caught.value.resolution
