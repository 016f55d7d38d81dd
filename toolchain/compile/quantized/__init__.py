"""Quantised networks in integers: a .tflite file to Relax, with TensorFlow Lite's arithmetic."""
