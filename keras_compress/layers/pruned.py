"""Pruned layers: each is its Keras parent with a mask on the kernel."""

import dataclasses
from typing import ClassVar

import keras

from keras_compress.functional import patterns
from keras_compress.layers._config import SwapConfig
from keras_compress.layers._hosts import (
    Conv1DHost,
    Conv2DHost,
    DenseHost,
    DepthwiseConv2DHost,
)
from keras_compress.layers._pruned_kernel import Pruned as Pruned
from keras_compress.layers._pruned_kernel import is_pruned as is_pruned
from keras_compress.layers._pruned_kernel import packed_bytes as packed_bytes
from keras_compress.layers._pruned_kernel import prune_together as prune_together
from keras_compress.layers._pruned_kernel import sparse_layout as sparse_layout
from keras_compress.layers._pruned_kernel import total_sparsity as total_sparsity


@keras.saving.register_keras_serializable("keras_compress")
class PrunedDense(Pruned, DenseHost):
    """`Dense` with a pruning mask on the kernel.

    Computes `activation(inputs @ where(mask, kernel, 0) + bias)`. With a full mask it
    equals `Dense` exactly. Masked weights get no gradient. The mask is applied in the
    forward pass, so no optimizer, weight decay or moving average can undo it.

    Args:
        units: Positive integer, size of the output.
        pattern: Which weights are masked together: `None` (single weights), `"N:M"`
            (N of every M consecutive inputs stay), `(inputs, outputs)` (blocks), or
            `"neuron"` (whole columns of the kernel; the bias stays).
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Attributes:
        mask: Boolean Keras variable of the kernel's shape, `False` where a weight is
            masked. Assignable.
        sparsity: Fraction of zeros in the mask, in `[0, 1]`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedDense(4)
    >>> layer.build((None, 8))
    >>> layer.prune(sparsity=0.75)
    >>> layer.sparsity
    0.75

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626)
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedConv2D(Pruned, Conv2DHost):
    """`Conv2D` with a pruning mask on the kernel.

    Convolves with `where(mask, kernel, 0)`. With a full mask it equals `Conv2D`
    exactly. For patterns the kernel is read as a matrix of height x width x input
    channels by filters.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        pattern: As in `PrunedDense`; `"neuron"` masks whole filters.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        mask: Boolean Keras variable of the kernel's shape, `False` where a weight is
            masked. Assignable.
        sparsity: Fraction of zeros in the mask, in `[0, 1]`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedConv2D(4, 3, pattern="neuron")
    >>> layer.build((None, 8, 8, 2))
    >>> layer.prune(sparsity=0.5)
    >>> layer.sparsity
    0.5

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626)
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedConv1D(Pruned, Conv1DHost):
    """`Conv1D` with a pruning mask on the kernel.

    Convolves with `where(mask, kernel, 0)`. With a full mask it equals `Conv1D`
    exactly. For patterns the kernel is read as a matrix of steps x input channels by
    filters.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer, length of the window.
        pattern: As in `PrunedDense`; `"neuron"` masks whole filters.
        **kwargs: Every other argument of `keras.layers.Conv1D`, except LoRA.

    Attributes:
        mask: Boolean Keras variable of the kernel's shape, `False` where a weight is
            masked. Assignable.
        sparsity: Fraction of zeros in the mask, in `[0, 1]`.

    Input shape:
        `(batch, steps, channels)`, or `(batch, channels, steps)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.Conv1D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedConv1D(4, 3, pattern="2:4", padding="causal")
    >>> layer.build((None, 16, 4))
    >>> layer.prune(sparsity=0.5)
    >>> layer.sparsity
    0.5

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626)
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedDepthwiseConv2D(Pruned, DepthwiseConv2DHost):
    """`DepthwiseConv2D` with a pruning mask on the kernel.

    Convolves with `where(mask, kernel, 0)`. With a full mask it equals
    `DepthwiseConv2D` exactly. For patterns the kernel is read as a matrix of height x
    width by channels x depth multiplier, which is the order of the outputs.

    Args:
        kernel_size: Integer or pair of integers, height and width of the window.
        pattern: As in `PrunedDense`; `"neuron"` masks whole channels. There is no N:M,
            for an output reads one channel only.
        **kwargs: Every other argument of `keras.layers.DepthwiseConv2D`.

    Attributes:
        mask: Boolean Keras variable of the kernel's shape, `False` where a weight is
            masked. Assignable.
        sparsity: Fraction of zeros in the mask, in `[0, 1]`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.DepthwiseConv2D`.

    Raises:
        ValueError: If an argument is out of range, or `pattern` is N:M.

    Example:

    >>> layer = PrunedDepthwiseConv2D(3, pattern="neuron")
    >>> layer.build((None, 8, 8, 4))
    >>> layer.prune(sparsity=0.5)
    >>> layer.sparsity
    0.5

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626)
    """


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class Prune(SwapConfig):
    """Swaps `Dense`, `Conv1D`, `Conv2D` and `DepthwiseConv2D` for pruned layers.

    A swap prunes nothing yet: that is the work of `IterativePruning`, of
    `keras_compress.prune`, or of a call of `layer.prune`. Swapping a pruned layer again
    keeps its mask.

    Args:
        pattern: Which weights are masked together, as in `PrunedDense`. With N:M,
            depthwise convolutions are not supported, and stay as they are.

    Raises:
        ValueError: If `pattern` is unknown.

    Example:

    >>> Prune(pattern=(1, 16))
    Prune(pattern=(1, 16))
    """

    pattern: str | tuple | None = None

    layers: ClassVar[dict] = {
        keras.layers.Dense: PrunedDense,
        keras.layers.Conv1D: PrunedConv1D,
        keras.layers.Conv2D: PrunedConv2D,
        keras.layers.DepthwiseConv2D: PrunedDepthwiseConv2D,
        PrunedDense: PrunedDense,
        PrunedConv1D: PrunedConv1D,
        PrunedConv2D: PrunedConv2D,
        PrunedDepthwiseConv2D: PrunedDepthwiseConv2D,
    }

    def __post_init__(self):
        object.__setattr__(self, "pattern", patterns.check_pattern(self.pattern))

    def supports(self, layer):
        if patterns.n_of_m(self.pattern) is not None and isinstance(
            layer, keras.layers.DepthwiseConv2D
        ):
            return False
        return super().supports(layer)
