"""Networks in a browser: TensorFlow.js's, checked and timed in a real one."""
