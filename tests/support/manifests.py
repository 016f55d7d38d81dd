"""A small model.json, and its parts."""

from __future__ import annotations

from toolchain.formats.signature import Tensor
from toolchain.models.checks import Check
from toolchain.models.manifest import File, Library, ModelManifest, Samples, Source

SHA = "0" * 64


def a_manifest() -> ModelManifest:
    tensor = Tensor(name="input", shape=(1, 8, 8, 1))
    return ModelManifest(
        model="net",
        title="Net",
        batch=1,
        source=Source(kind="keras", weights="seeded:0"),
        inputs=[tensor],
        outputs=[Tensor(name="output", shape=(1, 10))],
        onnx=File(file="model.onnx", sha256=SHA, size=1),
        samples=Samples(file="samples.npz", sha256=SHA, size=1, count=8, labelled=False),
        checks=[Check(stage="onnx", max_abs=0, max_rel=0, top1_agreement=1, count=8)],
    )


def a_library(level: int, size: int = 1, tvm: str = "0.27.0.post1") -> Library:
    return Library(file=f"rv64gc/O{level}.so", sha256=SHA, size=size, opt_level=level, tvm=tvm)


def a_check(level: int) -> Check:
    return Check(stage="tvm-x86", max_abs=0, max_rel=0, top1_agreement=1, count=8, opt_level=level)
