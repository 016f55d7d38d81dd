"""OpenVINO: the ONNX graph of each variant, which it compiles for the CPU as it loads it."""

from __future__ import annotations

from toolchain.runtimes.onnxruntime import OfOnnxGraphs

RUNTIME = OfOnnxGraphs(
    name="openvino",
    label="OpenVINO",
    title="OpenVINO",
    project="openvino",
    form="ONNX graph",
    makes_artifacts=True,
)
