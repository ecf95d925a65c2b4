"""Sparse momentum for pruned layers: small weights give way to what wants to grow."""

import math

import numpy as np
from keras import ops

from keras_compress.functional import regrowth


def exchange(layers, momenta, share, *, between_layers):
    """Drops the smallest units, and lets as many grow where the momentum is largest.

    A unit is what the layer's pattern drops together, such as a block. What grows
    starts from 0. Where weights may move between layers, each layer gets them by the
    mean size of the momentum of the weights that it has; of blocks, so many that all
    layers together hold no fewer weights than before, and less than a block more.

    Args:
        layers: Pruned layers, whose masked weights get gradients.
        momenta: List of arrays, one a layer, shaped like its kernel: the optimizer's.
        share: Fraction of the kept units of each layer that give way, in `[0, 1]`.
        between_layers: Whether they may come back in another layer.

    Reference:
        - [Dettmers & Zettlemoyer, 2019](https://arxiv.org/abs/1907.04840), section 3.
    """
    masks = [ops.convert_to_numpy(layer.mask) for layer in layers]
    # In units, as `prune` counts: blocks at the edges hold fewer weights than others.
    before = [layer.unit_sparsity for layer in layers]
    for layer, sparsity in zip(layers, before, strict=True):
        less = sparsity + share * (1.0 - sparsity)
        layer.prune(sparsity=less, regrow=False)
    left = [ops.convert_to_numpy(layer.mask) for layer in layers]
    sizes = [np.abs(momentum) for momentum in momenta]
    if between_layers:
        learning = [
            regrowth.mean_momentum(momentum, mask)
            for momentum, mask in zip(momenta, masks, strict=True)
        ]
        room = [mask.size - int(np.count_nonzero(mask)) for mask in left]
        freed = sum(map(np.count_nonzero, masks)) - sum(map(np.count_nonzero, left))
        wanted = regrowth.redistribute(int(freed), learning, room)
        over = 0
        for layer, scores, count in zip(layers, sizes, wanted, strict=True):
            over = -_grow(layer, count - over, scores)
    else:
        for layer, sparsity, scores in zip(layers, before, sizes, strict=True):
            layer.prune(sparsity=sparsity, scores=scores)
    for layer, mask in zip(layers, left, strict=True):
        more = ops.convert_to_numpy(layer.mask)
        if (more & ~mask).any():
            kernel = ops.convert_to_numpy(layer.kernel)
            layer.kernel.assign(np.where(more & ~mask, 0, kernel))


def _grow(layer, count, scores):
    """Brings back units until they hold `count` weights; returns what is missing.

    That is 0 or less, for the last unit may hold more than is asked for.
    """
    block, units = _units_of(layer)
    kept = int(np.count_nonzero(ops.convert_to_numpy(layer.mask)))
    wanted = kept + count
    while kept < wanted:
        # Never too many at once: none holds more than a whole block.
        more = -(-(wanted - kept) // block)
        sparsity = max(layer.unit_sparsity - more / units, 0.0)
        layer.prune(sparsity=sparsity, scores=scores)
        last, kept = kept, int(np.count_nonzero(ops.convert_to_numpy(layer.mask)))
        if kept == last:
            break
    return wanted - kept


def _units_of(layer):
    """How many weights a whole unit holds, and how many units there are."""
    inputs, outputs = layer.matrix_shape
    if layer.pattern is None:
        return 1, inputs * outputs
    rows, columns = (inputs, 1) if layer.pattern == "neuron" else layer.pattern
    grid = math.ceil(inputs / rows) * math.ceil(outputs / columns)
    return min(rows, inputs) * min(columns, outputs), grid
