"""Models converted and compiled for real, in processes and caches of their own."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain import compile as compiler
from toolchain import convert, models, process, provenance, store, targets
from toolchain.convert import variant
from toolchain.errors import EdgewrightError, ModelError, UsageError
from toolchain.models import card
from toolchain.models.card import ModelCard

TARGET = targets.target("rv64gc")
QUICK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A cache and an output folder of one test."""

    root: Path

    @property
    def cache(self) -> store.Store:
        return store.Store(self.root / "cache")

    @property
    def out(self) -> Path:
        return self.root / "models"

    def convert(
        self, spec: models.ModelSpec, batch: int = 1, steps: list[str] | None = None
    ) -> ModelCard:
        told = steps if steps is not None else []
        return convert.convert(spec, batch, out=self.out, cache=self.cache, progress=told.append)

    def compile(
        self,
        name: str,
        opt_level: int = 3,
        steps: list[str] | None = None,
        link: Callable[[list[Path], Path], None] | None = None,
    ) -> ModelCard:
        told = steps if steps is not None else []
        return compiler.compile_model(
            self.out / name / "b1",
            TARGET,
            opt_level,
            linker=compiler.Linker(identity="", link=link or joined, image=lambda: ""),
            cache=self.cache,
            progress=told.append,
        )

    def left_over(self) -> list[Path]:
        """What an unfinished job would have left behind."""
        scratch = self.root / "cache" / "tmp"
        return [*scratch.iterdir()] if scratch.is_dir() else []


def joined(objects: list[Path], output: Path) -> None:
    """In the linker's place: what goes in comes out. The real one needs the cross image."""
    output.write_bytes(b"".join(path.read_bytes() for path in objects))


def arrays(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(folder / "samples.npz") as samples:
        return dict(samples.items())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(root=tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def digits(bench: Bench) -> ModelCard:
    bench.convert(models.resolve("digits-cnn"))
    return bench.compile("digits-cnn")


def test_digits_are_recognised(bench: Bench, digits: ModelCard) -> None:
    samples = arrays(bench.out / "digits-cnn" / "b1")
    right = samples["reference"].argmax(axis=1) == samples["labels"]
    assert len(right) == 500
    assert right.mean() > 0.95


def test_every_conversion_was_checked(digits: ModelCard) -> None:
    assert [c.stage for c in digits.checks] == ["onnx", "tflite", "tvm-x86"]
    for check in digits.checks:
        assert check.max_rel < 1e-4
        assert check.top1_agreement == 1
        assert check.count == 500


def test_the_card_names_every_file_that_is_there(bench: Bench, digits: ModelCard) -> None:
    folder = bench.out / "digits-cnn" / "b1"
    library = digits.libraries["rv64gc"]["O3"]
    files = [digits.onnx, digits.samples, digits.tflite["fp32"], library]
    for file in files:
        assert store.digest_file(folder / file.file) == file.sha256
    statement = f"{library.file}{provenance.SUFFIX}"
    assert set(store.digest_tree(folder)) == {card.FILE, statement, *(f.file for f in files)}
    claim = provenance.read(folder / statement)
    assert (claim.kind, claim.sha256) == ("library", library.sha256)
    assert claim.parameters == {"target": "rv64gc", "opt-level": "3", "compiler": "release"}
    assert digits.source.weights.startswith("trained:")


def test_the_graphs_batch_is_fixed(bench: Bench, digits: ModelCard) -> None:
    graph = onnx.load(bench.out / "digits-cnn" / "b1" / "model.onnx").graph
    dims = graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 8, 8, 1]
    assert digits.input.shape == (1, 8, 8, 1)


def test_a_second_run_does_nothing_and_imports_nothing_heavy(
    bench: Bench, digits: ModelCard
) -> None:
    program = """
import sys
from pathlib import Path
from toolchain import compile, convert, models, store, targets
cache, out = store.Store(Path(sys.argv[1])), Path(sys.argv[2])
def never(*_): raise SystemExit("did something")
convert.convert(models.resolve("digits-cnn"), out=out, cache=cache, progress=never)
linker = compile.Linker(identity="", link=never, image=lambda: "")
compile.compile_model(out / "digits-cnn" / "b1", targets.target("rv64gc"), linker=linker,
                      cache=cache, progress=never)
print(sorted({"tensorflow", "keras", "tvm", "onnx", "sklearn"} & set(sys.modules)))
"""
    before = {p: p.stat().st_mtime_ns for p in bench.out.rglob("*") if p.is_file()}
    start = time.monotonic()
    said = process.run(
        [sys.executable, "-c", program, bench.root / "cache", bench.out],
        env={"PYTHONPATH": str(Path(convert.__file__).parents[2])},
    )
    assert said.strip() == "[]"
    assert time.monotonic() - start < QUICK_S
    assert before == {p: p.stat().st_mtime_ns for p in bench.out.rglob("*") if p.is_file()}


def test_the_same_input_gives_the_same_bytes_from_an_empty_cache(
    bench: Bench, digits: ModelCard, tmp_path: Path
) -> None:
    other = Bench(root=tmp_path)
    other.convert(models.resolve("digits-cnn"))
    other.compile("digits-cnn")
    assert store.digest_tree(other.out) == store.digest_tree(bench.out)


def test_no_path_of_this_machine_is_in_a_library(bench: Bench, digits: ModelCard) -> None:
    content = (bench.out / "digits-cnn" / "b1" / "rv64gc" / "O3.so").read_bytes()
    for word in (b"/tmp/", b"/home/", str(bench.root).encode()):
        assert word not in content


def test_another_batch_is_another_graph_of_the_same_weights(
    bench: Bench, digits: ModelCard
) -> None:
    steps: list[str] = []
    made = bench.convert(models.resolve("digits-cnn"), 16, steps)
    assert made.input.shape == (16, 8, 8, 1)
    assert made.samples.count == 496
    assert made.source == digits.source
    assert not [s for s in steps if "training" in s]


def test_a_damaged_store_entry_is_made_again(
    bench: Bench, digits: ModelCard, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.root, copy.root)
    (damaged,) = (copy.root / "cache" / "entries").rglob("model.so")
    damaged.write_bytes(b"damaged")
    steps: list[str] = []
    assert copy.compile("digits-cnn", steps=steps) == digits
    assert steps == ["linking"]


def test_every_level_makes_other_code(bench: Bench, digits: ModelCard, tmp_path: Path) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.root, copy.root)
    for level in compiler.OPT_LEVELS:
        made = copy.compile("digits-cnn", level)
    libraries = made.libraries["rv64gc"]
    assert list(libraries) == ["O0", "O1", "O2", "O3"]
    assert len({library.sha256 for library in libraries.values()}) == 4
    assert [c.opt_level for c in made.checks if c.stage == "tvm-x86"] == [0, 1, 2, 3]


def test_a_linker_that_fails_leaves_nothing(
    bench: Bench, digits: ModelCard, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.out, copy.out)
    (copy.out / "digits-cnn" / "b1" / "rv64gc" / "O3.so").unlink()

    def refuses(_objects: list[Path], output: Path) -> None:
        output.write_bytes(b"half")
        raise ModelError("no linker")

    with pytest.raises(ModelError, match="no linker"):
        copy.compile("digits-cnn", 1, link=refuses)
    assert not (copy.out / "digits-cnn" / "b1" / "rv64gc" / "O1.so").exists()
    assert not list((copy.root / "cache" / "entries").rglob("model.so"))
    assert copy.left_over() == []


def test_a_graph_changed_since_conversion_is_refused(
    bench: Bench, digits: ModelCard, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.out, copy.out)
    with (copy.out / "digits-cnn" / "b1" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match="not the file that was converted"):
        copy.compile("digits-cnn")


def test_a_batch_or_level_that_cannot_be_is_refused(bench: Bench, digits: ModelCard) -> None:
    with pytest.raises(UsageError, match="batch 0"):
        bench.convert(models.resolve("digits-cnn"), 0)
    with pytest.raises(UsageError, match="opt_level 4"):
        bench.compile("digits-cnn", 4)


DIGITS_WEIGHTS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from toolchain.convert import digits
model = digits.architecture((8, 8, 1), 10)
model.set_weights([w + 0.01 for w in model.get_weights()])
model.save_weights(sys.argv[1] + "/fit.weights.h5")
digits.architecture((8, 8, 1), 11).save_weights(sys.argv[1] + "/misfit.weights.h5")
"""


def test_a_users_weights_are_used_or_refused(tmp_path: Path) -> None:
    root = Path(convert.__file__).parents[2]
    process.run([sys.executable, "-c", DIGITS_WEIGHTS, tmp_path], env={"PYTHONPATH": str(root)})
    bench = Bench(root=tmp_path / "bench")
    fit, misfit = tmp_path / "fit.weights.h5", tmp_path / "misfit.weights.h5"
    made = bench.convert(models.resolve("digits-cnn", weights=fit))
    assert made.source.weights == f"file:{store.digest_file(fit)}"
    with pytest.raises(ModelError, match=r"misfit\.weights\.h5: these weights don't fit"):
        bench.convert(models.resolve("digits-cnn", weights=misfit))
    assert ModelCard.load(bench.out / "digits-cnn" / "b1") == made


def test_seeded_weights_give_outputs_that_differ_clearly(tmp_path: Path) -> None:
    """From class to class and from input to input; else parity would check nothing."""
    made = convert.convert(models.resolve("mobilenetv3-large"), out=tmp_path)  # the machine's cache
    reference = arrays(tmp_path / "mobilenetv3-large" / "b1")["reference"].astype(np.float64)
    assert made.source.weights == "seeded:0"
    assert made.samples.count == len(reference) == 8
    assert len(set(reference.argmax(axis=1))) >= 6
    scores = np.log(reference)
    assert (scores.std(axis=1) > 1).all()
    assert np.median(scores.std(axis=0)) > 1
    assert np.abs(np.corrcoef(scores)[np.triu_indices(8, 1)]).max() < 0.95


def test_a_conversion_leaves_the_graph_without_transposes(tmp_path: Path) -> None:
    convert.convert(models.resolve("mobilenetv3-large"), out=tmp_path)
    graph = onnx.load(tmp_path / "mobilenetv3-large" / "b1" / "model.onnx").graph
    assert sum(node.op_type == "Transpose" for node in graph.node) <= 1


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
import tensorflow as tf
converter = tf.lite.TFLiteConverter.from_keras_model(plain)
lite = converter.convert()
open(folder + "/plain.tflite", "wb").write(lite)
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
        name: str, nodes: list[onnx.NodeProto], inputs: dict[str, list[int | str]], **options: str
    ) -> None:
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(v, k) for k, v in weights.items() if len(nodes) == 3],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if options:
            onnx.save(made, folder / name, save_as_external_data=True, size_threshold=0, **options)
        else:
            onnx.save(made, folder / name)

    image: list[int | str] = ["N", 3, 8, 8]
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    unit = [helper.make_node("LpNormalization", ["x"], ["y"], name="unit_length")]
    added = [helper.make_node("Add", ["x", "z"], ["y"])]
    save("plain.onnx", plain, {"x": image})
    save("beside.onnx", plain, {"x": image}, location="beside.onnx.data")
    save("lonely.onnx", plain, {"x": image}, location="lonely.onnx.data")
    (folder / "lonely.onnx.data").unlink()
    save("open.onnx", relu, {"x": ["N", 3, "height", "width"]})
    save("four.onnx", relu, {"x": [4, 3, 8, 8]})
    save("two.onnx", added, {"x": ["N", 4], "z": ["N", 4]})
    save("unit.onnx", unit, {"x": ["N", 16]})
    whole = (folder / "plain.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])


def of(own: Path, name: str) -> models.ModelSpec:
    return models.resolve(name.replace(".", "-"), model_file=own / name)


@pytest.mark.parametrize("name", ["plain.keras", "plain.h5", "plain-saved", "plain.pb"])
def test_a_users_keras_model_takes_both_ways(own: Path, tmp_path: Path, name: str) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, name))
    assert made.input.shape == (1, 8, 8, 3)
    assert made.output.shape == (1, 5)
    assert set(made.tflite) == {"fp32"}
    assert made.source.weights.startswith("file:")
    assert "O3" in bench.compile(made.model).libraries["rv64gc"]


def test_a_users_tflite_file_is_used_with_its_open_batch_fixed(own: Path, tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    made = bench.convert(of(own, "plain.tflite"), 2)
    assert made.source.kind == "tflite"
    assert (made.input.shape, made.output.shape) == ((2, 8, 8, 3), (2, 5))
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
        variant.add(of(own, "plain.tflite"), 2, "int8", folder, cache=bench.cache)


def test_labels_that_do_not_match_a_model_are_refused(own: Path, tmp_path: Path) -> None:
    shutil.copyfile(own / "plain.keras", tmp_path / "net.keras")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "net.toml").write_text('labels = "names.txt"')
    bench = Bench(root=tmp_path / "bench")
    with pytest.raises(ModelError, match="labels don't match") as caught:
        bench.convert(models.resolve(model_file=tmp_path / "net.keras"))
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
    ("name", "said", "listed"),
    [
        ("two.keras", "2 inputs", "left"),
        ("two.onnx", "2 inputs", "z: float32"),
        ("open.keras", "dynamic shape", "(?, ?, ?, 3)"),
        ("open.onnx", "dynamic shape", "height"),
        ("custom.keras", "custom layer", "Doubled"),
        ("code.keras", "Lambda", "Lambda"),
        ("cut.h5", "cut short", "truncated"),
        ("cut.onnx", "cut short", ""),
        ("cut.tflite", "cut short", ""),
        ("cut.pb", "cut short", ""),
        ("lonely.onnx", "lonely.onnx.data", ""),
        ("four.onnx", "fixed at 4", ""),
        ("det-saved", "no operator for: MatrixDeterminant", ""),
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
    with pytest.raises(ModelError, match="operator LpNormalization") as caught:
        bench.compile(made.model)
    assert "unit_length" in caught.value.detail
    assert bench.left_over() == []
    assert ModelCard.load(bench.out / made.model / "b1") == made


def test_a_changed_model_takes_its_old_libraries_away(own: Path, tmp_path: Path) -> None:
    bench = Bench(root=tmp_path)
    file = tmp_path / "net.onnx"
    shutil.copyfile(own / "plain.onnx", file)
    bench.convert(models.resolve(model_file=file))
    bench.compile("net")
    changed = onnx.load(file)
    changed.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "w")
    )
    onnx.save(changed, file)
    made = bench.convert(models.resolve(model_file=file))
    assert made.libraries == {}
    assert not (bench.out / "net" / "b1" / "rv64gc").exists()
