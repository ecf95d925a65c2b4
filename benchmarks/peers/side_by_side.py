"""Our kernels, the shapes and the clock that the peers are measured with.

Every peer and our kernel for the same work take turns in one process, of one thread,
and the fastest of many turns counts: on a machine that others use too, that is the
one number that they do not disturb.
"""

import ctypes
import json
import sys
import time
import types
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "peers"
SHAPES = [(784, 1024), (1024, 1024), (2048, 2048), (4096, 4096)]
BATCHES = [1, 64]
INTEGERS = [(1024, 1024), (4096, 4096)]
CONVOLUTIONS = [(56, 64), (28, 128), (14, 256), (7, 512)]

# The package without what it loads: the environments of peers have no Keras 3.
if "tensorflow" not in sys.modules:
    package = types.ModuleType("keras_compress")
    package.__path__ = [str(ROOT / "keras_compress")]
    sys.modules.setdefault("keras_compress", package)
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def fastest(functions, seconds=4.0):
    """The fastest call of each function in microseconds, taken in turns."""
    repeats = []
    for function in functions.values():
        function()
        start = time.perf_counter()
        function()
        repeats.append(max(1, int(2e-4 / (time.perf_counter() - start))))
    best = dict.fromkeys(functions, float("inf"))
    end = time.perf_counter() + seconds
    turns = 0
    while turns < 5 or time.perf_counter() < end:
        turns += 1
        for (name, function), count in zip(functions.items(), repeats, strict=True):
            function()  # what it needs is in the caches
            start = time.perf_counter()
            for _ in range(count):
                function()
            best[name] = min(best[name], (time.perf_counter() - start) / count)
    return {name: 1e6 * time for name, time in best.items()}


def kernels():
    from bench_bitwise import Kernel

    kernel = Kernel(BUILD / "kernels.so")
    kernel.library.kc_set_threads(1)
    return kernel


def products(kernel, inputs, units, batch):
    """Our product from floats and from bits, to floats."""
    from turns import aligned

    from keras_compress.functional import signs

    random = np.random.default_rng(0)
    matrix = random.standard_normal((inputs, units)).astype(np.float32)
    weights = [aligned(array) for array in signs.pack_kernel(matrix)]
    floats = aligned(random.standard_normal((batch, inputs)).astype(np.float32))
    outputs = aligned(np.zeros((batch, units), np.float32))
    bias = aligned(np.zeros(units, np.float32))
    packed = aligned(signs.pack_signs(floats))
    return {
        "ours": kernel.call(floats, inputs, weights, bias, outputs),
        "ours from bits": kernel.call(packed, inputs, weights, bias, outputs),
    }


def convolution(kernel, size, channels):
    """Our 3x3 convolution of one image, from floats to floats."""
    from bench_bitwise import Layer
    from turns import aligned

    from keras_compress.functional import sign_images

    random = np.random.default_rng(0)
    weights = sign_images.pack_conv2d_kernel(
        random.standard_normal((3, 3, channels, channels)).astype(np.float32)
    )
    shape = (1, size, size, channels)
    images = aligned(random.standard_normal(shape).astype(np.float32))
    outputs = aligned(np.zeros(shape, np.float32))
    panels, _, kept = (aligned(array) for array in weights)
    bias = aligned(np.zeros(channels, np.float32))
    layer = Layer(9 * channels, channels, panels.ctypes.data, None, kept.ctypes.data)
    layer.bias = bias.ctypes.data
    geometry = np.array([*shape, 3, 3, 1, 1, 1, 1, 1, 1, size, size], np.int64)
    keep = panels, kept, bias, images, outputs, geometry

    def call(zeros):
        return lambda: (
            kernel.library.kc_xnor_conv2d(
                ctypes.byref(layer),
                ctypes.c_void_p(geometry.ctypes.data),
                zeros,
                0,
                ctypes.c_void_p(images.ctypes.data),
                ctypes.c_void_p(outputs.ctypes.data),
            )
            and keep
        )

    return {"ours": call(0), "ours, zeros": call(1)}


def report(what, times, ours):
    """Prints a row: the times, and how many times as long each peer takes."""
    row = {"what": what} | {name: round(time, 2) for name, time in times.items()}
    for name, mine in ours.items():
        row[f"{name} / {mine}"] = round(times[name] / times[mine], 2)
    print(json.dumps(row), flush=True)
