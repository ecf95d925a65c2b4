"""Swap configs of single layers whose factors are known, or which stay as they are."""

import numpy as np
from keras import ops

from keras_compress.functional.low_rank import check_finite
from keras_compress.layers._config import SwapConfig, copy_variables


class Fitted(SwapConfig):
    """A `LowRank` for one layer, with the factors that were fitted to data.

    Args:
        config: The `LowRank`.
        rank: The rank.
        left: Array of `(inputs, rank)`.
        right: Array of `(rank, outputs)`.
        shift: Array of `(outputs,)` to add to the bias.
    """

    def __init__(self, config, rank, left, right, shift):
        self.config, self.rank = config, rank
        self.left, self.right, self.shift = left, right, shift

    @property
    def keeps_kernel(self):
        return self.config.keeps_kernel

    def convert(self, layer):
        new = self.config.new_layer(layer, self.rank)

        def fill():
            copy_bias(layer, new)
            for variable, value in zip(
                new.factors.values(), (self.left, self.right), strict=True
            ):
                variable.assign(np.reshape(value, variable.shape))
            if new.bias is not None:
                new.bias.assign_add(self.shift)

        return new, fill


class AsItIs(SwapConfig):
    """Leaves one layer as it is, and says why."""

    def __init__(self, kept):
        self.kept = kept

    def convert(self, layer):
        return self.kept


def kernel_of(layer):
    """The kernel that a layer computes with, as a finite array.

    Raises:
        ValueError: If it is not finite; names the layer.
    """
    has_own = hasattr(layer, "effective_kernel")
    kernel = layer.effective_kernel() if has_own else layer.kernel
    return check_finite(f"kernel of {layer.name}", ops.convert_to_numpy(kernel))


def copy_bias(source, target):
    """Gives `target` the bias of `source`, and what its activation has learnt."""
    copy_variables(_BiasAlone(source), target)


class _BiasAlone:
    """A layer as `copy_variables` sees it, without its kernel or factors."""

    def __init__(self, layer):
        self.activation = layer.activation
        kernels = {"kernel", "basis", *getattr(layer, "factor_names", ())}
        kernels |= set(getattr(layer, "order_names", ()))
        self.variables = [v for v in layer.variables if v.name not in kernels]
