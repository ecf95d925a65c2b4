"""What a packed layer takes over from the trained one, whatever the technique."""

from keras_compress.layers._config import arguments_of, copy_variables


def common_arguments(layer, name):
    """The arguments of inference that every layer with a kernel has."""
    arguments = arguments_of(layer)
    kept = {key: arguments[key] for key in ("dtype", "activation", "use_bias")}
    return {"name": name, **kept}


def geometry(layer):
    """The arguments of a convolution that say where it looks."""
    return {
        "filters": layer.filters,
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
    }


def fill_plain(new, layer):
    """Gives a plain layer the kernel that `layer` computes with, and its bias."""
    copy_variables(layer, new)
    new.kernel.assign(layer.effective_kernel())
