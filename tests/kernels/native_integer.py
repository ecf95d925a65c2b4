"""The C functions for integer products, for tests: numpy in, numpy out."""

import ctypes

import numpy as np

from keras_compress.functional import integers
from keras_compress.functional.integer_blocks import pack_blocks
from tests.kernels import native
from tests.kernels.native_xnor import table

KINDS = {"float32": 0, "int32": 1, "int8": 2, "uint8": 3, "int16": 4}
CANARY = 0xA5


class Product(ctypes.Structure):
    """`KcIntegerProduct` of integer_api.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "units", "bits")),
        *((name, ctypes.c_void_p) for name in ("panels", "column_sums", "bias")),
        *((name, ctypes.c_int64) for name in ("row_kind", "fraction")),
        *((name, ctypes.c_int64) for name in ("low", "high", "rounding")),
        *((name, ctypes.c_int64) for name in ("output_kind", "requantize")),
        *((f"output_{name}", ctypes.c_int64) for name in ("low", "high", "rounding")),
        *((name, ctypes.c_void_p) for name in ("shifts", "scales")),
        ("blocks", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("indices", "starts")),
    )


def address(array):
    return None if array is None or not array.size else array.ctypes.data


def matmul(
    name,
    rows,
    codes,
    bias,
    *,
    bits=8,
    fraction=0,
    limits=(-128, 127),
    rounding="nearest_even",
    output="int32",
    requantize=None,
    scales=None,
    unaligned=False,
    blocks=None,
):
    """`requantize`: `(shifts, low, high, rounding)` or `None`.

    `blocks`: `None`; `True`: as `pack_blocks` has it; or arrays of that kind.
    """
    copy = native.unaligned if unaligned else np.ascontiguousarray
    rows, bias = copy(rows), copy(np.asarray(bias, np.int32))
    if blocks is None:
        panels, indices, starts = integers.pack_panels(codes, bits), None, None
    else:
        panels, indices, starts = pack_blocks(codes) if blocks is True else blocks
        indices, starts = copy(indices), copy(starts)
    panels = copy(panels)
    sums = codes.sum(axis=0).astype(np.int32)
    shifts, low, high, how = requantize or (None, 0, 0, "nearest_even")
    shifts = None if shifts is None else np.asarray(shifts, np.int32)
    scales = None if scales is None else np.asarray(scales, np.float32)
    inputs, units = codes.shape
    product = Product(
        *(inputs, units, bits),
        *map(address, (panels, sums, bias)),
        KINDS[str(rows.dtype)],
        *(fraction, *limits, integers.ROUNDINGS.index(rounding)),
        *(KINDS[output], int(requantize is not None)),
        *(low, high, integers.ROUNDINGS.index(how)),
        *map(address, (shifts, scales)),
        0 if blocks is None else len(panels),
        *map(address, (indices, starts)),
    )
    size = len(rows) * units * np.dtype(output).itemsize
    held = np.full(size + 512, CANARY, np.uint8)
    with table(name) as lib:
        result = lib.kc_integer_matmul(
            ctypes.byref(product),
            native.pointer(rows),
            ctypes.c_int64(len(rows)),
            ctypes.c_void_p(held.ctypes.data + 256),
        )
    assert (held[:256] == CANARY).all(), "wrote before the outputs"
    assert (held[256 + size :] == CANARY).all(), "wrote after the outputs"
    if result:
        raise native.Refused(f"result {result}")
    return held[256 : 256 + size].view(output).reshape(len(rows), units)
