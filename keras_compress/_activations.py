"""What layers are called on while a model runs on data."""

import contextlib
import math

import keras
import numpy as np
import tensorflow as tf

from keras_compress._validation import invalid
from keras_compress._watched import watched

BATCH = 256


def check_data(name, model, data):
    """Calibration inputs as a structure of arrays that fits the inputs of `model`.

    Args:
        name: The argument's name, for the error.
        model: A built Keras model.
        data: An array for each input, or a structure of them like `model.input`.

    Returns:
        List of float arrays, one an input, all of the same length.

    Raises:
        ValueError: If there is no data, a number, length or shape does not fit, or a
            number is not finite.
    """
    if data is None:
        raise invalid(name, "calibration inputs of the model", data)
    inputs = keras.tree.flatten(model.inputs)
    arrays = [np.asarray(array) for array in keras.tree.flatten(data)]
    if len(arrays) != len(inputs):
        raise invalid(name, f"one array for each of {len(inputs)} inputs", len(arrays))
    for array, tensor in zip(arrays, inputs, strict=True):
        shape = tuple(tensor.shape[1:])
        fits = len(array.shape) == len(shape) + 1 and len(array) > 0
        fits = fits and all(
            side is None or side == size
            for side, size in zip(shape, array.shape[1:], strict=True)
        )
        if not fits or len(array) != len(arrays[0]):
            raise invalid(
                name, f"arrays of shape (examples, ...) with {shape}", array.shape
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise invalid(name, "finite numbers", "NaN or infinity")
    return arrays


def batches(model, arrays, size=BATCH):
    """Yields inputs for calls of `model`, `size` examples at a time."""
    structure = model.input if not isinstance(model, keras.Sequential) else None
    for start in range(0, len(arrays[0]), size):
        parts = [tf.convert_to_tensor(array[start : start + size]) for array in arrays]
        if structure is None:
            yield parts[0]
        else:
            yield keras.tree.pack_sequence_as(structure, parts)


def layer_inputs(model, layers, inputs):
    """Calls a model, and returns what some of its layers were called on.

    Args:
        model: A Keras model. Nothing in it changes.
        layers: Layers of it, at any depth.
        inputs: What to call it on, in inference.

    Returns:
        Mapping from the ids of layers to lists of arrays, one for each call, in the
        order in which the layers were called first.

    Raises:
        ValueError: If a layer runs inside compiled code or a loop, where its inputs
            cannot be seen, or was not called.
    """
    seen = {}

    def note(layer, call, args, kwargs):
        first = args[0] if args else next(iter(kwargs.values()))
        seen.setdefault(id(layer), []).append(first)
        return call(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(watched(layer, note))
        model(inputs, training=False)
    for layer in layers:
        tensors = seen.get(id(layer), [])
        if not tensors or any(tf.is_symbolic_tensor(x) for x in tensors):
            raise ValueError(
                f"What layer {layer.name!r} is called on cannot be seen: it is not "
                "called by the model, or inside a loop, as TimeDistributed has one. "
                "Leave it out, or choose a method without data."
            )
    return {key: [np.asarray(x) for x in tensors] for key, tensors in seen.items()}


def rows_of(layer, inputs):
    """The rows that a layer's kernel, as a matrix, is multiplied with.

    Args:
        layer: A `Dense` or `Conv2D`, or a subclass of these.
        inputs: Array that it is called on.

    Returns:
        Array of `(rows, inputs of the matrix)`: for a convolution, its windows.
    """
    return rows_in_groups(layer, inputs, 1)[0]


def rows_in_groups(layer, inputs, groups):
    """The same where groups of outputs read groups of the channels.

    Args:
        layer: A `Dense`, `Conv1D`, `Conv2D` or `DepthwiseConv2D`, or a subclass.
        inputs: Array that it is called on.
        groups: Integer >= 1, into how many groups of channels the inputs fall.

    Returns:
        Array of `(groups, rows, inputs of the matrix)`.
    """
    if not hasattr(layer, "kernel_size"):
        return inputs.reshape(1, -1, inputs.shape[-1])
    if layer.data_format == "channels_first":
        inputs = np.moveaxis(inputs, 1, -1)
    padding = layer.padding
    geometry = [layer.kernel_size, layer.strides, layer.dilation_rate]
    if inputs.ndim == 3:
        if padding == "causal":
            past = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
            inputs, padding = np.pad(inputs, [(0, 0), (past, 0), (0, 0)]), "valid"
        inputs = inputs[:, None]
        geometry = [(1, *sides) for sides in geometry]
    size, strides, rates = ((1, *sides, 1) for sides in geometry)
    windows = tf.image.extract_patches(inputs, size, strides, rates, padding.upper())
    places, channels = math.prod(size), inputs.shape[-1] // groups
    windows = np.asarray(windows).reshape(-1, places, groups, channels)
    return windows.transpose(2, 0, 1, 3).reshape(groups, -1, places * channels)
