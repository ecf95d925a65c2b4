"""Plain layers of inference whose weights lie compact in files."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import invalid
from keras_compress.layers._hosts import Conv2DHost, DenseHost
from keras_compress.layers.packed._storage import CompactWeights


class CompactKernel(CompactWeights):
    """Fills a host."""

    def fill(self, kernel, bias=None):
        """Stores a kernel and a bias.

        Args:
            kernel: Array of the kernel's shape.
            bias: Array of one number an output; `None` without `use_bias`.

        Raises:
            ValueError: If the layer is not built, or a shape does not fit.
        """
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has a kernel: call it "
                "on data once, or call build(input_shape)."
            )
        wanted = {"kernel": self.kernel, "bias": self.bias}
        for name, value in (("kernel", kernel), ("bias", bias)):
            shape = None if wanted[name] is None else tuple(wanted[name].shape)
            given = None if value is None else np.shape(value)
            if given != shape:
                raise invalid(name, f"of shape {shape}", given)
            if value is not None:
                wanted[name].assign(ops.convert_to_tensor(value))


@keras.saving.register_keras_serializable("keras_compress")
class CompactDense(CompactKernel, DenseHost):
    """`Dense` whose kernel lies in files as gaps between zeros, and shared values.

    Made by `keras_compress.pack(model, storage="compact")`. In memory, and in all it
    computes, it is `Dense`.

    Args:
        units: Positive integer, size of the output.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Example:

    >>> layer = CompactDense(2)
    >>> layer.build((None, 3))
    >>> store = {}
    >>> layer.save_own_variables(store)
    >>> list(store), store["compact"].dtype.name
    (['compact'], 'uint8')
    """


@keras.saving.register_keras_serializable("keras_compress")
class CompactConv2D(CompactKernel, Conv2DHost):
    """`Conv2D` whose kernel lies in files as gaps between zeros, and shared values.

    Made by `keras_compress.pack(model, storage="compact")`. In memory, and in all it
    computes, it is `Conv2D`.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Example:

    >>> layer = CompactConv2D(2, 3)
    >>> layer.build((None, 8, 8, 1))
    >>> store = {}
    >>> layer.save_own_variables(store)
    >>> list(store)
    ['compact']
    """
