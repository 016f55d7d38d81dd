"""A Python program for a device, for the network at hand, by the library in each release."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from toolchain.formats.signature import Tensor
from toolchain.models.manifest import ModelManifest
from toolchain.models.metadata import Metadata

WIDTH = 88
FEW = 12  # labels that are listed in full

CLASSIFY = """
net = load({model})

for given in sys.argv[1:]:
    print(given)
    for label, score in net.classify(given, top=5):
        print(f"  {{score:8.4f}}  {{label}}")
    print(f"  {{net.seconds * 1000:.1f}} ms under {{net.runtime}}")
"""

DETECT = """
net = load({model})

for given in sys.argv[1:]:
    print(given)
    for box in net.detect(given, score=0.25):
        corners = f"({{box.left:.0f}}, {{box.top:.0f}}) to ({{box.right:.0f}}, {{box.bottom:.0f}})"
        print(f"  {{box.score:.3f}}  {{box.label}} from {{corners}}")
    print(f"  {{net.seconds * 1000:.1f}} ms under {{net.runtime}}")
"""

SEGMENT = """
net = load({model})

for given in sys.argv[1:]:
    mask = net.segment(given)  # (height, width) of the picture: the class of each pixel
    print(given)
    for number, pixels in zip(*np.unique(mask, return_counts=True)):
        print(f"  {{pixels / mask.size:6.1%}}  {{net.label(int(number))}}")
    np.save(f"{{given}}.mask.npy", mask)
    print(f"  {{net.seconds * 1000:.1f}} ms under {{net.runtime}}")
"""

ARRAYS = """
net = load({model})

inputs = {{
{inputs}
}}
outputs = net(inputs)
for name, array in outputs.items():
    print(f"{{name}}: {{array.dtype}} {{array.shape}}, {{array.min()}} to {{array.max()}}")
print(f"{{net.seconds * 1000:.1f}} ms under {{net.runtime}}")
"""

STATE = """
net = load({model})

net.reset()  # a sequence begins: {state} are zeros
for step in range(4):
    inputs = {{
{inputs}
    }}
    outputs = net(inputs)
    for name, array in outputs.items():
        print(f"{{step}} {{name}}: {{array.shape}}, {{array.min()}} to {{array.max()}}")
print(f"{{net.seconds * 1000:.1f}} ms under {{net.runtime}}")
"""

PROGRAM = '''"""{title}.

{about}
{usage}
"""

{imports}

from edgewright_device import load
{body}'''


def program(manifest: ModelManifest, labels: Sequence[str]) -> str:
    """The text of a program that runs a network.

    Args:
        manifest: the network's.
        labels: the names of its classes; empty where nothing says them.
    """
    metadata = manifest.metadata or Metadata()
    fed = manifest.state.inputs if manifest.state else {}
    own = [tensor for tensor in manifest.inputs if tensor.name not in fed]
    what, body = _body(metadata, alone=len(own) == 1 and manifest.batch == 1, state=bool(fed))
    indent = 8 if fed else 4
    lines = "\n".join(" " * indent + _array(tensor) for tensor in own)
    # names of tensors are the model file's: one with a line break would be lines of the program
    fed_back = printable(" and ".join(fed)) or "none"
    body = body.format(model=json.dumps(manifest.model), inputs=lines, state=fed_back)
    uses = [name for name in ("sys", "np") if f"{name}." in body]
    imports = [{"sys": "import sys", "np": "import numpy as np"}[name] for name in uses]
    usage = f"    edgewright/current/venv/bin/python program.py {what}".rstrip()
    return PROGRAM.format(
        title=_escaped(printable(manifest.title)),
        about=_docstring(about(manifest, labels)),
        usage=f"\nOn the device, by the release's own Python:\n\n{usage}",
        imports="\n\n".join(imports),
        body=body,
    )


def _body(metadata: Metadata, *, alone: bool, state: bool) -> tuple[str, str]:
    """What the program is given, and what it does."""
    picture = metadata.preprocessing is not None
    if state:
        return "", STATE
    if alone and metadata.task == "classification" and (picture or metadata.spectrogram):
        return ("cat.jpg" if picture else "word.wav"), CLASSIFY
    if alone and picture and metadata.task == "detection" and metadata.detection:
        return "street.jpg", DETECT
    if alone and picture and metadata.task == "segmentation":
        return "street.jpg", SEGMENT
    return "", ARRAYS


def _array(tensor: Tensor) -> str:
    """An entry of a dict of inputs: zeros in the input's shape and type."""
    dtype = "np.bool_" if tensor.dtype == "bool" else f"np.{tensor.dtype}"
    return f"{json.dumps(tensor.name)}: np.zeros({tensor.shape}, {dtype}),"


def about(manifest: ModelManifest, labels: Sequence[str]) -> list[str]:
    """What goes in and comes out, in lines of words; the release holds all of it.

    Args:
        manifest: the network's.
        labels: the names of its classes; empty where nothing says them.
    """
    metadata = manifest.metadata or Metadata()
    said = [f"Input {t.name}: {t.dtype} {t.shape}." for t in manifest.inputs]
    said += [f"Output {t.name}: {t.dtype} {t.shape}." for t in manifest.outputs]
    if metadata.preprocessing is not None:
        how = metadata.preprocessing
        fitted = f"resized by {how.resize}, fitted by {how.fit}"
        size = "as they are" if how.resize == "none" else fitted
        said.append(
            f"The release prepares pictures: {how.channels}, {size}, then (pixel * {how.scale:g} - "
            f"{_listed(how.mean)}) / {_listed(how.std)}."
        )
    if metadata.spectrogram is not None:
        kept = metadata.spectrogram.coefficients or metadata.spectrogram.bands
        said.append(f"The release makes spectrograms of sounds at 16,000 Hz, {kept} a frame.")
    if labels:
        names = ", ".join(labels[:FEW])
        more = f" and {len(labels) - FEW} more" if len(labels) > FEW else ""
        said.append(f"Classes: {names}{more}.")
    for input_name, output in (manifest.state.inputs if manifest.state else {}).items():
        said.append(f"State: {output} goes to {input_name} in the next call, by itself.")
    return [line for one in said for line in textwrap.wrap(printable(one), WIDTH)]


def _docstring(lines: Sequence[str]) -> str:
    return "\n".join(map(_escaped, lines))


def _listed(numbers: Sequence[float]) -> str:
    text = ", ".join(f"{number:g}" for number in numbers)
    return text if len(numbers) == 1 else f"({text})"


def printable(text: str) -> str:
    """A text on one line: labels and names are a user's, or a model file's."""
    return "".join(c if c.isprintable() else " " for c in text)


def _escaped(line: str) -> str:
    """A line as it may stand in a docstring."""
    return line.replace("\\", "\\\\").replace('"', "'")
