"""How a pruned layer becomes a sparse one, or a plain one."""

import numpy as np
from keras import ops

from keras_compress.functional.sparse import compress
from keras_compress.functional.sparse_cost import cheapest
from keras_compress.functional.sparse_layouts import LAYOUTS, in_panels, reach
from keras_compress.layers._config import copy_variables
from keras_compress.layers._plain_pack import common_arguments, geometry, pack_plain
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense

# Rows for which a layer must be fast where nothing is said: one, and many.
BOTH = (1, 64)
# Every output pixel is a row of the product, so even one image is a large batch.
PIXELS = (64,)


def pack_pruned_dense(layer, name, batch, plain=False):
    """A `SparseDense`, or a `Dense` where that is smaller or faster."""
    chosen = None if plain else _sparse(layer, BOTH if batch is None else (batch,))
    if chosen is None:
        return pack_plain(layer, name)
    arguments, weights = chosen
    common = common_arguments(layer, name)
    new = SparseDense(units=layer.units, **arguments, **common)
    return new, lambda: _fill(new, layer, weights)


def pack_pruned_conv2d(layer, name, batch, plain=False):
    """A `SparseConv2D`, or a `Conv2D` where that is smaller or faster."""
    chosen = None if plain or layer.groups > 1 else _sparse(layer, PIXELS)
    if chosen is None:
        return pack_plain(layer, name)
    arguments, weights = chosen
    common = {**geometry(layer), **common_arguments(layer, name)}
    new = SparseConv2D(**arguments, **common)
    return new, lambda: _fill(new, layer, weights)


def pack_pruned_plain(layer, name, batch, plain=False):
    """A layer of Keras with zeros in its kernel, for those without a sparse form."""
    return pack_plain(layer, name)


def _sparse(layer, batches):
    """Arguments and arrays of the sparse form, or `None` where it does not pay."""
    kernel = ops.convert_to_numpy(layer.effective_kernel())
    # As float32, in which it is stored: what is too small for that is a zero there.
    matrix = kernel.astype("float32").reshape(-1, kernel.shape[-1])
    nonzeros = int(np.count_nonzero(matrix))
    stored = {"csc": nonzeros, "kblock": nonzeros, "panel16": in_panels(matrix != 0.0)}
    ready = {}
    if max(batches) < 16 and nonzeros < 0.7 * matrix.size:
        # How many zeros stand in lanes is only known when they are filled.
        if len(matrix) <= reach("lanes"):
            ready["lanes"] = compress(matrix, "lanes")
            stored["lanes"] = len(ready["lanes"][0])
    stored = {x: stored[x] for x in LAYOUTS if x in stored and len(matrix) <= reach(x)}
    layout = cheapest(stored, *matrix.shape, batches)
    if layout == "dense":
        return None
    arguments = {"nonzeros": nonzeros, "layout": layout, "stored": stored[layout]}
    return arguments, ready.get(layout) or compress(matrix, layout)


def _fill(new, layer, weights):
    copy_variables(layer, new)
    new.store(weights, layer.bias)
