"""What inference layers without zeros have in common: their kernel's variables."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sparse import compress, decompress
from keras_compress.functional.sparse_layouts import LAYOUTS, PARTS, part_shapes
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.layers.packed._storage import ChosenStorage


class SparseKernel(ChosenStorage, NativeLayer):
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

    def add_kernel(self, inputs, outputs):
        """Adds the variables of a kernel of this many inputs and outputs."""
        self.kernel_shape = (inputs, outputs)
        shapes = part_shapes(self.layout, self.stored, inputs, outputs)
        for name, (length, dtype) in shapes.items():
            setattr(self, name, self._add(name, (length,), dtype))
        self.bias = self._add("bias", (outputs,)) if self.use_bias else None

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

    def _parts(self):
        return [getattr(self, name) for name in PARTS[self.layout]]

    def op_weights(self):
        """What the ops take after the inputs: the parts, and the bias."""
        outputs = self.kernel_shape[1]
        bias = ops.zeros((outputs,), "float32") if self.bias is None else self.bias
        parts = [ops.convert_to_tensor(part) for part in self._parts()]
        return parts, ops.convert_to_tensor(bias)
