"""An ONNX graph to a TVM library for a target."""
