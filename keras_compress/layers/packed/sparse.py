"""Inference layers that store and multiply non-zero weights only."""

import keras
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.layers.packed._sparse_kernel import SparseKernel
from keras_compress.layers.packed._windows import output_sizes, pair
from keras_compress.ops import sparse_conv2d, sparse_matmul


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
        return self.finish(
            sparse_matmul(inputs, *self.op_weights(), layout=self.layout)
        )

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
            *self.op_weights(),
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
