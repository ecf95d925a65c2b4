"""How a low-rank layer becomes plain layers, one for each factor or one in all."""

import keras

from keras_compress.functional.convolution import pays as convolution_pays
from keras_compress.functional.ranks import factors_pay
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers._factor_layers import factor_layers
from keras_compress.layers._plain_pack import common_arguments, fill_plain, geometry


def pack_factors(layer, name, batch, plain=False):
    """Factors one after the other, or multiplied back into one kernel."""
    if plain or not _factors_pay(layer, batch):
        return _multiplied_back(layer, name)
    parts = factor_layers(layer, name)
    if parts is None:  # Keras has no layers for its steps: it runs as it is.
        new = type(layer)(**_without_training(layer, name))
        return new, lambda: copy_variables(layer, new)
    layers, fill = parts
    return keras.Sequential(layers, name=name), fill


def _multiplied_back(layer, name):
    common = common_arguments(layer, name)
    if isinstance(layer, keras.layers.Dense):
        new = keras.layers.Dense(layer.units, **common)
    else:
        new = keras.layers.Conv2D(**geometry(layer), **common)
    return new, lambda: fill_plain(new, layer)


def _without_training(layer, name):
    arguments = arguments_of(layer)
    for key in arguments:
        if key.endswith(("_regularizer", "_constraint")):
            arguments[key] = None
    return {**arguments, "name": name}


def _factors_pay(layer, batch):
    if layer.kernel_rank is None:
        return False
    batches = (1, 64) if batch is None else (batch,)
    if isinstance(layer, keras.layers.Dense):
        shape = layer.effective_kernel().shape
        return all(factors_pay(*shape, layer.kernel_rank, size) for size in batches)
    shape = tuple(layer.effective_kernel().shape)
    method = getattr(layer, "method", "svd")
    clusters = getattr(layer, "clusters", (1, 1))
    return convolution_pays(method, shape, layer.kernel_rank, layer.strides, clusters)
