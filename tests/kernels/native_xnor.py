"""The C functions for packed signs, for tests: numpy in, numpy out."""

import contextlib
import ctypes

import numpy as np

from tests.kernels import native

CANARY = np.uint32(0xDEADBEEF)
OUTPUTS = {"float32": np.float32, "int32": np.int32, "bits": np.uint32}


class Layer(ctypes.Structure):
    """`KcXnorLayer` of xnor_api.h."""

    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("units", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in ("signs", "masks", "kept", "scale", "bias", "thresholds")
        ),
        ("flips", ctypes.c_void_p),
        ("output", ctypes.c_int64),
    )


def tables():
    """Every level, and the best one as CPUs that can do less than this one run it."""
    names = native.level_names()
    return [*names, f"{names[-1]} without extensions"] if names else []


@contextlib.contextmanager
def table(name):
    level, *less = name.split(" without ")
    with native.level(level) as lib:
        lib.kc_use_extensions(0 if less else 1)
        try:
            yield lib
        finally:
            lib.kc_use_extensions(1)


@contextlib.contextmanager
def threads(count):
    lib = native.library()
    before = lib.kc_threads()
    lib.kc_set_threads(count)
    try:
        yield lib
    finally:
        lib.kc_set_threads(before)


def guarded(shape, dtype):
    """Outputs between canaries, and a function that checks them."""
    size = int(np.prod(shape))
    held = np.full(size + 128, CANARY, np.uint32)

    def check():
        assert (held[:64] == CANARY).all(), "wrote before the outputs"
        assert (held[64 + size :] == CANARY).all(), "wrote after the outputs"

    return held[64 : 64 + size].view(dtype).reshape(shape), check


def address(array):
    return None if array is None or not array.size else array.ctypes.data


def layer(inputs, weights, output, scale=None, bias=None, thresholds=None, flips=None):
    arrays = (*weights, scale, bias, thresholds, flips)
    number = list(OUTPUTS).index(output)
    made = Layer(inputs, len(weights[2]), *map(address, arrays), number)
    made.keep = arrays
    return made


def pack(name, inputs):
    words, check = guarded((len(inputs), -(-inputs.shape[1] // 32)), np.uint32)
    with table(name) as lib:
        sizes = (ctypes.c_int64(n) for n in inputs.shape)
        result = lib.kc_xnor_pack(native.pointer(inputs), *sizes, native.pointer(words))
    check()
    if result:
        raise native.Refused(f"result {result}")
    return words


def chain(name, inputs, layers):
    last = layers[-1]
    output = list(OUTPUTS)[last.output]
    width = -(-last.units // 32) if output == "bits" else last.units
    outputs, check = guarded((len(inputs), width), OUTPUTS[output])
    with table(name) as lib:
        result = lib.kc_xnor_chain(
            (Layer * len(layers))(*layers),
            ctypes.c_int64(len(layers)),
            int(inputs.dtype == np.uint32),
            native.pointer(inputs),
            ctypes.c_int64(len(inputs)),
            native.pointer(outputs),
        )
    check()
    if result:
        raise native.Refused(f"result {result}")
    return outputs
