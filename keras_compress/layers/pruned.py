"""Pruning: layers whose kernel is multiplied by a mask in the forward pass."""

import dataclasses
import math
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_real
from keras_compress.functional import masks
from keras_compress.functional.cost import sparse_bytes
from keras_compress.functional.masking import masked
from keras_compress.layers._config import SwapConfig
from keras_compress.layers._hosts import Conv2DHost, DenseHost


class Pruned:
    """The technique: a boolean mask, the layer's only non-trainable variable."""

    def __init__(self, *args, pattern=None, **kwargs):
        self.pattern = masks.check_pattern(pattern)
        # Whether masked weights train on, unseen: for the time of a fit.
        self.trains_masked = False
        super().__init__(*args, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        # Boolean: one byte a weight, and mixed precision leaves it alone. Every
        # replica computes the same mask, so the first one's is everybody's.
        self.mask = self.add_weight(
            name="mask",
            shape=self.kernel.shape,
            dtype="bool",
            initializer="ones",
            trainable=False,
            aggregation="only_first_replica",
        )

    def effective_kernel(self, training=False):
        kernel = super().effective_kernel(training)
        return masked(kernel, self.mask, through=self.trains_masked)

    @property
    def sparsity(self):
        """Fraction of zeros in the mask, in `[0, 1]`."""
        self._check_built()
        mask = ops.convert_to_numpy(self.mask)
        return float(mask.size - np.count_nonzero(mask)) / mask.size

    def prune(
        self,
        sparsity=None,
        *,
        threshold=None,
        quality=None,
        regrow=True,
        splice=False,
    ):
        """Masks weights, those masked before ahead of all others.

        Exactly one of `sparsity`, `threshold` and `quality` is given.

        Args:
            sparsity: Fraction of zeros, in `[0, 1]`: exactly
                `round(sparsity * size)` weights, the smallest ones, are masked (with
                a pattern of blocks or neurons, that share of these; with N:M at most
                `1 - N/M`). Equal weights go in order of position.
            threshold: Number >= 0 in the unit of the weights: those whose absolute
                value is smaller are masked.
            quality: Number >= 0: the threshold, in standard deviations of the weights
                that are not masked yet.
            regrow: Whether a `sparsity` below the present one brings the largest
                masked weights back.
            splice: Whether masked weights do not go first but are compared with all
                others, so that a large one takes the place of a small one.

        Raises:
            ValueError: If the layer is not built, not exactly one argument is given,
                or it is out of range.

        Reference:
            - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.
            - `splice`: [Guo et al., 2016](https://arxiv.org/abs/1608.04493)
        """
        self._check_built()
        given = {"sparsity": sparsity, "threshold": threshold, "quality": quality}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "`prune` takes exactly one of `sparsity`, `threshold` and `quality`. "
                f"Received: {given or 'none of them'}"
            )
        kernel, mask = self._kernel_and_mask()
        scores = np.abs(kernel)
        before = None if splice else mask
        if sparsity is not None:
            new = masks.mask_from_scores(
                scores, sparsity, pattern=self.pattern, mask=before, regrow=regrow
            )
        else:
            if quality is not None:
                check_real("quality", quality, minimum=0.0)
                threshold = quality * float(np.std(kernel[mask])) if mask.any() else 0.0
            new = masks.threshold_mask(
                scores, threshold, pattern=self.pattern, mask=before
            )
        self.mask.assign(new)

    def get_config(self):
        return {**super().get_config(), "pattern": self.pattern}

    def _kernel_and_mask(self):
        kernel = ops.convert_to_numpy(self.kernel).astype("float32", copy=False)
        return kernel, ops.convert_to_numpy(self.mask)

    def _check_built(self):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it can be pruned: call it "
                "or its model on data first."
            )


def prune_together(layers, sparsity, *, regrow=True, splice=False):
    """Prunes layers by one common threshold, so that each gives what it can spare.

    Args:
        layers: Pruned layers, built.
        sparsity: Fraction of all their weights to mask, in `[0, 1]`: exactly
            `round(sparsity * size)` weights where no layer has a pattern.
        regrow: As in `PrunedDense.prune`.
        splice: As in `PrunedDense.prune`.

    Raises:
        ValueError: If `sparsity` is out of range, or a layer's pattern cannot reach it.
    """
    kernels, present = zip(*(layer._kernel_and_mask() for layer in layers), strict=True)
    new = masks.global_masks(
        [np.abs(kernel) for kernel in kernels],
        sparsity,
        patterns=[layer.pattern for layer in layers],
        masks=None if splice else list(present),
        regrow=regrow,
    )
    for layer, mask in zip(layers, new, strict=True):
        layer.mask.assign(mask)


def is_pruned(layer):
    """Whether `layer` has a pruning mask."""
    return isinstance(layer, Pruned)


def total_sparsity(layers):
    """Fraction of zeros in the masks of these layers together, in `[0, 1]`."""
    sizes = [math.prod(layer.mask.shape) for layer in layers]
    zeros = [layer.sparsity * size for layer, size in zip(layers, sizes, strict=True)]
    return sum(zeros) / sum(sizes)


def packed_bytes(layer):
    """Bytes that the kernel of a pruned layer takes when compressed by columns."""
    units = layer.mask.shape[-1]
    size = math.prod(layer.mask.shape)
    return sparse_bytes(round((1.0 - layer.sparsity) * size), size // units, units)


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
@dataclasses.dataclass(frozen=True)
class Prune(SwapConfig):
    """Swaps `Dense` and `Conv2D` for `PrunedDense` and `PrunedConv2D`.

    A swap prunes nothing yet: that is the work of `IterativePruning`, or of a call of
    `layer.prune`. Swapping a pruned layer again keeps its mask.

    Args:
        pattern: Which weights are masked together, as in `PrunedDense`.

    Raises:
        ValueError: If `pattern` is unknown.

    Example:

    >>> Prune(pattern=(1, 16))
    Prune(pattern=(1, 16))
    """

    pattern: str | tuple | None = None

    layers: ClassVar[dict] = {
        keras.layers.Dense: PrunedDense,
        keras.layers.Conv2D: PrunedConv2D,
        PrunedDense: PrunedDense,
        PrunedConv2D: PrunedConv2D,
    }

    def __post_init__(self):
        object.__setattr__(self, "pattern", masks.check_pattern(self.pattern))
