"""Sparse momentum for pruned layers: small weights give way to what wants to grow."""

import numpy as np
from keras import ops

from keras_compress.functional import regrowth


def exchange(layers, momenta, share, *, between_layers):
    """Drops the smallest weights, and lets as many grow where the momentum is largest.

    What grows starts from 0. Where weights may move between layers, each layer gets
    them by the mean size of the momentum of the weights that it has.

    Args:
        layers: Pruned layers, whose masked weights get gradients.
        momenta: List of arrays, one a layer, shaped like its kernel: the optimizer's.
        share: Fraction of the kept weights of each layer that give way, in `[0, 1]`.
        between_layers: Whether they may come back in another layer.

    Reference:
        - [Dettmers & Zettlemoyer, 2019](https://arxiv.org/abs/1907.04840), section 3.
    """
    masks = [ops.convert_to_numpy(layer.mask) for layer in layers]
    kept = [int(np.count_nonzero(mask)) for mask in masks]
    learning = [
        regrowth.mean_momentum(momentum, mask)
        for momentum, mask in zip(momenta, masks, strict=True)
    ]
    given_up = [round(share * count) for count in kept]
    grown = given_up
    if between_layers:
        room = [
            mask.size - count + going
            for mask, count, going in zip(masks, kept, given_up, strict=True)
        ]
        grown = regrowth.redistribute(sum(given_up), learning, room)
    for layer, mask, momentum, count, going, coming in zip(
        layers, masks, momenta, kept, given_up, grown, strict=True
    ):
        if not going and not coming:
            continue
        layer.prune(sparsity=1.0 - (count - going) / mask.size)
        less = ops.convert_to_numpy(layer.mask)
        wanted = 1.0 - (count - going + coming) / mask.size
        layer.prune(sparsity=wanted, scores=np.abs(momentum))
        more = ops.convert_to_numpy(layer.mask)
        kernel = ops.convert_to_numpy(layer.kernel)
        layer.kernel.assign(np.where(more & ~less, 0, kernel))
