"""Model files as users have them, good and bad, converted and compiled for real."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.conversion import TARGET, Bench, joined
from toolchain.compile import compilation as compiler
from toolchain.convert import variant_conversion
from toolchain.core import process
from toolchain.core.errors import EdgewrightError, ModelError, UsageError
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec

KERAS_FILES = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
folder = sys.argv[1]
layers = keras.layers
@keras.saving.register_keras_serializable()
class Doubled(layers.Layer):
    def call(self, x):
        return x * 2
plain = keras.Sequential(
    [layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5)])
plain.save(folder + "/plain.keras")
plain.save(folder + "/plain.h5")
plain.export(folder + "/plain-saved", verbose=False)
import shutil
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
shutil.copytree(folder + "/plain-saved", folder + "/trained-saved")
stored = saved_model_pb2.SavedModel()
stored.ParseFromString(open(folder + "/plain-saved/saved_model.pb", "rb").read())
objects = stored.meta_graphs[0].object_graph_def.nodes
weight = next(i for i, node in enumerate(objects) if node.WhichOneof("kind") == "variable")
objects[0].slot_variables.add(
    original_variable_node_id=weight, slot_name="m", slot_variable_node_id=weight)
open(folder + "/trained-saved/saved_model.pb", "wb").write(stored.SerializeToString())
converter = tf.lite.TFLiteConverter.from_keras_model(plain)
lite = converter.convert()
open(folder + "/plain.tflite", "wb").write(lite)
wide = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(64, 3), layers.Conv2D(8, 3)])
converter = tf.lite.TFLiteConverter.from_keras_model(wide)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
open(folder + "/hybrid.tflite", "wb").write(converter.convert())
class Counting(tf.Module):
    def __init__(self):
        self.last = tf.Variable(tf.zeros((1, 4)))
    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def call(self, x):
        y = self.last + x
        self.last.assign(y)
        return y
counting = Counting()
converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [counting.call.get_concrete_function()], counting)
converter.experimental_enable_resource_variables = True
open(folder + "/counting.tflite", "wb").write(converter.convert())
spectrum = tf.function(
    lambda x: tf.math.imag(tf.signal.rfft(x)), input_signature=[tf.TensorSpec((1, 64))])
converter = tf.lite.TFLiteConverter.from_concrete_functions([spectrum.get_concrete_function()])
open(folder + "/spectrum.tflite", "wb").write(converter.convert())
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
traced = tf.function(lambda x: plain(x, training=False)).get_concrete_function(
    tf.TensorSpec((None, 8, 8, 3), tf.float32))
graph = convert_variables_to_constants_v2(traced).graph.as_graph_def()
open(folder + "/plain.pb", "wb").write(graph.SerializeToString())
open(folder + "/cut.pb", "wb").write(graph.SerializeToString()[:99])
open(folder + "/cut.tflite", "wb").write(lite[: len(lite) // 8])
a, b = layers.Input((4,), name="left"), layers.Input((5,), name="right")
keras.Model([a, b], layers.Concatenate()([a, b])).save(folder + "/two.keras")
image = layers.Input((None, None, 3))
keras.Model(image, layers.GlobalAveragePooling2D()(image)).save(folder + "/open.keras")
keras.Model(a, Doubled()(a)).save(folder + "/custom.keras")
keras.Model(a, layers.Lambda(lambda x: x * 2)(a)).save(folder + "/code.keras")
square = layers.Input((3, 3))
keras.Model(square, layers.Lambda(tf.linalg.det)(square)).export(
    folder + "/det-saved", verbose=False)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as a user may have them, good and bad."""
    folder = tmp_path_factory.mktemp("own")
    process.run([sys.executable, "-c", KERAS_FILES, folder])
    whole = (folder / "plain.h5").read_bytes()
    (folder / "plain.hdf5").write_bytes(whole)
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    write_onnx(folder)
    return folder


def write_onnx(folder: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((144, 5)).astype(np.float32),
    }
    plain = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]

    def save(
        name: str,
        nodes: list[onnx.NodeProto],
        inputs: dict[str, list[int | str]],
        *,
        gives: list[int | str] | None = None,
        **options: str,
    ) -> None:
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)],
            [numpy_helper.from_array(v, k) for k, v in weights.items() if len(nodes) == 3],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if options:
            onnx.save(made, folder / name, save_as_external_data=True, size_threshold=0, **options)
        else:
            onnx.save(made, folder / name)

    image: list[int | str] = ["N", 3, 8, 8]
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    unit = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], name="drawn", seed=1.0),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    added = [helper.make_node("Add", ["x", "z"], ["y"])]
    save("plain.onnx", plain, {"x": image})
    save("beside.onnx", plain, {"x": image}, location="beside.onnx.data")
    save("lonely.onnx", plain, {"x": image}, location="lonely.onnx.data")
    (folder / "lonely.onnx.data").unlink()
    save("open.onnx", relu, {"x": ["N", 3, "height", "width"]})
    save("four.onnx", relu, {"x": [4, 3, 8, 8]})
    save("two.onnx", added, {"x": ["N", 4], "z": ["N", 4]})
    save("unit.onnx", unit, {"x": image}, gives=["N", 3, 8, 8])
    whole = (folder / "plain.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])


def of(own: Path, name: str) -> ModelSpec:
    return resolve_model(name.replace(".", "-"), model_file=own / name)


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain-saved", "plain.pb"])
def test_a_users_keras_model_takes_both_ways(own: Path, tmp_path: Path, name: str) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, name))
    assert made.inputs[0].shape == (1, 8, 8, 3)
    assert made.outputs[0].shape == (1, 5)
    assert set(made.tflite) == {"fp32"}
    assert made.source.weights.startswith("file:")
    assert "O3" in bench.compile(made.model).libraries["rv64gc"]


def test_what_an_optimizer_left_in_a_saved_model_is_no_part_of_it(
    own: Path, tmp_path: Path
) -> None:
    made = Bench(root=tmp_path).convert(of(own, "trained-saved"))
    assert (made.source.kind, made.outputs[0].shape) == ("savedmodel", (1, 5))


def test_the_long_name_of_hdf5_is_as_good(own: Path, tmp_path: Path) -> None:
    made = Bench(root=tmp_path).convert(of(own, "plain.hdf5"))
    assert (made.source.kind, made.outputs[0].shape) == ("keras", (1, 5))


def test_a_file_whose_weights_alone_are_rounded_is_judged_as_it_computes(
    own: Path, tmp_path: Path
) -> None:
    """TensorFlow Lite and a library round what multiplies them as they run; the graph does not."""
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, "hybrid.tflite"))
    assert made.missing == {}
    assert 1e-3 < made.checks[0].max_rel < 5e-2
    compiled = bench.compile(made.model)
    assert "O3" in compiled.libraries["rv64gc"]
    assert compiled.checks[-1].stage.startswith("tvm")
    assert compiled.checks[-1].max_rel < 1e-5


def test_a_file_that_keeps_its_state_in_itself_goes_to_tensorflow_lite_alone(
    own: Path, tmp_path: Path
) -> None:
    made = Bench(root=tmp_path).convert(of(own, "counting.tflite"))
    assert set(made.tflite) == {"fp32"}
    assert "keeps its state in itself" in made.missing["onnx"]
    assert "VAR_HANDLE" in made.missing["onnx"]


def test_an_operator_that_onnx_lacks_is_named_and_the_file_kept(own: Path, tmp_path: Path) -> None:
    made = Bench(root=tmp_path).convert(of(own, "spectrum.tflite"))
    assert set(made.tflite) == {"fp32"}
    assert "ONNX has no operator for TensorFlow Lite's IMAG, RFFT2D" in made.missing["onnx"]


def test_a_users_tflite_file_is_used_with_its_open_batch_fixed(own: Path, tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, "plain.tflite"), 2)
    assert made.source.kind == "tflite"
    assert (made.inputs[0].shape, made.outputs[0].shape) == ((2, 8, 8, 3), (2, 5))
    assert [c.stage for c in made.checks] == ["onnx"]
    folder = bench.out / made.model / "b2"
    compiled = compiler.compile_model(
        folder,
        TARGET,
        linker=compiler.Linker(identity="", link=joined, image=lambda: ""),
        cache=bench.cache,
    )
    assert "O3" in compiled.libraries["rv64gc"]
    with pytest.raises(UsageError, match=r"not of a \.tflite file"):
        variant_conversion.add(of(own, "plain.tflite"), 2, "int8", folder, cache=bench.cache)


def test_labels_that_do_not_match_a_model_are_refused(own: Path, tmp_path: Path) -> None:
    shutil.copyfile(own / "plain.keras", tmp_path / "net.keras")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "net.toml").write_text('labels = "names.txt"')
    bench = Bench(root=tmp_path / "bench")
    with pytest.raises(ModelError, match="labels don't match") as caught:
        bench.convert(resolve_model(model_file=tmp_path / "net.keras"))
    assert caught.value.detail == "2 labels, the model gives 5 scores"
    assert not bench.out.exists()


@pytest.mark.parametrize("name", ["plain.onnx", "beside.onnx"])
def test_a_users_onnx_file_takes_one_way_and_the_card_says_why(
    own: Path, tmp_path: Path, name: str
) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, name))
    # by an extra, which is not always installed
    assert ("fp32" in made.tflite) == ("tflite" not in made.missing)
    assert [p.name for p in (bench.out / made.model / "b1").glob("*.onnx*")] == ["model.onnx"]
    assert "O3" in bench.compile(made.model).libraries["rv64gc"]


@pytest.mark.parametrize(
    ("variant", "costs", "library"), [("int8", (1e-9, 0.1), 0.02), ("float16", (1e-9, 2e-3), 1e-4)]
)
def test_a_users_onnx_file_is_rounded_and_its_library_gives_the_same(
    own: Path, tmp_path: Path, variant: str, costs: tuple[float, float], library: float
) -> None:
    bench, spec = Bench(root=tmp_path), of(own, "plain.onnx")
    folder = bench.out / bench.convert(spec).model / "b1"
    rounded = variant_conversion.add(spec, 1, variant, folder, cache=bench.cache)
    assert variant not in rounded.tflite
    (check,) = [one for one in rounded.checks if one.variant == variant]
    assert costs[0] < check.max_rel < costs[1]
    compiled = compiler.compile_model(
        folder,
        TARGET,
        linker=compiler.Linker(identity="", link=joined, image=lambda: ""),
        variant=variant,
        cache=bench.cache,
    )
    (check,) = [one for one in compiled.checks if one.stage == "tvm-x86"]
    assert check.max_rel < library
    with pytest.raises(UsageError, match="other than float16, dynamic, int8"):
        variant_conversion.add(spec, 1, "int16x8", folder, cache=bench.cache)


@pytest.mark.parametrize(
    ("name", "said", "listed"),
    [
        ("open.keras", "open sizes", "(?, ?, ?, 3)"),
        ("open.onnx", "open sizes", "height"),
        ("custom.keras", "custom layer", "Doubled"),
        ("code.keras", "Lambda", "Lambda"),
        ("cut.h5", "cut short", "truncated"),
        ("cut.onnx", "cut short", ""),
        ("cut.tflite", "cut short", ""),
        ("cut.pb", "cut short", ""),
        ("lonely.onnx", "lonely.onnx.data", ""),
    ],
)
def test_a_model_that_cannot_be_converted_is_one_error_and_nothing_half_made(
    own: Path, tmp_path: Path, name: str, said: str, listed: str
) -> None:
    bench = Bench(root=tmp_path)
    with pytest.raises(EdgewrightError) as caught:
        bench.convert(of(own, name))
    assert caught.value.exit_code == ModelError.exit_code
    assert said in caught.value.brief
    assert listed in caught.value.detail
    assert caught.value.resolution
    assert not bench.out.exists()
    assert bench.left_over() == []
    assert not (bench.root / "cache" / "entries").exists()


def test_an_operator_that_tvm_cannot_import_is_named_with_its_node(
    own: Path, tmp_path: Path
) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, "unit.onnx"))
    with pytest.raises(ModelError, match="operator RandomNormalLike") as caught:
        bench.compile(made.model)
    assert "drawn" in caught.value.detail
    assert bench.left_over() == []
    assert ModelManifest.load(bench.out / made.model / "b1") == made


def test_a_changed_model_takes_its_old_libraries_away(own: Path, tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    file = tmp_path / "net.onnx"
    shutil.copyfile(own / "plain.onnx", file)
    bench.convert(resolve_model(model_file=file))
    bench.compile("net")
    changed = onnx.load(file)
    changed.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "w")
    )
    onnx.save(changed, file)
    made = bench.convert(resolve_model(model_file=file))
    assert made.libraries == {}
    assert not (bench.out / "net" / "b1" / "rv64gc").exists()
