"""What pruning adds to a layer with a kernel: a mask, and ways to set it."""

import math

import numpy as np
from keras import ops

from keras_compress._validation import check_real, invalid
from keras_compress.functional import masks, patterns
from keras_compress.functional.cost import sparse_bytes
from keras_compress.functional.masking import masked
from keras_compress.functional.sparse_layouts import PANEL, in_panels, reach


class Pruned:
    """The technique: a boolean mask, the layer's only non-trainable variable."""

    def __init__(self, *args, pattern=None, **kwargs):
        self.pattern = patterns.check_pattern(pattern)
        if not self.reads_every_channel and patterns.n_of_m(self.pattern) is not None:
            name = type(self).__name__
            expected = f"no N:M for {name}, whose outputs read one channel each"
            raise invalid("pattern", expected, pattern)
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

    @property
    def unit_sparsity(self):
        """Fraction of the pattern's units that are masked: what `prune` is told."""
        if self.pattern is None:
            return self.sparsity
        return masks.dropped_share(self._kernel_and_mask()[1], self.pattern)

    def prune(
        self,
        sparsity=None,
        *,
        threshold=None,
        quality=None,
        scores=None,
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
            scores: Array of numbers >= 0, shaped like the kernel, that take the place
                of the absolute values: those of the lowest scores are masked. Not with
                `quality`. `keras_compress.prune` finds some from data.
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
        if scores is not None and quality is not None:
            raise invalid("scores", "None with `quality`, a measure of weights", scores)
        kernel, mask = self._kernel_and_mask()
        scores = np.abs(kernel) if scores is None else self._as_matrix(scores)
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
        self._set_mask(new)

    def get_config(self):
        return {**super().get_config(), "pattern": self.pattern}

    def _kernel_and_mask(self):
        """Both as matrices, in which patterns are read; not to be written to."""
        kernel = _view(self.kernel).astype("float32", copy=False)
        return (
            kernel.reshape(self.matrix_shape),
            _view(self.mask).reshape(self.matrix_shape),
        )

    def _as_matrix(self, scores):
        scores = np.asarray(scores)
        shape = tuple(self.kernel.shape)
        if scores.shape != shape or scores.dtype.kind not in "fiu":
            expected = f"an array of numbers of shape {shape} for {self.name!r}"
            raise invalid("scores", expected, f"{scores.dtype} of {scores.shape}")
        if scores.size and not scores.min() >= 0:  # NaN, too
            raise invalid("scores", "numbers >= 0", float(scores.min()))
        return scores.reshape(self.matrix_shape)

    def _set_mask(self, matrix):
        self.mask.assign(matrix.reshape(self.mask.shape))

    def _check_built(self):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it can be pruned: call it "
                "or its model on data first."
            )


def _view(variable):
    """What a variable holds, which for a large kernel is not copied without need."""
    return np.asarray(ops.convert_to_tensor(variable))


def prune_together(layers, sparsity, *, scores=None, regrow=True, splice=False):
    """Prunes layers by one common threshold, so that each gives what it can spare.

    Args:
        layers: Pruned layers, built.
        sparsity: Fraction of all their weights to mask, in `[0, 1]`: exactly
            `round(sparsity * size)` weights where no layer has a pattern.
        scores: List of arrays, one a layer, as in `PrunedDense.prune`; comparable
            across layers; `None` for the absolute values.
        regrow: As in `PrunedDense.prune`.
        splice: As in `PrunedDense.prune`.

    Raises:
        ValueError: If `sparsity` is out of range, a layer's pattern cannot reach it,
            or scores do not fit.
    """
    kernels, present = zip(*(layer._kernel_and_mask() for layer in layers), strict=True)
    given = [None] * len(layers) if scores is None else scores
    scores = [
        np.abs(kernel) if score is None else layer._as_matrix(score)
        for layer, kernel, score in zip(layers, kernels, given, strict=True)
    ]
    new = masks.global_masks(
        scores,
        sparsity,
        patterns=[layer.pattern for layer in layers],
        masks=None if splice else list(present),
        regrow=regrow,
    )
    for layer, mask in zip(layers, new, strict=True):
        layer._set_mask(mask)


def is_pruned(layer):
    """Whether `layer` has a pruning mask."""
    return isinstance(layer, Pruned)


def total_sparsity(layers):
    """Fraction of zeros in the masks of these layers together, in `[0, 1]`."""
    sizes = [math.prod(layer.mask.shape) for layer in layers]
    zeros = [layer.sparsity * size for layer, size in zip(layers, sizes, strict=True)]
    return sum(zeros) / sum(sizes)


def sparse_layout(layer):
    """The layout that a pattern's bytes are counted in: panels for blocks of 16."""
    blocks = isinstance(layer.pattern, tuple) and layer.pattern[1] % PANEL == 0
    fits = layer.matrix_shape[0] <= reach("panel16")
    return "panel16" if blocks and fits else "csc"


def packed_bytes(layer):
    """Bytes of the kernel of a pruned layer: by columns, blocks of 16 in panels."""
    inputs, outputs = layer.matrix_shape
    layout = sparse_layout(layer)
    if layout == "panel16":
        stored = in_panels(layer._kernel_and_mask()[1])
    else:
        stored = round((1.0 - layer.sparsity) * inputs * outputs)
    return sparse_bytes(stored, inputs, outputs, layout)
