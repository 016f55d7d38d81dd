"""TensorFlow.js: a network in the form that a browser runs."""
