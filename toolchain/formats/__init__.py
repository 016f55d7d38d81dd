"""One module a kind of model file."""
