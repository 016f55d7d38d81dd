"""The operators of a TFLite file, by the names of TensorFlow Lite's schema."""

from __future__ import annotations

from collections import Counter

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def counted(content: bytes) -> Counter[str]:
    """How many of each operator all graphs of a file have; one of its maker's own by its name.

    Args:
        content: the file's bytes, which an interpreter has taken.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    kinds = [_name(code) for code in model.operatorCodes]
    return Counter(
        kinds[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators
    )


def _name(code: schema.OperatorCodeT) -> str:
    if code.customCode is not None:
        return bytes(code.customCode).decode(errors="replace")
    # files of before there were more than 127 have the older field alone
    return str(NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown"))
