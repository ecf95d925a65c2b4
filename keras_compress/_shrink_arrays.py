"""The arrays of a layer that can lose channels, and a layer with fewer of them."""

import keras
import numpy as np
from keras import layers, ops

from keras_compress._layer_kinds import CONVOLUTION, DENSE, DEPTHWISE, is_changed
from keras_compress.layers._config import arguments_of
from keras_compress.layers.pruned import is_pruned


def arrays_of(layer):
    """The arrays of a layer that can lose channels, or `None` for any other.

    Args:
        layer: A layer of Keras or of ours.

    Returns:
        Mapping from names to arrays. The kernel is the one of the forward pass; that of
        a convolution in groups is filled up with zeros as if every output read every
        input, with two arrays more, `"groups"` and `"output_groups"`: the group of each
        input and output. A `Reshape` into so many channels has an array of these.
    """
    kind = type(layer)
    # An activation with weights of its own may want them all.
    if is_changed(layer) or isinstance(getattr(layer, "activation", None), keras.Layer):
        return None
    if kind is layers.Reshape:
        channels = layer.target_shape[-1] if layer.target_shape else -1
        return {"channels": np.arange(channels)} if channels > 0 else None
    if kind is layers.BatchNormalization:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        arrays = {name: getattr(layer, name, None) for name in names}
    elif kind in DENSE + CONVOLUTION + DEPTHWISE:
        kernel = getattr(layer, "effective_kernel", lambda: layer.kernel)()
        arrays = {"kernel": kernel, "bias": layer.bias}
        if is_pruned(layer):
            arrays["mask"] = layer.mask
    else:
        return None
    arrays = {
        name: None if value is None else ops.convert_to_numpy(value)
        for name, value in arrays.items()
    }
    groups = _groups(layer)
    if groups is None:
        return arrays
    for name in {"kernel", "mask"} & set(arrays):
        arrays[name] = _filled_up(arrays[name], groups, kind in DEPTHWISE)
    inputs, outputs = arrays["kernel"].shape[-2:]
    arrays["groups"] = np.arange(inputs) // (inputs // groups)
    arrays["output_groups"] = np.arange(outputs) // (outputs // groups)
    return arrays


def smaller(layer, arrays):
    """A layer with these arrays, and what fills it.

    Args:
        layer: The layer that the arrays were those of.
        arrays: What `arrays_of` gave, with fewer channels.

    Returns:
        An unbuilt layer, and a function of no arguments to call after it is built.
    """
    arguments = {
        name: value
        for name, value in arguments_of(layer).items()
        # What is drawn is filled over, and one may be bound to the old shape.
        if not name.endswith("_initializer")
    }
    arrays = dict(arrays)
    if "channels" in arrays:
        shape = (*layer.target_shape[:-1], len(arrays.pop("channels")))
        arguments["target_shape"] = shape
    if "kernel" in arrays:
        for name in ("units", "filters"):
            if name in arguments:
                arguments[name] = arrays["kernel"].shape[-1]
        arguments["use_bias"] = arrays["bias"] is not None
    if "groups" in arrays:
        inputs, outputs = arrays.pop("groups"), arrays.pop("output_groups")
        depthwise = type(layer) in DEPTHWISE
        for name in {"kernel", "mask"} & set(arrays):
            arrays[name] = _blocks(arrays[name], inputs, outputs, depthwise)
        if depthwise:
            arguments["depth_multiplier"] = arrays["kernel"].shape[-1]
        else:
            arguments["groups"] = len(np.unique(outputs))
    new = type(layer)(**arguments)

    def fill():
        for name, array in arrays.items():
            if array is not None:
                getattr(new, name).assign(array)

    return new, fill


def _groups(layer):
    """How many groups of inputs a layer has; `None` where it makes no difference."""
    if type(layer) in DEPTHWISE:
        # With one output a channel, it hands channels on.
        return layer.kernel.shape[-2] if layer.depth_multiplier > 1 else None
    groups = getattr(layer, "groups", 1)
    return groups if groups > 1 else None


def _filled_up(kernel, groups, depthwise):
    """`(..., inputs, outputs)` from the kernels of the groups."""
    if depthwise:
        parts = np.split(kernel, groups, axis=-2)
    else:
        parts = np.split(kernel, groups, axis=-1)
    rows, columns = parts[0].shape[-2:]
    window = kernel.shape[:-2]
    whole = np.zeros((*window, groups, rows, groups, columns), kernel.dtype)
    for group, part in enumerate(parts):
        whole[..., group, :, group, :] = part
    return whole.reshape(*window, groups * rows, groups * columns)


def _blocks(kernel, inputs, outputs, depthwise):
    """Undoes `_filled_up`."""
    parts = [
        kernel[..., inputs == group, :][..., outputs == group]
        for group in np.unique(outputs)
    ]
    return np.concatenate(parts, axis=-2 if depthwise else -1)
