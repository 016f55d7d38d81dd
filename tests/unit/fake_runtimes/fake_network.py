"""A network that is a JSON file: its output is its input, changed as the file says.

Keys: scale (of the output), sleep_s (an inference), after (inferences until `then` happens), then
("segv", "raise" or "hang"), load_error, prints (to standard output, as C code does), pid_file,
threads (that TVM_NUM_THREADS must say).
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


class Network:
    """What a model file says, run."""

    def __init__(self, path: str) -> None:
        self.says: dict[str, Any] = json.loads(Path(path).read_text())
        self.runs = 0
        if "pid_file" in self.says:
            Path(self.says["pid_file"]).write_text(str(os.getpid()))
        if "prints" in self.says:
            os.write(1, self.says["prints"].encode())
        if "load_error" in self.says:
            raise ValueError(self.says["load_error"])
        if "threads" in self.says and os.environ["TVM_NUM_THREADS"] != self.says["threads"]:
            raise ValueError("TVM_NUM_THREADS is " + os.environ["TVM_NUM_THREADS"])

    def run(self, x: np.ndarray) -> np.ndarray:
        """One inference."""
        if "then" in self.says and self.runs >= self.says.get("after", 0):
            self._misbehave()
        self.runs += 1
        time.sleep(self.says.get("sleep_s", 0.0001))
        scale = float(self.says.get("scale", 1.0) or "nan")
        return np.asarray(x * np.float32(scale), dtype=np.float32)

    def _misbehave(self) -> None:
        if self.says["then"] == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.says["then"] == "hang":
            time.sleep(600)
        raise RuntimeError("the network was told to fail")
