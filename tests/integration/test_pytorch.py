"""PyTorch's exported programs, and ONNX made TFLite, by the extras where they are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

from tests.support.conversion import Bench
from toolchain.core import process
from toolchain.core.errors import ModelError
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN
from toolchain.workstation import extras

pytestmark = pytest.mark.skipif(
    not extras.present(extras.EXTRAS["pytorch"]),
    reason="needs the extra: invoke setup --extra pytorch",
)
needs_onnx2tf = pytest.mark.skipif(
    not extras.present(extras.EXTRAS["onnx2tf"]),
    reason="needs the extra: invoke setup --extra onnx2tf",
)
# A small network of the usual parts: strides, a depthwise convolution, batch norms, a pooling.
EXPORT = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish(),
            nn.Conv2d(8, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return torch.softmax(self.head(self.features(x)), 1)

class Two(nn.Module):
    def forward(self, x, y):
        return {"sum": x + y, "both": (2 * x, y.abs())}

folder = sys.argv[1]
torch.manual_seed(0)
x = torch.randn(2, 3, 32, 32)
batch = ({0: torch.export.Dim("batch")},)
programs = {
    "net": torch.export.export(Net().eval(), (x,), dynamic_shapes=batch),
    "fixed": torch.export.export(Net().eval(), (x[:1],)),
    "two": torch.export.export(Two(), (x, x)),
}
for name, program in programs.items():
    torch.export.save(program, f"{folder}/{name}.pt2")
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    process.run([sys.executable, "-c", EXPORT, str(folder)])
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(root=tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def made(bench: Bench, programs: Path) -> ModelManifest:
    bench.convert(resolve_model(model_file=programs / "net.pt2"))
    return bench.compile("net")


def test_a_program_gives_the_same_as_onnx_and_under_tvm(made: ModelManifest) -> None:
    assert made.source.kind == "pytorch"
    checks = {check.stage: check for check in made.checks}
    assert {"onnx", "tvm-x86"} <= checks.keys()
    assert all(check.max_rel < 1e-4 and check.top1_agreement == 1 for check in checks.values())
    assert made.inputs[0].shape == (1, 3, 32, 32)


@needs_onnx2tf
def test_its_tflite_form_takes_the_same_inputs(made: ModelManifest) -> None:
    (check,) = (check for check in made.checks if check.stage == "tflite")
    assert check.max_rel < 1e-4
    assert "tflite" not in made.missing


def test_an_open_batch_is_fixed_and_a_fixed_one_stays(bench: Bench, programs: Path) -> None:
    manifest = bench.convert(resolve_model(model_file=programs / "net.pt2"), 4)
    graph = onnx.load(bench.out / "net" / "b4" / manifest.graph(PLAIN).file).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [4, 3, 32, 32]
    with pytest.raises(ModelError, match="fixed at 1, batch 4"):
        bench.convert(resolve_model(model_file=programs / "fixed.pt2"), 4)


def test_a_program_of_two_inputs_and_nested_outputs_is_taken(bench: Bench, programs: Path) -> None:
    made = bench.convert(resolve_model(model_file=programs / "two.pt2"))
    assert [(t.name, t.shape) for t in made.inputs] == [
        ("x", (2, 3, 32, 32)),
        ("y", (2, 3, 32, 32)),
    ]
    assert len(made.outputs) == 3
    assert made.batch == 2


def test_a_program_that_was_cut_short_is_refused(bench: Bench, programs: Path) -> None:
    cut = programs / "cut.pt2"
    cut.write_bytes((programs / "net.pt2").read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut short"):
        bench.convert(resolve_model(model_file=cut))
    assert bench.left_over() == []
