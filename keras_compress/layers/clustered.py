"""Weight sharing: layers whose weights take few values, which train."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.functional import clustering
from keras_compress.layers._clustered_kernel import Clustered, unmasked_kernel
from keras_compress.layers._config import SwapConfig, copy_variables
from keras_compress.layers._hosts import Conv2DHost, DenseHost
from keras_compress.layers.pruned import (
    Prune,
    Pruned,
    PrunedConv2D,
    PrunedDense,
    is_pruned,
)


@keras.saving.register_keras_serializable("keras_compress")
class ClusteredDense(Clustered, DenseHost):
    """`Dense` whose weights share a few values.

    Until `cluster` is called it is `Dense`, exactly. From then on the kernel is
    `codebook[assignments]`: the centroids train, each by the sum of the gradients of
    its weights, and the assignments stay. `keras_compress.swap` with
    `keras_compress.Cluster` calls `cluster` at once.

    Args:
        units: Positive integer, size of the output.
        bits: Integer in `[1, 8]`: weights have `2 ** bits` values at most.
        init: Where the centroids start: `"linear"` (evenly from the smallest weight to
            the largest), `"density"` or `"random"`.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.
            `kernel_regularizer` is of the weights that compute, shared or not; of
            constraints, shared weights keep to `NonNeg` alone.

    Attributes:
        codebook: Float variable `(2 ** bits,)`, the centroids.
        assignments: Uint8 variable of the kernel's shape: which centroid.
        shares: Boolean variable: whether `cluster` was called.
        kernel: The float weights that were clustered; not used any more.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = ClusteredDense(16, bits=2)
    >>> layer.build((None, 8))
    >>> layer.cluster()
    >>> len(np.unique(layer.effective_kernel()))
    4

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149)
    """


@keras.saving.register_keras_serializable("keras_compress")
class ClusteredConv2D(Clustered, Conv2DHost):
    """`Conv2D` whose weights share a few values.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        bits: As in `ClusteredDense`.
        init: As in `ClusteredDense`.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        codebook: As in `ClusteredDense`, like the other attributes.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = ClusteredConv2D(4, 3, bits=1)
    >>> layer.build((None, 8, 8, 2))
    >>> layer.cluster()
    >>> len(np.unique(layer.effective_kernel()))
    2

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149)
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedClusteredDense(Pruned, Clustered, DenseHost):
    """`Dense` with a pruning mask, whose other weights share a few values.

    What `PrunedDense` and `ClusteredDense` are, in one: masked weights are 0, and are
    none of the `2 ** bits` values. Prune first, then share: `prune` after `cluster`
    still goes by the weights of before.

    Args:
        units: Positive integer, size of the output.
        pattern: As in `PrunedDense`.
        **kwargs: Arguments of `ClusteredDense` and of `keras.layers.Dense`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedClusteredDense(16, bits=2, init="density")
    >>> layer.build((None, 8))
    >>> layer.prune(sparsity=0.75)
    >>> layer.cluster()
    >>> len(np.unique(layer.effective_kernel()))  # and zero
    5

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149)
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedClusteredConv2D(Pruned, Clustered, Conv2DHost):
    """`Conv2D` with a pruning mask, whose other weights share a few values.

    What `PrunedConv2D` and `ClusteredConv2D` are, in one.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        pattern: As in `PrunedConv2D`.
        **kwargs: Arguments of `ClusteredConv2D` and of `keras.layers.Conv2D`.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedClusteredConv2D(4, 3, bits=2)
    >>> layer.build((None, 8, 8, 2))
    >>> layer.prune(sparsity=0.5)
    >>> layer.cluster()
    >>> layer.sparsity
    0.5

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149)
    """


PRUNED = {
    keras.layers.Dense: PrunedClusteredDense,
    keras.layers.Conv2D: PrunedClusteredConv2D,
}


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class Cluster(SwapConfig):
    """Swaps `Dense` and `Conv2D` for layers whose weights share `2 ** bits` values.

    The weights are clustered at once; `fit` then trains the centroids. What is zero
    stays zero: a pruned layer keeps its mask, and only the weights that are left are
    clustered; a plain layer of which half the weights or more are 0 is taken to be
    pruned. Layers with no more than `2 ** bits` different weights lose nothing. Layers
    that share as many values already stay as they are. Packed with
    `storage="compact"`, the model is stored as centroids and codes.

    Args:
        bits: Integer in `[1, 8]`. Han's networks have 5 or 6 in dense layers and 8 in
            convolutions, before anything is lost.
        init: `"linear"`, `"density"` or `"random"`, as in `ClusteredDense`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> Cluster(bits=5)
    Cluster(bits=5, init='linear')

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149)
    """

    bits: int = 4
    init: str = "linear"

    keeps_kernel: ClassVar[bool] = False
    layers: ClassVar[dict] = {
        keras.layers.Dense: ClusteredDense,
        keras.layers.Conv2D: ClusteredConv2D,
        ClusteredDense: ClusteredDense,
        ClusteredConv2D: ClusteredConv2D,
        PrunedDense: PrunedClusteredDense,
        PrunedConv2D: PrunedClusteredConv2D,
        PrunedClusteredDense: PrunedClusteredDense,
        PrunedClusteredConv2D: PrunedClusteredConv2D,
    }

    def __post_init__(self):
        check_int("bits", self.bits, minimum=1, maximum=clustering.MOST_BITS)
        check_choice("init", self.init, clustering.INITS)

    def _new_class(self, layer):
        """The class of the layer that takes the place of `layer`."""
        mostly_zero = np.mean(unmasked_kernel(layer) == 0.0) >= 0.5
        if type(layer) in PRUNED and mostly_zero:
            return PRUNED[type(layer)]
        return super()._new_class(layer)

    def convert(self, layer):
        new, fill = super().convert(layer)
        if isinstance(layer, Clustered) and layer.is_clustered:
            if layer.bits == self.bits:
                return new, fill
            return new, lambda: _cluster_again(layer, new)

        def fill_and_cluster():
            fill()
            if is_pruned(new):
                kept = ops.convert_to_numpy(new.mask) & (unmasked_kernel(new) != 0.0)
                new.mask.assign(kept)
            new.cluster()

        return new, fill_and_cluster


def _cluster_again(layer, new):
    """Fills `new` with the shared values of `layer`, in fewer or more bits."""
    copy_variables(_Unclustered(layer), new)
    new.kernel.assign(unmasked_kernel(layer))
    new.cluster()


class _Unclustered:
    """A layer as `copy_variables` sees it, without what shares its weights."""

    def __init__(self, layer):
        self.activation = layer.activation
        sharing = ("codebook", "assignments", "shares")
        self.variables = [v for v in layer.variables if v.name not in sharing]


# Pruning adds to what is clustered already; its own file knows nothing of this one.
Prune.layers.update(
    {
        ClusteredDense: PrunedClusteredDense,
        ClusteredConv2D: PrunedClusteredConv2D,
        PrunedClusteredDense: PrunedClusteredDense,
        PrunedClusteredConv2D: PrunedClusteredConv2D,
    }
)
