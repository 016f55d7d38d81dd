"""A small program of ExecuTorch, made by its compiler 1.5.1 with XNNPACK's partitioner.

Of x, (1, 4) float32, it gives relu(Wx + b), XNNPACK's, where W is 0 to 11 as (3, 4) and b 0 to 2;
and of i, (3) int64, the sums up to each, by ExecuTorch's own kernel.
"""

from __future__ import annotations

import base64
import gzip

import numpy as np

_PACKED = (
    "H4sIAAAAAAACA9VWvW/TQBQ/Ox81wUIhRChDVVlRhw4Vsh3bcapKpEhIHRBiYKjUViixr2pEmkatI0CAiJgYOiDU"
    "oWMH/gEkBgYGxIA6dmBg7MjA0D8AMO/O7+JrWpCQysBVv9z57t7vfdy7d50nhNy8a9l03TQNGPfzhLch9juZpC+T"
    "SfitQF8kOtFgnIUxmyHkAPAF4CspVPhe4bsI0b7HcQbHTUDd9Tyn7YQtKzD9kDaov9YKXbtm1oLAcf12jTq2ScOQ"
    "em7Doq5f9yxq1fwgcGltzfJqzJ4V4FQlTrtBLd9vWLYTBp5r0Xq77fi+7VqWXWtYZt2rh6Zjt6gXBk49sH2TBjXP"
    "8VyX2k6r7TQY552fccz4FJK2LPpxCzCD31/jONZxfZhJ92oQDR12sOiYYvLEus4Z2PqxmswxnWKd6Z3ko6uga5oY"
    "8JVGPAuzBGYJcQBdwB7AAKEZgAnYA87dbBJ70V5K3Mz2V2i7zs80abtgA/qsXIKfpV6v3wru3wDQXpjKHv6IYw1l"
    "mVubg4iPWxHtzc0Fg43twYbQVeR0hZHtBZRbR6joB+MtxwkvE/0cJ2eQk2zOoT6GJqwn3ETVMA813Cf8lv1XERlp"
    "nvGy9C7C4B30EZ5XBXleS/Ycw/htet5qlmT5noN0T+452iTuA6OZipOYKpLODObARbRZyH9E+cro/El+HuaaKKci"
    "gSrxMJu4rlwJ9F7h0dUwY0sYf4kvuwP7DZQ/bVOBXECbBGeJXD7FWZY583l+rvnf2JhFXzXJ1/eAN4Bla9Z4XI0e"
    "9Wl1zqi2B51u1OltX4sG/S6tzhrVYLMX0YcRW+wNul0+td7phlu0d2+7TwNYWB7Jsx0nZMTEuMTqU0nrX0jBH8tV"
    "5Zzt/g/8PtPbsBNEY8Yur1b/FDoyAVjb3HrQ2grJWW1p0TSnCMvOQzWtjElj9W7ptmkRrIsGzycd8ruMd22S18V9"
    "kFoETGMOlqHXlCQPWY5/AzyR6lIFWIpYl1hex9hEXT+fd6oA1qV6KpIeU/LxfN6vwuiuFvD+kbF7rkhv2hF729n7"
    "g98vYv4OKUlMS2B3Ht+rJNIlZFIxhspYXRU6hsjDOD/xsTJ6D1T0Xz1Rey5BfmiiFp7SX8Sqc5b+GGussEPUHJmv"
    "jB4Ib9hXUeLSJF9E3RL26iA3gVaI+j+D6zqXTd8f8PyZzqWS/NTHYqTI/xOcasPrSRo0AUPAPuAD4IilxgJYAzAA"
    "5gL5Jy3R/wtB2uH/DAoAAA=="
)
PROGRAM = gzip.decompress(base64.b64decode(_PACKED))
X = np.array([[1, -2, 3, 0.5]], np.float32)
INDICES = np.array([5, 7, -1])


def expected() -> list[np.ndarray]:
    """Its outputs for X and INDICES."""
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    dense = X @ weights.T + np.arange(3, dtype=np.float32)
    return [np.maximum(dense, 0), np.cumsum(INDICES)]
