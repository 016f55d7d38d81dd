"""PyTorch's exported programs as ExecuTorch's: by an extra, in an environment of its own."""
