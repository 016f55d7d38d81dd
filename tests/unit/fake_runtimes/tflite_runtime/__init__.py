"""Stand-in for tflite_runtime."""
