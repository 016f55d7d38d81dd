"""Converted networks in integers against TensorFlow Lite's reference kernels.

`python -m tests.conformance.quantised_networks [--samples 8] FOLDER...`: folders of dist/models,
such as digits-cnn/b1; prints a row of docs/reference/quantised-networks.md for each file that
computes in integers, and why where it isn't imported so. Samples are those of the folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.conformance.reference_kernels import agreement, executable
from toolchain.compile import compilation_job
from toolchain.compile.quantized import importer
from toolchain.compile.tir import target_code
from toolchain.formats.rounding import tflite_network
from toolchain.formats.rounding.tflite_network import NotImportedError
from toolchain.models import manifest, samples_file
from toolchain.models.manifest import ModelManifest

OPT_LEVEL = 3
COLUMNS = ("network", "variant", "operators", "values", "the same", "within a step", "at most")


def rows(folder: Path, samples: int) -> Iterator[list[str]]:
    """A row for each variant of a model whose file rounds."""
    present = ModelManifest.load(folder)
    arrays = samples_file.inputs(folder / present.samples.file, present.inputs)
    here = compilation_job.host_target()
    for variant, form in present.tflite.items():
        content = (folder / form.file).read_bytes()
        try:
            read = tflite_network.read(content)
        except NotImportedError as error:
            yield [present.model, variant, f"not read: {error}"]
            continue
        if not read.is_quantised:
            continue
        inputs = manifest.in_order(present.inputs, form.inputs)
        outputs = manifest.in_order(present.outputs, form.outputs)
        try:
            module = importer.from_tflite(
                content,
                inputs,
                outputs,
                ([t.name for t in inputs], [t.name for t in outputs]),
                target_code.dot_product(here),
                widens=target_code.widens(here),
                short=target_code.adds_short_products(here),
            )
        except NotImportedError as error:
            yield [present.model, variant, f"not imported: {error}"]
            continue
        assert module is not None
        count = min(samples, *(len(array) for array in arrays.values()))
        given = [[arrays[tensor.name][n] for tensor in inputs] for n in range(count)]
        found = agreement(content, executable(module, OPT_LEVEL), given)
        yield [
            present.model,
            variant,
            str(len(read.operators)),
            str(found.values),
            f"{100 * found.same:.2f} %",
            f"{100 * found.within:.2f} %",
            f"{found.most}",
        ]


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=8, help="inferences of each")
    asked = parser.parse_args(arguments)
    sys.stdout.write(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n")
    for folder in asked.folders:
        for row in rows(folder, asked.samples):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
