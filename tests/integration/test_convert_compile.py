"""Models of the catalogue converted and compiled for real, in processes and caches of their own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from tests.support.conversion import Bench
from toolchain.compile import compilation as compiler
from toolchain.convert import conversion
from toolchain.core import process, provenance, store
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.worker import Progress
from toolchain.models import manifest
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN

QUICK_S = 2.0  # of a processor, whatever else runs


def arrays(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(folder / "samples.npz") as samples:
        return dict(samples.items())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(root=tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def digits(bench: Bench) -> ModelManifest:
    bench.convert(resolve_model("digits-cnn"))
    return bench.compile("digits-cnn")


def test_digits_are_recognised(bench: Bench, digits: ModelManifest) -> None:
    samples = arrays(bench.out / "digits-cnn" / "b1")
    right = samples["out:output"].argmax(axis=2).ravel() == samples["labels"]
    assert len(right) == 500
    assert right.mean() > 0.95


def test_every_conversion_was_checked(digits: ModelManifest) -> None:
    assert [c.stage for c in digits.checks] == ["onnx", "tflite", "tvm-x86"]
    for check in digits.checks:
        assert check.max_rel < 1e-4
        assert check.top1_agreement == 1
        assert check.count == 500


def test_the_card_names_every_file_that_is_there(bench: Bench, digits: ModelManifest) -> None:
    folder = bench.out / "digits-cnn" / "b1"
    library = digits.libraries["rv64gc"]["O3"]
    assert digits.labels is not None
    files = [
        *(digits.graph(PLAIN), digits.samples, digits.labels),
        *(digits.tflite["fp32"], library),
    ]
    for file in files:
        assert store.digest_file(folder / file.file) == file.sha256
    statement = f"{library.file}{provenance.SUFFIX}"
    assert set(store.digest_tree(folder)) == {manifest.FILE, statement, *(f.file for f in files)}
    claim = provenance.read(folder / statement)
    assert (claim.kind, claim.sha256) == ("library", library.sha256)
    assert claim.parameters == {"target": "rv64gc", "opt-level": "3", "compiler": "release"}
    assert digits.source.weights.startswith("trained:")


def test_the_graphs_batch_is_fixed(bench: Bench, digits: ModelManifest) -> None:
    graph = onnx.load(bench.out / "digits-cnn" / "b1" / "model.onnx").graph
    dims = graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 8, 8, 1]
    assert digits.inputs[0].shape == (1, 8, 8, 1)


def test_a_second_run_does_nothing_and_imports_nothing_heavy(
    bench: Bench, digits: ModelManifest
) -> None:
    program = """
import sys
from pathlib import Path
from toolchain import targets
from toolchain.compile import compilation
from toolchain.convert import conversion
from toolchain.core import store
from toolchain.models.resolve import resolve_model
cache, out = store.Store(Path(sys.argv[1])), Path(sys.argv[2])
def never(*_): raise SystemExit("did something")
conversion.convert(resolve_model("digits-cnn"), out=out, cache=cache, progress=never)
linker = compilation.Linker(identity="", link=never, image=lambda: "")
compilation.compile_model(out / "digits-cnn" / "b1", targets.target("rv64gc"), linker=linker,
                          cache=cache, progress=never)
print(sorted({"tensorflow", "keras", "tvm", "onnx", "sklearn"} & set(sys.modules)))
"""
    before = {p: p.stat().st_mtime_ns for p in bench.out.rglob("*") if p.is_file()}
    start = os.times().children_user
    said = process.run(
        [sys.executable, "-c", program, bench.root / "cache", bench.out],
        env={"PYTHONPATH": str(Path(conversion.__file__).parents[2])},
    )
    assert said.strip() == "[]"
    assert os.times().children_user - start < QUICK_S
    assert before == {p: p.stat().st_mtime_ns for p in bench.out.rglob("*") if p.is_file()}


def test_the_same_input_gives_the_same_bytes_from_an_empty_cache(
    bench: Bench, digits: ModelManifest, tmp_path: Path
) -> None:
    other = Bench(root=tmp_path)
    other.convert(resolve_model("digits-cnn"))
    other.compile("digits-cnn")
    assert store.digest_tree(other.out) == store.digest_tree(bench.out)


def test_no_path_of_this_machine_is_in_a_library(bench: Bench, digits: ModelManifest) -> None:
    content = (bench.out / "digits-cnn" / "b1" / "rv64gc" / "O3.so").read_bytes()
    for word in (b"/tmp/", b"/home/", str(bench.root).encode()):
        assert word not in content


def test_another_batch_is_another_graph_of_the_same_weights(
    bench: Bench, digits: ModelManifest
) -> None:
    steps: list[str] = []
    made = bench.convert(resolve_model("digits-cnn"), 16, steps)
    assert made.inputs[0].shape == (16, 8, 8, 1)
    assert made.samples.count == 496
    assert made.source == digits.source
    assert not [s for s in steps if "training" in s]


def test_a_damaged_store_entry_is_made_again(
    bench: Bench, digits: ModelManifest, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.root, copy.root)
    (damaged,) = (copy.root / "cache" / "entries").rglob("model.so")
    damaged.write_bytes(b"damaged")
    steps: list[str] = []
    assert copy.compile("digits-cnn", steps=steps) == digits
    assert steps == ["linking"]


def test_every_level_makes_other_code(bench: Bench, digits: ModelManifest, tmp_path: Path) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.root, copy.root)
    for level in compiler.OPT_LEVELS:
        made = copy.compile("digits-cnn", level)
    libraries = made.libraries["rv64gc"]
    assert list(libraries) == ["O0", "O1", "O2", "O3"]
    assert len({library.sha256 for library in libraries.values()}) == 4
    assert [c.opt_level for c in made.checks if c.stage == "tvm-x86"] == [0, 1, 2, 3]


def test_a_linker_that_fails_leaves_nothing(
    bench: Bench, digits: ModelManifest, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.out, copy.out)
    (copy.out / "digits-cnn" / "b1" / "rv64gc" / "O3.so").unlink()

    def refuses(_objects: list[Path], output: Path, _progress: Progress) -> None:
        output.write_bytes(b"half")
        raise ModelError("no linker")

    with pytest.raises(ModelError, match="no linker"):
        copy.compile("digits-cnn", 1, link=refuses)
    assert not (copy.out / "digits-cnn" / "b1" / "rv64gc" / "O1.so").exists()
    assert not list((copy.root / "cache" / "entries").rglob("model.so"))
    assert copy.left_over() == []


def test_a_graph_changed_since_conversion_is_refused(
    bench: Bench, digits: ModelManifest, tmp_path: Path
) -> None:
    copy = Bench(root=tmp_path / "copy")
    shutil.copytree(bench.out, copy.out)
    with (copy.out / "digits-cnn" / "b1" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match="not the file that was converted"):
        copy.compile("digits-cnn")


def test_a_batch_or_level_that_cannot_be_is_refused(bench: Bench, digits: ModelManifest) -> None:
    with pytest.raises(UsageError, match="batch 0"):
        bench.convert(resolve_model("digits-cnn"), 0)
    with pytest.raises(UsageError, match="opt_level 4"):
        bench.compile("digits-cnn", 4)


DIGITS_WEIGHTS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from toolchain.convert.training import digits_network as digits
model = digits.architecture((8, 8, 1), 10)
model.set_weights([w + 0.01 for w in model.get_weights()])
model.save_weights(sys.argv[1] + "/fit.weights.h5")
digits.architecture((8, 8, 1), 11).save_weights(sys.argv[1] + "/misfit.weights.h5")
"""


def test_a_users_weights_are_used_or_refused(tmp_path: Path) -> None:
    root = Path(conversion.__file__).parents[2]
    process.run([sys.executable, "-c", DIGITS_WEIGHTS, tmp_path], env={"PYTHONPATH": str(root)})
    bench = Bench(root=tmp_path / "bench")
    fit, misfit = tmp_path / "fit.weights.h5", tmp_path / "misfit.weights.h5"
    made = bench.convert(resolve_model("digits-cnn", weights=fit))
    assert made.source.weights == f"file:{store.digest_file(fit)}"
    with pytest.raises(ModelError, match=r"misfit\.weights\.h5: these weights don't fit"):
        bench.convert(resolve_model("digits-cnn", weights=misfit))
    assert ModelManifest.load(bench.out / "digits-cnn" / "b1") == made


def test_seeded_weights_give_outputs_that_differ_clearly(tmp_path: Path) -> None:
    """From class to class and from input to input; else parity would check nothing."""
    made = conversion.convert(
        resolve_model("mobilenetv3-large"), out=tmp_path
    )  # the machine's cache
    reference = arrays(tmp_path / "mobilenetv3-large" / "b1")["out:output"][:, 0].astype(np.float64)
    assert made.source.weights == "seeded:0"
    assert made.samples.count == len(reference) == 8
    assert len(set(reference.argmax(axis=1))) >= 6
    scores = np.log(reference)
    assert (scores.std(axis=1) > 1).all()
    assert np.median(scores.std(axis=0)) > 1
    assert np.abs(np.corrcoef(scores)[np.triu_indices(8, 1)]).max() < 0.95


def test_a_conversion_leaves_the_graph_without_transposes(tmp_path: Path) -> None:
    conversion.convert(resolve_model("mobilenetv3-large"), out=tmp_path)
    graph = onnx.load(tmp_path / "mobilenetv3-large" / "b1" / "model.onnx").graph
    assert sum(node.op_type == "Transpose" for node in graph.node) <= 1
