"""The inference layer that multiplies by two factors in one op."""

import keras
from keras import ops

from keras_compress._validation import check_int, invalid
from keras_compress.functional.panels import from_panels, to_panels
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.ops import low_rank_matmul


@keras.saving.register_keras_serializable("keras_compress")
class PackedLowRankDense(NativeLayer):
    """The inference form of `LowRankDense`: both products in one op.

    Made by `keras_compress.pack`. Computes `activation(inputs @ left @ right + bias)`
    in float32, a block of rows after the other. Not trainable. Files hold the factors
    as matrices.

    Args:
        units: Positive integer, size of the output.
        rank: Positive integer.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        kernel_rank: The rank.
        left_panels: Variable `(input_dim * rank,)`, the first factor as
            `keras_compress.functional.panels.to_panels` has it.
        right_panels: Variable `(rank * units,)`, the second one.

    Input shape:
        `(batch, ..., input_dim)`. Sparse tensors are made dense.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If `units` or `rank` is out of range.

    Example:

    >>> layer = PackedLowRankDense(2, rank=1, use_bias=False)
    >>> layer.build((None, 3))
    >>> layer.fill([[1.0], [2.0], [3.0]], [[1.0, -1.0]])
    >>> layer(np.array([[1.0, 1.0, 1.0]])).numpy()
    array([[ 6., -6.]], dtype=float32)
    """

    def __init__(self, units, rank, *, activation=None, use_bias=True, **kwargs):
        self.units = check_int("units", units, minimum=1)
        self.kernel_rank = check_int("rank", rank, minimum=1)
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        self.input_dim = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: self.input_dim})
        left, right = self.input_dim * self.kernel_rank, self.kernel_rank * self.units
        self.left_panels = self._add("left_panels", (left,))
        self.right_panels = self._add("right_panels", (right,))
        self.bias = self._add("bias", (self.units,)) if self.use_bias else None

    def call(self, inputs):
        # The op takes no tf.SparseTensor, which `keras.Input(sparse=True)` gives.
        inputs = ops.convert_to_tensor(ops.cast(inputs, "float32"), sparse=False)
        bias = ops.zeros((self.units,)) if self.bias is None else self.bias
        relu = self.activation is keras.activations.relu
        outputs = low_rank_matmul(
            inputs,
            ops.convert_to_tensor(self.left_panels),
            ops.convert_to_tensor(self.right_panels),
            ops.convert_to_tensor(bias),
            rank=self.kernel_rank,
            activation="relu" if relu else "linear",
        )
        outputs = ops.cast(outputs, self.compute_dtype)
        return outputs if relu else self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    @property
    def factors(self):
        """The two factors as float32 matrices, by name, in order of use."""
        self._check_built("factors")
        arrays = [
            ops.convert_to_numpy(part) for part in (self.left_panels, self.right_panels)
        ]
        shapes = self._shapes().items()
        return {
            name: from_panels(array, *shape)
            for array, (name, shape) in zip(arrays, shapes, strict=True)
        }

    def effective_kernel(self):
        """The product of the factors, `(input_dim, units)`."""
        left, right = self.factors.values()
        return left @ right

    def fill(self, left, right, bias=None):
        """Stores the factors.

        Args:
            left: Array `(input_dim, rank)`.
            right: Array `(rank, units)`.
            bias: Array `(units,)`; `None` without `use_bias`.

        Raises:
            ValueError: If the layer is not built, there is no bias but a place for it,
                or a shape does not fit.
        """
        self._check_built("factors")
        given = {"left": left, "right": right}
        for name, shape in self._shapes().items():
            given[name] = ops.convert_to_numpy(given[name]).astype("float32")
            if given[name].shape != shape:
                raise invalid(name, f"of shape {shape}", given[name].shape)
        if self.use_bias:
            shape = None if bias is None else tuple(ops.shape(bias))
            if shape != (self.units,):
                raise invalid("bias", f"of shape {(self.units,)}", shape)
        self.left_panels.assign(to_panels(given["left"]))
        self.right_panels.assign(to_panels(given["right"]))
        if self.bias is not None:
            self.bias.assign(bias)

    def save_own_variables(self, store):
        for name, matrix in self.factors.items():
            store[name] = matrix
        if self.bias is not None:
            store["bias"] = ops.convert_to_numpy(self.bias)

    def load_own_variables(self, store):
        names = ["left", "right"] + ["bias"] * self.use_bias
        missing = [name for name in names if name not in store.keys()]
        if missing:
            raise ValueError(
                f"The weights of layer {self.name!r} cannot be read: there is no "
                f"{', '.join(missing)}. The file is damaged, or of another layer."
            )
        self.fill(*(store[name] for name in names))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "rank": self.kernel_rank,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }

    def _shapes(self):
        return {
            "left": (self.input_dim, self.kernel_rank),
            "right": (self.kernel_rank, self.units),
        }
