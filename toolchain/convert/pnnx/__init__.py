"""ONNX graphs as networks of ncnn, by pnnx: programs of an extra, in an environment of its own."""
