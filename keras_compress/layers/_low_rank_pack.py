"""How a low-rank layer becomes one of a fused op, plain ones of factors, or one."""

import math

import keras

from keras_compress.functional.convolution import is_faster
from keras_compress.functional.low_rank_cost import cheapest
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers._factor_layers import factor_layers, factor_matrices
from keras_compress.layers._plain_pack import common_arguments, pack_plain
from keras_compress.layers.packed.low_rank import PackedLowRankDense
from keras_compress.ops._library import has_vectors


def pack_factors(layer, name, batch, plain=False):
    """Factors in one op or one after the other, or multiplied back into one kernel."""
    form = "dense" if plain else _form(layer, batch)
    if form == "dense":
        return pack_plain(layer, name)
    if form == "fused":
        return _pack_fused(layer, name)
    parts = factor_layers(layer, name)
    if parts is None:  # Keras has no layers for its steps: it runs as it is.
        new = type(layer)(**_without_training(layer, name))
        return new, lambda: copy_variables(layer, new)
    layers, fill = parts
    return keras.Sequential(layers, name=name), fill


def _without_training(layer, name):
    arguments = arguments_of(layer)
    for key in arguments:
        if key.endswith(("_regularizer", "_constraint")):
            arguments[key] = None
    return {**arguments, "name": name}


def _pack_fused(layer, name):
    common = common_arguments(layer, name)
    new = PackedLowRankDense(layer.units, layer.kernel_rank, **common)

    def fill():
        copy_variables(layer, new)  # of an activation
        new.fill(*factor_matrices(layer), layer.bias)

    return new, fill


def _form(layer, batch):
    """One of `low_rank_cost.FORMS`."""
    if layer.kernel_rank is None:
        return "dense"
    batches = (1, 64) if batch is None else (batch,)
    shape = tuple(layer.effective_kernel().shape)
    if isinstance(layer, keras.layers.Dense):
        # The op computes in float32, whatever it is given.
        native = has_vectors() and layer.compute_dtype != "float64"
        return cheapest(*shape, layer.kernel_rank, batches, native=native)
    method = getattr(layer, "method", "svd")
    clusters = getattr(layer, "clusters", (1, 1))
    args = method, shape, layer.kernel_rank, layer.strides, clusters
    pays = all(is_faster(*args, _pixels(layer) * size) for size in batches)
    return "factors" if pays else "dense"


def _pixels(layer):
    """Output pixels of an image; 32 x 32 where they are not known, or not the same."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # called elsewhere, or more than once
        return 1024
    sides = shape[1:3] if layer.data_format == "channels_last" else shape[2:4]
    return 1024 if None in sides else math.prod(sides)
