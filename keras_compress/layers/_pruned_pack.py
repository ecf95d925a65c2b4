"""How a pruned layer becomes a sparse one, or a plain one."""

import keras
import numpy as np
from keras import ops

from keras_compress.functional.sparse import sparse_pays
from keras_compress.layers._config import copy_variables
from keras_compress.layers._plain_pack import common_arguments, fill_plain, geometry
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense


def pack_pruned_dense(layer, name, batch, plain=False):
    """A `SparseDense`, or a `Dense` where that is smaller or faster."""
    common = {"units": layer.units, **common_arguments(layer, name)}
    if not plain and _sparse_pays(layer, batch):
        new = SparseDense(nonzeros=_nonzeros(layer), **common)
        return new, lambda: _fill_sparse(new, layer)
    new = keras.layers.Dense(**common)
    return new, lambda: fill_plain(new, layer)


def pack_pruned_conv2d(layer, name, batch, plain=False):
    """A `SparseConv2D`, or a `Conv2D` where that is smaller or faster."""
    common = {**geometry(layer), **common_arguments(layer, name)}
    # Every output pixel is a row of the product, so even one image is a large batch.
    if not plain and layer.groups == 1 and _sparse_pays(layer, batch=64):
        new = SparseConv2D(nonzeros=_nonzeros(layer), **common)
        return new, lambda: _fill_sparse(new, layer)
    new = keras.layers.Conv2D(groups=layer.groups, **common)
    return new, lambda: fill_plain(new, layer)


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
