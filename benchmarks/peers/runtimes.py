"""XNNPACK through LiteRT, NumKong and FAISS beside our kernels.

build/peers/runtime/bin/python benchmarks/peers/runtimes.py
"""

import os

import faiss
import numkong
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from side_by_side import (
    BATCHES,
    BUILD,
    CONVOLUTIONS,
    SHAPES,
    convolution,
    fastest,
    kernels,
    products,
    report,
)


def litert(name):
    interpreter = Interpreter(str(BUILD / "models" / f"{name}.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    values = np.random.default_rng(0).standard_normal(given["shape"])
    interpreter.set_tensor(given["index"], (10 * values).astype(given["dtype"]))
    return interpreter.invoke


def distances(inputs, units, batch):
    """The products of bits alone: no floats go in, no bias is added."""
    random = np.random.default_rng(0)
    rows, weights = (
        random.integers(0, 256, (count, inputs // 8), np.uint8)
        for count in (batch, units)
    )
    packed = numkong.hammings_pack(weights, dtype="uint1")
    out = numkong.empty((batch, units), dtype="uint32")
    counts = np.zeros((batch, units), np.int32)
    pointers = faiss.swig_ptr(rows), faiss.swig_ptr(weights)
    return {
        "NumKong": lambda: numkong.hammings_packed(rows, packed, out=out),
        "FAISS": lambda: faiss.hammings(
            *pointers, batch, units, inputs // 8, faiss.swig_ptr(counts)
        ),
    }


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    kernel = kernels()
    for inputs, units in SHAPES:
        for batch in BATCHES:
            name = f"{inputs}x{units}_{batch}"
            candidates = products(kernel, inputs, units, batch)
            candidates["XNNPACK float"] = litert(f"float_{name}")
            candidates["XNNPACK int8"] = litert(f"int8_{name}")
            candidates |= distances(inputs, units, batch)
            ours = {"XNNPACK float": "ours", "XNNPACK int8": "ours"}
            ours |= dict.fromkeys(("NumKong", "FAISS"), "ours from bits")
            report(f"{inputs}x{units}, batch {batch}", fastest(candidates), ours)
    for size, channels in CONVOLUTIONS:
        candidates = convolution(kernel, size, channels)
        candidates["XNNPACK float"] = litert(f"conv_{size}x{channels}")
        ours = {"XNNPACK float": "ours"}
        report(f"3x3, {size}x{size}x{channels}", fastest(candidates), ours)


if __name__ == "__main__":
    main()
