"""The C functions of the library, for tests: numpy in, numpy out."""

import contextlib
import ctypes

import numpy as np
import pytest

from keras_compress.functional.sparse import compress
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


def weights_of(matrix, dtype=None):
    values, indices, starts = compress(matrix)
    return values, indices.astype(dtype or indices.dtype), starts


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
    values, indices, starts = weights
    outputs, check = guarded((inputs.shape[0], len(starts) - 1))
    with level(name) as lib:
        result = lib.kc_sparse_matmul(
            pointer(inputs),
            ctypes.c_int64(inputs.shape[0]),
            ctypes.c_int64(inputs.shape[1]),
            ctypes.c_int64(len(starts) - 1),
            pointer(values),
            pointer(indices),
            indices.itemsize,
            ctypes.c_int64(len(values)),
            pointer(starts),
            pointer(bias),
            pointer(outputs),
        )
    check()
    if result:
        raise Refused(f"result {result}")
    return outputs


def conv2d(name, images, weights, bias, geometry):
    """`geometry`: kernel, strides, dilations, padding before, output size, pairs."""
    values, indices, starts = weights
    kernel, strides, dilations, before, size = geometry
    outputs, check = guarded((len(images), *size, len(starts) - 1))
    numbers = np.array(
        [*images.shape, *kernel, *strides, *dilations, *before, *size], np.int64
    )
    with level(name) as lib:
        result = lib.kc_sparse_conv2d(
            pointer(images),
            pointer(numbers),
            ctypes.c_int64(len(starts) - 1),
            pointer(values),
            pointer(indices),
            indices.itemsize,
            ctypes.c_int64(len(values)),
            pointer(starts),
            pointer(bias),
            pointer(outputs),
        )
    check()
    if result:
        raise Refused(f"result {result}")
    return outputs


def same_bits(one, other):
    """Equal bit for bit, where any NaN equals any NaN."""
    nan = np.isnan(one) & np.isnan(other)
    return bool((nan | (one.view(np.uint32) == other.view(np.uint32))).all())
