"""What a packed layer takes over from the trained one, whatever the technique."""

import keras

from keras_compress.layers._config import arguments_of, copy_variables

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)


def common_arguments(layer, name):
    """The arguments of inference that every layer with a kernel has."""
    arguments = arguments_of(layer)
    kept = {key: arguments[key] for key in ("dtype", "activation", "use_bias")}
    return {"name": name, **kept}


def geometry(layer):
    """The arguments of a convolution that say where it looks."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    own = "depth_multiplier" if depthwise else "filters"
    return {
        own: getattr(layer, own),
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
    }


def pack_plain(layer, name):
    """A layer of Keras with the kernel that `layer` computes with, and its filler."""
    common = common_arguments(layer, name)
    if isinstance(layer, keras.layers.Dense):
        new = keras.layers.Dense(layer.units, **common)
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        new = keras.layers.DepthwiseConv2D(**geometry(layer), **common)
    else:
        parent = next(x for x in CONVOLUTIONS if isinstance(layer, x))
        new = parent(groups=layer.groups, **geometry(layer), **common)

    def fill():
        copy_variables(layer, new)
        new.kernel.assign(layer.effective_kernel())

    return new, fill
