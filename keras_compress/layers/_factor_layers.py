"""Plain Keras layers that, one after the other, equal a layer of factors."""

import keras
from keras import ops

from keras_compress.layers._config import arguments_of
from keras_compress.layers._factored import Factored
from keras_compress.layers.low_rank import LowRankDense
from keras_compress.layers.packed.low_rank import PackedLowRankDense
from keras_compress.layers.projected import Projected, ProjectedDense


def has_factors(layer):
    """Whether `layer` computes with factors."""
    if isinstance(layer, Projected):
        return layer.kernel_rank is not None
    return isinstance(layer, Factored | PackedLowRankDense)


def factor_layers(layer, name):
    """New plain layers that together equal `layer`, not built yet.

    Args:
        layer: A low-rank or projected layer, built; or a packed one.
        name: The names of the new ones begin with it.

    Returns:
        List of layers, and a function of no arguments that fills them; or `None` where
        Keras has no layers for some step.
    """
    if isinstance(layer, LowRankDense | ProjectedDense | PackedLowRankDense):
        made = _dense(layer, name)
    elif isinstance(layer, Projected) or layer.method == "svd":
        made = _svd(layer, name)
    else:
        made = MAKERS.get(layer.method, lambda layer, name: None)(layer, name)
    if made is None:
        return None
    layers, values = made

    def fill():
        for new, value in zip(layers, values(), strict=True):
            new.kernel.assign(ops.reshape(value, new.kernel.shape))
        if layer.bias is not None:
            layers[-1].bias.assign(layer.bias)

    return layers, fill


def _dense(layer, name):
    last = _last(layer, name)
    first = {"use_bias": False, "dtype": last["dtype"], "name": f"{name}_left"}
    layers = [
        keras.layers.Dense(layer.kernel_rank, **first),
        keras.layers.Dense(layer.units, **last),
    ]
    return layers, lambda: factor_matrices(layer)


def _svd(layer, name):
    layers = [
        _conv(layer, name, "window", layer.kernel_rank),
        _conv(layer, name, None, layer.filters),
    ]
    return layers, lambda: factor_matrices(layer)


def factor_matrices(layer):
    """The factors of a layer, in order of use."""
    factors = layer.factors
    return list(factors.values()) if isinstance(factors, dict) else list(factors)


def _channel_svd(layer, name):
    layers = [
        _conv(layer, name, "mix_in", layer.mix_in.shape[1]),
        _conv(layer, name, None, layer.filters, step="window"),
    ]
    return layers, lambda: factor_matrices(layer)


def _spatial(layer, name):
    layers = [
        _conv(layer, name, "column", layer.kernel_rank),
        _conv(layer, name, None, layer.filters, step="row"),
    ]
    return layers, lambda: factor_matrices(layer)


def _tucker(layer, name):
    one, other = layer.window.shape[2:]
    layers = [
        _conv(layer, name, "mix_in", one),
        _conv(layer, name, "window", other),
        _conv(layer, name, None, layer.filters),
    ]
    return layers, lambda: factor_matrices(layer)


def _cp(layer, name):
    if layer.strides != (1, 1) or layer.data_format != "channels_last":
        return None
    common = {"use_bias": False, "dtype": layer.dtype_policy, "padding": layer.padding}
    sizes = {"column": (layer.kernel_size[0], 1), "row": (1, layer.kernel_size[1])}
    rates = {"column": (layer.dilation_rate[0], 1), "row": (1, layer.dilation_rate[1])}
    middle = [
        keras.layers.DepthwiseConv2D(
            size, dilation_rate=rates[step], name=f"{name}_{step}", **common
        )
        for step, size in sizes.items()
    ]
    first = _conv(layer, name, "mix_in", layer.kernel_rank)
    layers = [first, *middle, _conv(layer, name, None, layer.filters)]

    def values():
        absorbed = ops.ones((layer.kernel_rank, 1), layer.column.dtype)
        return [*factor_matrices(layer), absorbed][:4]

    return layers, values


MAKERS = {
    "channel_svd": _channel_svd,
    "spatial": _spatial,
    "tucker": _tucker,
    "cp": _cp,
}


def _last(layer, name):
    """The arguments of the last layer, which has the bias and the activation."""
    arguments = arguments_of(layer)
    kept = {key: arguments[key] for key in ("dtype", "activation", "use_bias")}
    return {**kept, "name": f"{name}_right"}


def _conv(layer, name, factor, filters, step=None):
    """A `Conv2D` for one step; the last one is given no name of a factor."""
    last = _last(layer, name)
    arguments = last if factor is None else {"use_bias": False, "dtype": last["dtype"]}
    if factor is not None:
        arguments["name"] = f"{name}_{factor}"
    step = step or factor
    height, width = layer.kernel_size
    down, across = layer.strides
    rates = layer.dilation_rate
    geometry = {
        "window": ((height, width), (down, across), rates),
        "column": ((height, 1), (down, 1), (rates[0], 1)),
        "row": ((1, width), (1, across), (1, rates[1])),
    }.get(step, ((1, 1), (1, 1), (1, 1)))
    return keras.layers.Conv2D(
        filters,
        geometry[0],
        strides=geometry[1],
        dilation_rate=geometry[2],
        padding=layer.padding,
        data_format=layer.data_format,
        **arguments,
    )
