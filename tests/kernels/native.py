"""The C functions of the library, for tests: numpy in, numpy out."""

import contextlib
import ctypes

import numpy as np
import pytest

from keras_compress.functional.sparse import compress
from keras_compress.functional.sparse_layouts import LAYOUTS, PARTS
from keras_compress.ops import _library

requires_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)


class Refused(Exception):
    """A C function returned something else than 0."""


def library():
    lib = ctypes.CDLL(str(_library.FILE))
    lib.kc_level_name.restype = ctypes.c_char_p
    return lib


def level_names():
    if _library._library.ops is None:
        return []
    lib = library()
    return [lib.kc_level_name(i).decode() for i in range(lib.kc_num_levels())]


@contextlib.contextmanager
def level(name):
    lib = library()
    before = lib.kc_level()
    assert lib.kc_set_level(level_names().index(name)) == 0
    try:
        yield lib
    finally:
        lib.kc_set_level(before)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def weights_of(matrix, dtype=None, layout="csc"):
    """A layout's arrays by name, with `"layout"` itself."""
    arrays = compress(matrix, layout)
    found = dict(zip(PARTS[layout], arrays, strict=True))
    found["indices"] = found["indices"].astype(dtype or found["indices"].dtype)
    return {"layout": layout} | found


LENGTHS = {
    "values": "value_count",
    "indices": "index_count",
    "starts": "start_count",
    "windows": "window_count",
    "order": "order_count",
    "segments": "segment_bytes",
}


class Matrix(ctypes.Structure):
    """`KcSparseMatrix` of the library."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layout", "inputs", "units")),
        *(("values", ctypes.c_void_p), ("value_count", ctypes.c_int64)),
        *(("indices", ctypes.c_void_p), ("index_bytes", ctypes.c_int64)),
        *(("index_count", ctypes.c_int64), ("starts", ctypes.c_void_p)),
        *(("start_count", ctypes.c_int64), ("windows", ctypes.c_void_p)),
        *(("window_count", ctypes.c_int64), ("order", ctypes.c_void_p)),
        *(("order_count", ctypes.c_int64), ("segments", ctypes.c_void_p)),
        *(("segment_bytes", ctypes.c_int64), ("bias", ctypes.c_void_p)),
    )

    @classmethod
    def of(cls, weights, inputs, bias):
        """Of arrays that must live as long as it does."""
        matrix = cls(
            layout=LAYOUTS.index(weights["layout"]),
            inputs=inputs,
            units=len(bias),
            index_bytes=weights["indices"].itemsize,
            bias=bias.ctypes.data,
        )
        for name in PARTS[weights["layout"]]:
            setattr(matrix, name, weights[name].ctypes.data)
            setattr(matrix, LENGTHS[name], weights[name].size)
        return matrix


def unaligned(array):
    """A copy that is aligned to its numbers but to nothing larger."""
    held = np.empty(array.size + 32, array.dtype)
    skip = 1
    while (held.ctypes.data // array.itemsize + skip) % 16 != 1:
        skip += 1
    copy = held[skip : skip + array.size].reshape(array.shape)
    copy[...] = array
    return copy


CANARY = np.float32(123456.75)


def guarded(shape):
    """Outputs between canaries, and a function that checks them."""
    size = int(np.prod(shape))
    held = np.full(size + 128, CANARY, np.float32)

    def check():
        assert (held[:64] == CANARY).all(), "wrote before the outputs"
        assert (held[64 + size :] == CANARY).all(), "wrote after the outputs"

    return held[64 : 64 + size].reshape(shape), check


def matmul(name, inputs, weights, bias):
    matrix = Matrix.of(weights, inputs.shape[1], bias)
    outputs, check = guarded((inputs.shape[0], len(bias)))
    with level(name) as lib:
        result = lib.kc_sparse_matmul(
            ctypes.byref(matrix),
            pointer(inputs),
            ctypes.c_int64(inputs.shape[0]),
            pointer(outputs),
        )
    check()
    if result:
        raise Refused(f"result {result}")
    return outputs


def conv2d(name, images, weights, bias, geometry):
    """`geometry`: kernel, strides, dilations, padding before, output size, pairs."""
    kernel, strides, dilations, before, size = geometry
    matrix = Matrix.of(weights, kernel[0] * kernel[1] * images.shape[3], bias)
    outputs, check = guarded((len(images), *size, len(bias)))
    numbers = np.array(
        [*images.shape, *kernel, *strides, *dilations, *before, *size], np.int64
    )
    with level(name) as lib:
        result = lib.kc_sparse_conv2d(
            ctypes.byref(matrix), pointer(numbers), pointer(images), pointer(outputs)
        )
    check()
    if result:
        raise Refused(f"result {result}")
    return outputs


def same_bits(one, other):
    """Equal bit for bit, where any NaN equals any NaN."""
    nan = np.isnan(one) & np.isnan(other)
    return bool((nan | (one.view(np.uint32) == other.view(np.uint32))).all())
