"""How a pruned layer becomes a sparse one, or a plain one."""

import numpy as np
from keras import ops

from keras_compress.functional.sparse import sparse_pays
from keras_compress.layers._config import copy_variables
from keras_compress.layers._plain_pack import common_arguments, geometry, pack_plain
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense


def pack_pruned_dense(layer, name, batch, plain=False):
    """A `SparseDense`, or a `Dense` where that is smaller or faster."""
    if plain or not _sparse_pays(layer, batch):
        return pack_plain(layer, name)
    common = common_arguments(layer, name)
    new = SparseDense(units=layer.units, nonzeros=_nonzeros(layer), **common)
    return new, lambda: _fill_sparse(new, layer)


def pack_pruned_conv2d(layer, name, batch, plain=False):
    """A `SparseConv2D`, or a `Conv2D` where that is smaller or faster."""
    # Every output pixel is a row of the product, so even one image is a large batch.
    if plain or layer.groups > 1 or not _sparse_pays(layer, batch=64):
        return pack_plain(layer, name)
    common = {**geometry(layer), **common_arguments(layer, name)}
    new = SparseConv2D(nonzeros=_nonzeros(layer), **common)
    return new, lambda: _fill_sparse(new, layer)


def pack_pruned_plain(layer, name, batch, plain=False):
    """A layer of Keras with zeros in its kernel, for those without a sparse form."""
    return pack_plain(layer, name)


def _kernel(layer):
    return ops.convert_to_numpy(layer.effective_kernel())


def _nonzeros(layer):
    # As float32, in which it is stored: what is too small for that is a zero there.
    return int(np.count_nonzero(_kernel(layer).astype("float32")))


def _sparse_pays(layer, batch):
    matrix = _kernel(layer).reshape(-1, layer.kernel.shape[-1])
    sparsity = 1.0 - np.count_nonzero(matrix) / matrix.size
    batches = (1, 64) if batch is None else (batch,)
    return all(sparse_pays(*matrix.shape, sparsity, size) for size in batches)


def _fill_sparse(new, layer):
    copy_variables(layer, new)
    new.fill(_kernel(layer), layer.bias)
