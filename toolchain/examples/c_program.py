"""A program in C or C++ for a device, for the network at hand, by the library for these.

Three files: the program, a Makefile that finds the library by pkg-config, and a CMakeLists.txt.
What it says of the network is said in the same words as in the Python program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolchain.examples import python_program
from toolchain.formats.signature import Tensor
from toolchain.models.manifest import ModelManifest
from toolchain.models.metadata import Metadata

# The source file of a program in each language.
SOURCES = {"c": "program.c", "cpp": "program.cpp"}
STEPS = 4  # of a sequence
# Bytes that stand for themselves in a literal.
PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\?')


def programs(manifest: ModelManifest, labels: Sequence[str], language: str) -> dict[str, str]:
    """The files of a program that runs a network: its text by each name, the program's first.

    Args:
        manifest: the network's.
        labels: the names of its classes; empty where nothing says them.
        language: a key of SOURCES.
    """
    metadata = manifest.metadata or Metadata()
    fed = manifest.state.inputs if manifest.state else {}
    own = [tensor for tensor in manifest.inputs if tensor.name not in fed]
    alone = len(own) == 1 and manifest.batch == 1
    pictures = alone and metadata.preprocessing is not None
    sounds = alone and not pictures and metadata.spectrogram is not None
    files = pictures or sounds
    classes = files and metadata.task == "classification" and len(manifest.outputs) == 1
    boxes = pictures and metadata.task == "detection" and metadata.detection is not None
    mask = pictures and metadata.task == "segmentation"
    about = [python_program.printable(manifest.title), *python_program.about(manifest, labels)]
    title, *lines = map(_remark, about)
    source = SOURCES[language]
    names = {
        "title": title,
        "about": lines,
        "usage": " cat.ppm" if pictures else " word.wav" if sounds else "",
        "pictures": pictures,
        "sounds": sounds,
        "classes": classes,
        "boxes": boxes,
        "mask": mask,
        "model": _text(manifest.model),
        "batch": manifest.batch,
        "inputs": [] if files else _described(own, "input"),
        "outputs": [] if classes or boxes or mask else _described(manifest.outputs, "output"),
        "state": _remark(python_program.printable(" and ".join(fed))),
        "steps": STEPS if fed else 1,
        "source": source,
        "language": "C" if language == "c" else "CXX",
        "compiler": "CC" if language == "c" else "CXX",
        "flags": "CFLAGS" if language == "c" else "CXXFLAGS",
    }
    return {
        name: _templates().get_template(f"{name}.jinja").render(names)
        for name in (source, "Makefile", "CMakeLists.txt")
    }


@cache
def _templates() -> Environment:
    folder = Path(__file__).with_name("templates")
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # what it writes is C
    )


def _described(tensors: Sequence[Tensor], what: str) -> list[dict[str, object]]:
    """Inputs or outputs as the templates name them."""
    return [
        {
            "name": _text(tensor.name),
            "variable": f"{what}_{number}",
            # an array of C has a number at least
            "count": max(math.prod(tensor.shape), 1),
            "type": f"EDGEWRIGHT_{tensor.dtype.upper()}",
            "ctype": _ctype(tensor.dtype),
            "direct": tensor.dtype not in ("bool", "float16"),
            "said": _said(tensor),
        }
        for number, tensor in enumerate(tensors)
    ]


def _ctype(dtype: str) -> str:
    """The type of C that holds a number of a tensor."""
    named = {"bool": "uint8_t", "float16": "uint16_t", "float32": "float", "float64": "double"}
    return named.get(dtype, f"{dtype}_t")


def _said(tensor: Tensor) -> str:
    shape = ", ".join(map(str, tensor.shape))
    name = _remark(python_program.printable(tensor.name))
    return f"{name}: {tensor.dtype} ({shape})"


def _remark(line: str) -> str:
    """A line as it may stand in a comment: one that neither ends it nor joins the next line."""
    return line.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")


def _text(text: str) -> str:
    """A literal of C: all but plain characters are told by their bytes, in octal."""
    told = "".join(chr(b) if b in PLAIN else f"\\{b:03o}" for b in text.encode())
    return f'"{told}"'
