"""Larq Compute Engine beside our kernels.

build/peers/larq/bin/python benchmarks/peers/larq_engine.py
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import (  # isort: skip
    BATCHES,
    CONVOLUTIONS,
    SHAPES,
    convolution,
    fastest,
    kernels,
    products,
    report,
)

import larq
import larq_compute_engine
import numpy as np
import tf_keras
from larq_compute_engine.tflite.python.interpreter import Interpreter


def engine(shape, filters, size):
    """A binary convolution as the engine runs it, in both of its ways."""
    layer = larq.layers.QuantConv2D(
        filters,
        size,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=True,
        bias_initializer="normal",
        input_shape=shape[1:],
        batch_size=shape[0],
    )
    model = larq_compute_engine.convert_keras_model(tf_keras.Sequential([layer]))
    inputs = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def way(indirect):
        interpreter = Interpreter(model, num_threads=1, use_indirect_bgemm=indirect)
        return lambda: interpreter.predict(inputs)

    return {"LCE": way(False), "LCE indirect": way(True)}


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    kernel = kernels()
    ours = {"LCE": "ours", "LCE indirect": "ours"}
    for inputs, units in SHAPES:
        for batch in BATCHES:
            candidates = products(kernel, inputs, units, batch)
            # It has no product: a convolution of one pixel an image is one.
            candidates |= engine((1, 1, batch, inputs), units, 1)
            report(f"{inputs}x{units}, batch {batch}", fastest(candidates), ours)
    for size, channels in CONVOLUTIONS:
        candidates = convolution(kernel, size, channels)
        candidates |= engine((1, size, size, channels), channels, 3)
        report(f"3x3, {size}x{size}x{channels}", fastest(candidates), ours)


if __name__ == "__main__":
    main()
