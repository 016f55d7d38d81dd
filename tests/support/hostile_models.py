"""TensorFlow models that touch files when they are read, imported or run, and honest ones.

Runs in a worker: TensorFlow is imported here. A hostile model is a whole network of one input and
one output besides, so nothing but what it touches is a reason to refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tests.support.worker_jobs import Listed, Tried
from toolchain import formats
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import tensorflow_operators

SHAPE = (None, 4)
X = tf.TensorSpec(SHAPE, tf.float32, name="x")


def load_each(folder: Path, progress: Progress) -> Tried:
    """Make every model in a folder and load each; what they write goes there too."""
    refused = {}
    for name, make in (*HOSTILE.items(), *HONEST.items()):
        path = folder / name
        make(path, folder / f"written by {name}")
        kind = formats.format_of(path)
        try:
            kind.load(path, progress)
        except ModelError as error:
            refused[name] = error.brief
    return Tried(refused=refused, written=sorted(p.name for p in folder.glob("written by *")))


def listed_operators(_request: None, _progress: Progress) -> Listed:
    """Compare the list with what the installed libraries have."""
    import tf2onnx.onnx_opset  # registers its operators
    from tensorflow.python.framework import op_def_registry
    from tf2onnx import handler

    def known(name: str) -> bool:
        return op_def_registry.get(name) is not None

    versions = handler.tf_op.get_opsets()[tf2onnx.constants.ONNX_DOMAIN]
    converted = {name for version in versions for name in version if known(name)}
    allowed = tensorflow_operators.ALLOWED
    return Listed(
        unknown=sorted(name for name in allowed if not known(name)),
        converted_and_left_out=sorted(converted - allowed),
    )


def _writing(x: Any, target: Path) -> Any:
    with tf.control_dependencies([tf.io.write_file(str(target), "theirs")]):
        return tf.identity(2.0 * x, name="y")


def _graph(path: Path, network: Callable[[Any], Any]) -> None:
    with tf.Graph().as_default() as graph:
        network(tf.compat.v1.placeholder(tf.float32, SHAPE, name="x"))
    path.write_bytes(graph.as_graph_def().SerializeToString())


def _writes_when_run(path: Path, target: Path) -> None:
    _graph(path, lambda x: _writing(x, target))


def _reads_when_imported(path: Path, target: Path) -> None:
    """A shape that is folded while the graph is imported comes from a file."""
    del target

    def network(x: Any) -> Any:
        shape = tf.io.decode_raw(tf.io.read_file("/proc/self/auxv"), tf.int64)[:1]
        return tf.reshape(x, tf.clip_by_value(shape, 4, 4), name="y")

    _graph(path, network)


def _writes_in_a_function(path: Path, target: Path) -> None:
    _graph(path, tf.function(lambda x: _writing(x, target), input_signature=[X]))


def _prints_to_a_file(path: Path, target: Path) -> None:
    def network(x: Any) -> Any:
        with tf.control_dependencies([tf.print("theirs", output_stream=f"file://{target}")]):
            return tf.identity(2.0 * x, name="y")

    _graph(path, network)


def _saved(path: Path, call: Callable[[Any], Any], **tracked: Any) -> None:
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    module.call = tf.function(lambda x: {"y": call(x)}, input_signature=[X])
    tf.saved_model.save(module, str(path), signatures=module.call)


def _saved_that_writes(path: Path, target: Path) -> None:
    _saved(path, lambda x: _writing(x, target))


def _saved_that_reads_at_the_start(path: Path, target: Path) -> None:
    """A table's text file is opened by its initialiser, which loading runs."""
    target.with_suffix(".txt").write_text("one\n")
    initial = tf.lookup.TextFileInitializer(
        str(target.with_suffix(".txt")),
        *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
        *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
    )
    table = tf.lookup.StaticHashTable(initial, -1)
    _saved(path, lambda x: x + tf.cast(table.lookup(tf.constant("one")), tf.float32), table=table)
    target.with_suffix(".txt").unlink()


def _saved_that_saves(path: Path, target: Path) -> None:
    """The operator that every SavedModel has for itself, in what is run."""

    def network(x: Any) -> Any:
        saved = tf.raw_ops.SaveV2(
            prefix=str(target), tensor_names=["x"], shape_and_slices=[""], tensors=[x]
        )
        with tf.control_dependencies([saved]):
            return 2.0 * x

    _saved(path, network)


def _saved_by_keras(path: Path, target: Path) -> None:
    del target
    layers = [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    keras.Sequential(layers).export(path, verbose=False)


def _saved_with_a_table_and_a_variable(path: Path, target: Path) -> None:
    del target
    initial = tf.lookup.KeyValueTensorInitializer(["one"], tf.constant([1], tf.int64))
    table, scale = tf.lookup.StaticHashTable(initial, -1), tf.Variable(2.0)

    def network(x: Any) -> Any:
        return scale * x + tf.cast(table.lookup(tf.constant("one")), tf.float32)

    _saved(path, network, table=table, scale=scale)


def _saved_by_tensorflow_1(path: Path, target: Path) -> None:
    del target
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, SHAPE, name="x")
        y = x * v1.get_variable("scale", initializer=2.0, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), inputs={"x": x}, outputs={"y": y})


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "writes.pb": _writes_when_run,
    "reads.pb": _reads_when_imported,
    "function.pb": _writes_in_a_function,
    "prints.pb": _prints_to_a_file,
    "saved-writes": _saved_that_writes,
    "saved-reads": _saved_that_reads_at_the_start,
    "saved-saves": _saved_that_saves,
}
HONEST: dict[str, Callable[[Path, Path], None]] = {
    "saved-keras": _saved_by_keras,
    "saved-table": _saved_with_a_table_and_a_variable,
    "saved-1": _saved_by_tensorflow_1,
}
