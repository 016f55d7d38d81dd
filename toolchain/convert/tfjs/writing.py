"""Writes a network of TensorFlow.js. A program of the extra's Python: tensorflowjs, tensorflow.

    python writing.py FOLDER MADE

FOLDER has asked.json: `form`, `weights`; and the SavedModel `network`, or with `topology` (`model`:
its description, `weights`: the name of each) weights.npz, `arr_0` and on. MADE gets model.json and
the files that it names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
# the converter imports the libraries of kinds of models that are not converted here
OTHERS = ("tensorflow_decision_forests", "jax", "jax.experimental", "jax.experimental.jax2tf")
for absent in OTHERS:
    sys.modules[absent] = mock.MagicMock()

MODEL = "model.json"


def main(folder: Path, made: Path) -> None:
    """Write it."""
    asked = json.loads((folder / "asked.json").read_text())
    if asked["form"] == "graph":
        _graph(folder / "network", made, asked["weights"])
    else:
        _layers(asked["topology"], folder / "weights.npz", made, asked["weights"])


def _rounded(weights: str) -> dict[str, str]:
    """What the converter rounds: all weights to one type, or none."""
    return {} if weights == "float32" else {weights: "*"}


def _graph(network: Path, made: Path, weights: str) -> None:
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as conversion

    # assertions have no part in what a network gives, and TensorFlow.js has none
    conversion.convert_tf_saved_model(
        str(network), str(made), quantization_dtype_map=_rounded(weights), strip_debug_ops=True
    )


def _layers(topology: dict[str, Any], weights: Path, made: Path, kept: str) -> None:
    from tensorflowjs import version, write_weights

    with np.load(weights, allow_pickle=False) as arrays:
        group = [
            {"name": name, "data": arrays[f"arr_{index}"]}
            for index, name in enumerate(topology["weights"])
        ]
    manifest = write_weights.write_weights(
        [group],
        str(made),
        quantization_dtype_map=_rounded(kept),
        write_manifest=False,
    )
    described = {
        "format": "layers-model",
        "generatedBy": "keras",
        "convertedBy": f"TensorFlow.js Converter v{version.version}",
        "modelTopology": {
            "keras_version": "2.15.0",
            "backend": "tensorflow",
            "model_config": topology["model"],
        },
        "weightsManifest": manifest,
    }
    (made / MODEL).write_text(json.dumps(described))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
