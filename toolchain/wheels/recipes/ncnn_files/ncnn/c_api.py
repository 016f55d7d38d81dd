"""ncnn's C API by ctypes: those functions of its header `c_api.h` that run a network."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("libncnn.so")

SCAN = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
READ = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_size_t)


class DataReader(ctypes.Structure):
    """What the library reads weights from: two functions that whoever made it may put others in."""

    _fields_ = (("pthis", c_void_p), ("scan", SCAN), ("read", READ))


# Function -> what it returns, and its arguments. Objects of the library are opaque pointers.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "version": (c_char_p, []),
    "mat_create_1d_elem": (c_void_p, [c_int, c_size_t, c_int, c_void_p]),
    "mat_create_2d_elem": (c_void_p, [c_int, c_int, c_size_t, c_int, c_void_p]),
    "mat_create_3d_elem": (c_void_p, [c_int, c_int, c_int, c_size_t, c_int, c_void_p]),
    "mat_create_4d_elem": (c_void_p, [c_int, c_int, c_int, c_int, c_size_t, c_int, c_void_p]),
    "mat_destroy": (None, [c_void_p]),
    "mat_get_dims": (c_int, [c_void_p]),
    "mat_get_w": (c_int, [c_void_p]),
    "mat_get_h": (c_int, [c_void_p]),
    "mat_get_d": (c_int, [c_void_p]),
    "mat_get_c": (c_int, [c_void_p]),
    "mat_get_elemsize": (c_size_t, [c_void_p]),
    "mat_get_elempack": (c_int, [c_void_p]),
    "mat_get_cstep": (c_size_t, [c_void_p]),
    "mat_get_data": (c_void_p, [c_void_p]),
    "datareader_create": (POINTER(DataReader), []),
    "datareader_destroy": (None, [POINTER(DataReader)]),
    "layer_type_to_index": (c_int, [c_char_p]),
    "net_create": (c_void_p, []),
    "net_destroy": (None, [c_void_p]),
    "net_clear": (None, [c_void_p]),
    "net_get_option": (c_void_p, [c_void_p]),
    "net_load_param": (c_int, [c_void_p, c_char_p]),
    "net_load_param_memory": (c_int, [c_void_p, c_char_p]),
    "net_load_model": (c_int, [c_void_p, c_char_p]),
    "net_load_model_datareader": (c_int, [c_void_p, POINTER(DataReader)]),
    "net_get_input_count": (c_int, [c_void_p]),
    "net_get_output_count": (c_int, [c_void_p]),
    "net_get_input_name": (c_char_p, [c_void_p, c_int]),
    "net_get_output_name": (c_char_p, [c_void_p, c_int]),
    "extractor_create": (c_void_p, [c_void_p]),
    "extractor_destroy": (None, [c_void_p]),
    "extractor_input": (c_int, [c_void_p, c_char_p, c_void_p]),
    "extractor_extract": (c_int, [c_void_p, c_char_p, POINTER(c_void_p)]),
}
# What a network's option is called -> whether it is a number; the others are on or off.
OPTIONS = {
    "num_threads": True,
    "use_local_pool_allocator": False,
    "use_winograd_convolution": False,
    "use_sgemm_convolution": False,
    "use_packing_layout": False,
    "use_fp16_packed": False,
    "use_fp16_storage": False,
    "use_fp16_arithmetic": False,
    "use_int8_packed": False,
    "use_int8_storage": False,
    "use_int8_arithmetic": False,
    "use_bf16_packed": False,
    "use_bf16_storage": False,
}


class Library:
    """The functions of an ncnn library, each an attribute named as in the header, less `ncnn_`.

    Raises:
        ImportError: the library can't be loaded, or lacks one of them.
    """

    def __init__(self, path: Path) -> None:
        setters = {f"option_set_{name}": (None, [c_void_p, c_int]) for name in OPTIONS}
        getters = {f"option_get_{name}": (c_int, [c_void_p]) for name in OPTIONS}
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, arguments) in {**FUNCTIONS, **setters, **getters}.items():
                function = getattr(library, f"ncnn_{name}")
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)
        except (OSError, AttributeError) as error:
            raise ImportError(f"{path}: {error}") from error

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the C API has no {name} here")


API = Library(PATH)
VERSION: str = API.version().decode()
