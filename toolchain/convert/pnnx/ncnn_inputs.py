"""How ncnn is given a network's inputs, and what it must not shorten: here and on devices alike.

Numpy alone: the runner has this module too.
"""

from __future__ import annotations

import numpy as np

# Options turned off before a network is read: float32 is computed as float32, on CPUs too that have
# instructions for shorter floats.
SHORTER_FLOATS = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_storage",
)


def one_sample(array: np.ndarray) -> np.ndarray:
    """A copy of an input without a batch of 1; whole numbers of 32 bits, all else float32."""
    if array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array.astype(np.int32 if array.dtype.kind in "iu" else np.float32)
