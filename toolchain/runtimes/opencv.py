"""OpenCV's dnn module: the ONNX graph of each variant, read by it as it is.

Its project publishes one wheel for every Python on Arm's 64 bits and x86; ours serve the others.
"""

from __future__ import annotations

from toolchain.runtimes.onnxruntime import OrBuiltHere

RUNTIME = OrBuiltHere(
    name="opencv",
    label="OpenCV",
    title="OpenCV",
    project="opencv-python-headless",
    form="ONNX graph",
    makes_artifacts=True,
)
