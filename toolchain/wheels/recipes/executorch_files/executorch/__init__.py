"""ExecuTorch: runs programs in its own form (.pte) on the CPU, with its kernels and XNNPACK's.

The libraries are the project's own; this package has of the project's Python package what runs a
program, `executorch.runtime`, on numpy's arrays in place of PyTorch's tensors.
"""

__version__ = "1.5.1"
