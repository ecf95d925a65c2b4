"""Writes the float and int8 models of LiteRT, for runtimes.py: models.py <folder>."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from side_by_side import BATCHES, CONVOLUTIONS, INTEGERS, SHAPES


class Layer(tf.Module):
    """A product or a convolution with a bias."""

    def __init__(self, shape):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal(shape, [1, 2]))
        self.bias = tf.Variable(tf.random.stateless_normal(shape[-1:], [3, 4]))

    def __call__(self, x):
        if len(self.kernel.shape) == 2:
            return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, 1, "SAME"), self.bias)


def write(file, layer, shape, *, int8=False, floats=False):
    """Integers of 8 bits with `int8`, between floats with `floats`."""
    spec = tf.TensorSpec(shape, tf.float32)
    traced = tf.function(layer.__call__).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], layer)
    if int8:
        random = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [random.standard_normal((shape[0] or 1, *shape[1:])).astype(np.float32)]
            for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if not floats:
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
    file.write_bytes(converter.convert())


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for inputs, units in SHAPES:
        layer = Layer([inputs, units])
        for batch in BATCHES:
            name = f"{inputs}x{units}_{batch}"
            write(folder / f"float_{name}.tflite", layer, [batch, inputs])
            write(folder / f"int8_{name}.tflite", layer, [batch, inputs], int8=True)
    for inputs, units in INTEGERS:
        layer, name = Layer([inputs, units]), f"{inputs}x{units}.tflite"
        write(folder / f"any_float_{name}", layer, [None, inputs])
        write(folder / f"any_int8_{name}", layer, [None, inputs], int8=True)
        write(
            folder / f"any_quantized_{name}",
            layer,
            [None, inputs],
            int8=True,
            floats=True,
        )
    for size, channels in CONVOLUTIONS:
        layer = Layer([3, 3, channels, channels])
        file = folder / f"conv_{size}x{channels}.tflite"
        write(file, layer, [1, size, size, channels])


if __name__ == "__main__":
    main()
