"""What an inspection asks in processes of its own, and what it is answered: light on both sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core.confinement import Rights
from toolchain.core.worker import Job
from toolchain.formats.network import Described
from toolchain.formats.signature import OpenTensor, Tensor
from toolchain.models.specification import ModelSpec

FILE, FLATBUFFER = "model.onnx", "model.tflite"


@dataclass(frozen=True, kw_only=True)
class ReadingRequest:
    """One model file.

    Attributes:
        spec: the model.
        batch: what an open batch becomes.
        folder: takes the ONNX form, where there is one, and the TFLite form of a file that is one.
    """

    spec: ModelSpec
    batch: int
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return Rights(read=tuple(self.spec.files()), write=(self.folder,))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one inference takes, as far as it follows from shapes.

    Attributes:
        parameters: numbers in the weights.
        weights_bytes: their size as they are stored.
        multiply_adds: of convolutions, products of matrices and recurrent cells.
        activations_bytes: the most that is alive at once, in the file's own order of operators.
    """

    parameters: int
    weights_bytes: int
    multiply_adds: int
    activations_bytes: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading a model came to.

    Attributes:
        inputs: as the file has them, with open dimensions.
        outputs: the same.
        fixed: the inputs with all their sizes; empty where some are left open.
        sizes: why they are, and what to type; empty where none is.
        operators: how many of each, by name; of TFLite's own where the file is one.
        costs: None where sizes are open, or there is no ONNX form.
        described: what the file says of them beyond that; None where it says nothing.
        state: which outputs are inputs again, as far as names say it; empty where none is.
        missing: why a form can't be made, by its name: the manifest's TFLITE and GRAPH.
        by_graph: whether TFLite is made of the ONNX form when the model is converted.
    """

    inputs: tuple[OpenTensor, ...]
    outputs: tuple[OpenTensor, ...]
    fixed: tuple[Tensor, ...] = ()
    sizes: str = ""
    operators: dict[str, int] = field(default_factory=dict)
    costs: Costs | None = None
    described: Described | None = None
    state: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    by_graph: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """A source graph that our compiler is to import.

    Attributes:
        source: of the network.
    """

    source: SourceGraph

    def rights(self) -> Rights:
        """To read the graph."""
        return Rights(read=self.source.files(), write=())


READ = Job("toolchain.inspection.reading_job:read", ReadingRequest, Reading)
IMPORT = Job("toolchain.inspection.import_job:check", ImportRequest, str)
