"""Inference layers that store and multiply non-zero weights only."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sparse import compress, decompress
from keras_compress.functional.sparse_layouts import LAYOUTS, PARTS, part_shapes
from keras_compress.layers.packed._windows import output_sizes, pair
from keras_compress.ops import sparse_conv2d, sparse_matmul


class SparseKernel(keras.layers.Layer):
    """Variables of a kernel without its zeros, in one of several layouts.

    `values` (float32) and the other arrays that
    `keras_compress.functional.sparse.compress` makes of the kernel as a matrix of
    inputs by outputs; each is a variable of its name.
    """

    def __init__(
        self,
        nonzeros,
        *,
        layout="csc",
        stored=None,
        activation=None,
        use_bias=True,
        **kwargs,
    ):
        self.nonzeros = check_int("nonzeros", nonzeros, minimum=0)
        self.layout = check_choice("layout", layout, LAYOUTS)
        stored = nonzeros if stored is None else stored
        self.stored = check_int("stored", stored, minimum=nonzeros)
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.trainable = False
        # The native op has no XLA kernel.
        self.supports_jit = False

    def add_kernel(self, inputs, outputs):
        """Adds the variables of a kernel of this many inputs and outputs."""
        self.kernel_shape = (inputs, outputs)
        shapes = part_shapes(self.layout, self.stored, inputs, outputs)
        for name, (length, dtype) in shapes.items():
            setattr(self, name, self._add(name, length, dtype))
        self.bias = self._add("bias", outputs, "float32") if self.use_bias else None

    def fill(self, kernel, bias=None):
        """Stores a kernel, whose non-zero weights must number `nonzeros`.

        Args:
            kernel: Array whose last axis is the outputs.
            bias: Array of one number an output; `None` without `use_bias`.

        Raises:
            ValueError: If the layer is not built, there is no bias but a place for it,
                or a shape or the number of non-zero weights does not fit.
        """
        self._check_built()
        matrix = np.asarray(kernel, "float32").reshape(-1, np.shape(kernel)[-1])
        if matrix.shape != self.kernel_shape:
            raise invalid("kernel", f"of shape {self.kernel_shape}", matrix.shape)
        nonzeros = np.count_nonzero(matrix)
        if nonzeros != self.nonzeros:
            raise invalid("kernel", f"of {self.nonzeros} non-zeros", nonzeros)
        self.store(compress(matrix, self.layout), bias)

    def store(self, weights, bias=None):
        """Stores a kernel that is compressed already.

        Args:
            weights: The arrays that `keras_compress.functional.sparse.compress` gives
                for the layer's layout.
            bias: Array of one number an output; `None` without `use_bias`.

        Raises:
            ValueError: If the layer is not built, there is no bias but a place for it,
                or a shape does not fit.
        """
        self._check_built()
        variables = self._parts()
        for variable, array in zip(variables, weights, strict=True):
            if np.shape(array) != tuple(variable.shape):
                expected = f"of shape {tuple(variable.shape)} in the kernel's layout"
                raise invalid(variable.name, expected, np.shape(array))
        if self.use_bias:
            shape = None if bias is None else np.shape(bias)
            if shape != self.kernel_shape[1:]:
                raise invalid("bias", f"of shape {self.kernel_shape[1:]}", shape)
        for variable, array in zip(variables, weights, strict=True):
            variable.assign(array)
        if self.bias is not None:
            self.bias.assign(bias)

    def effective_kernel(self):
        """The kernel as a dense matrix of inputs by outputs, float32.

        Raises:
            ValueError: If the layer is not built.
        """
        self._check_built()
        arrays = [ops.convert_to_numpy(part) for part in self._parts()]
        return decompress(arrays, *self.kernel_shape, self.layout)

    def finish(self, outputs):
        """Casts to the compute dtype and applies the activation."""
        outputs = ops.cast(outputs, self.compute_dtype)
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self):
        return {
            **super().get_config(),
            "nonzeros": self.nonzeros,
            "layout": self.layout,
            "stored": self.stored,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }

    def _add(self, name, length, dtype):
        return self.add_weight(
            name=name,
            shape=(length,),
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def _check_built(self):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has a kernel: call it "
                "on data once, or call build(input_shape)."
            )

    def _parts(self):
        return [getattr(self, name) for name in PARTS[self.layout]]

    def _weights(self):
        """What the ops take after the inputs: the parts, and the bias."""
        outputs = self.kernel_shape[1]
        bias = ops.zeros((outputs,), "float32") if self.bias is None else self.bias
        parts = [ops.convert_to_tensor(part) for part in self._parts()]
        return parts, ops.convert_to_tensor(bias)


@keras.saving.register_keras_serializable("keras_compress")
class SparseDense(SparseKernel):
    """The inference form of `PrunedDense`: stores and multiplies non-zero weights only.

    Made by `keras_compress.pack`. Computes in float32. Not trainable.

    Args:
        units: Positive integer, size of the output.
        nonzeros: Integer >= 0, number of weights that are not zero.
        layout: `"csc"`, `"panel16"`, `"lanes"` or `"kblock"`, how they are stored; see
            `keras_compress.functional.sparse.compress`. The outputs are the same.
        stored: Integer, length of `values`, in which some layouts have zeros. Defaults
            to `nonzeros`.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ..., input_dim)`. Sparse tensors are made dense.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If `units`, `nonzeros`, `layout` or `stored` is out of range.

    Example:

    >>> layer = SparseDense(2, nonzeros=1, use_bias=False)
    >>> layer.build((None, 3))
    >>> layer.fill([[0.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    >>> layer(np.array([[1.0, 2.0, 3.0]])).numpy()
    array([[ 0., 10.]], dtype=float32)
    """

    def __init__(self, units, nonzeros, **kwargs):
        self.units = check_int("units", units, minimum=1)
        super().__init__(nonzeros, **kwargs)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.add_kernel(input_shape[-1], self.units)

    def call(self, inputs):
        # The op takes no tf.SparseTensor, which `keras.Input(sparse=True)` gives.
        inputs = ops.convert_to_tensor(ops.cast(inputs, "float32"), sparse=False)
        return self.finish(sparse_matmul(inputs, *self._weights(), layout=self.layout))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("keras_compress")
class SparseConv2D(SparseKernel):
    """The inference form of `PrunedConv2D`: non-zero weights only.

    Made by `keras_compress.pack`. Computes in float32. Not trainable.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Pair of integers, height and width of the window.
        nonzeros: Integer >= 0, number of weights that are not zero.
        layout: `"csc"`, `"panel16"`, `"lanes"` or `"kblock"`, how they are stored; see
            `keras_compress.functional.sparse.compress`. The outputs are the same.
        stored: Integer, length of `values`, in which some layouts have zeros. Defaults
            to `nonzeros`.
        strides: Pair of integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Pair of integers.
        activation: As in `keras.layers.Conv2D`.
        use_bias: As in `keras.layers.Conv2D`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = SparseConv2D(1, (1, 1), nonzeros=1, use_bias=False)
    >>> layer.build((None, 2, 2, 1))
    >>> layer.fill(np.full((1, 1, 1, 1), 3.0))
    >>> layer(np.ones((1, 2, 2, 1))).numpy().ravel()
    array([3., 3., 3., 3.], dtype=float32)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        nonzeros,
        *,
        strides=(1, 1),
        padding="valid",
        data_format="channels_last",
        dilation_rate=(1, 1),
        **kwargs,
    ):
        self.filters = check_int("filters", filters, minimum=1)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.padding = check_choice("padding", padding, ("valid", "same"))
        self.data_format = check_choice(
            "data_format", data_format, ("channels_last", "channels_first")
        )
        super().__init__(nonzeros, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: channels})
        height, width = self.kernel_size
        self.add_kernel(height * width * channels, self.filters)

    def call(self, inputs):
        inputs = ops.cast(inputs, "float32")
        if self.data_format == "channels_first":
            inputs = ops.transpose(inputs, (0, 2, 3, 1))
        outputs = sparse_conv2d(
            inputs,
            *self._weights(),
            layout=self.layout,
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dilations=self.dilation_rate,
        )
        if self.data_format == "channels_first":
            outputs = ops.transpose(outputs, (0, 3, 1, 2))
        return self.finish(outputs)

    def compute_output_shape(self, input_shape):
        last = self.data_format == "channels_last"
        sizes = input_shape[1:3] if last else input_shape[2:4]
        height, width = output_sizes(self, sizes)
        if last:
            return (input_shape[0], height, width, self.filters)
        return (input_shape[0], self.filters, height, width)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }
