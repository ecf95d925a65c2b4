"""The arrays that a model is called on: the caller's, or made from its input spec."""

import keras
import numpy as np

from keras_compress._validation import invalid


def check_built(model):
    """`model`, which must be a built Keras model of any kind, subclassed ones too."""
    if not isinstance(model, keras.Model):
        raise invalid("models", "Keras models", model)
    if not model.built:
        raise ValueError(
            f"`models` must be built. Received: {model.name!r}, which has no weights "
            "yet. Give it an Input, or call it on data once."
        )
    return model


def example_inputs(model, data=None, name="inputs"):
    """Inputs of one example (or of the batch that the model insists on).

    Args:
        model: A built Keras model.
        data: Structure of arrays shaped like the model's inputs, or `None` for zeros.
        name: The argument that `data` came by, for the message.

    Returns:
        A structure of numpy arrays.

    Raises:
        ValueError: If `data` does not fit, or is missing where it is needed.
    """
    spec = input_spec(model)
    if data is None:
        if spec is None:
            raise _needs_inputs(model, "its input shape is not known")
        return keras.tree.map_structure(lambda x: _zeros(model, x), spec)
    batch = 1 if spec is None else (keras.tree.flatten(spec)[0].shape[0] or 1)
    data = fitted(model, data, name)
    return keras.tree.map_structure(lambda x: x[:batch], data)


def random_inputs(model):
    """Inputs of one example for timing: normal numbers, zeros where integers go in."""
    generator = np.random.default_rng(0)

    def fill(zeros):
        if not np.issubdtype(zeros.dtype, np.floating):
            return zeros
        return generator.standard_normal(zeros.shape).astype(zeros.dtype)

    return keras.tree.map_structure(fill, example_inputs(model))


def fitted(model, data, name):
    """`data` as numpy arrays of the types that the model takes, checked against it."""
    data = keras.tree.map_structure(np.asarray, data)
    arrays = keras.tree.flatten(data)
    if any(array.ndim == 0 or len(array) == 0 for array in arrays) or not arrays:
        raise invalid(name, "arrays of at least one example", _shapes(arrays))
    if len({len(array) for array in arrays}) > 1:
        raise invalid(name, "arrays of equally many examples", _shapes(arrays))
    spec = input_spec(model)
    if spec is None:
        return data
    wanted = keras.tree.flatten(spec)
    if len(wanted) != len(arrays) or not all(map(_fits, arrays, wanted)):
        shapes = [x.shape for x in wanted]
        expected = f"what {model.name!r} takes, arrays of shape {shapes}"
        raise invalid(name, expected, _shapes(arrays))
    pairs = list(zip(arrays, wanted, strict=True))
    if any(_is_text(array) != (x.dtype == "string") for array, x in pairs):
        types = [x.dtype for x in wanted]
        expected = f"what {model.name!r} takes, arrays of {types}"
        raise invalid(name, expected, [str(array.dtype) for array in arrays])
    typed = [x if _is_text(x) else x.astype(spec.dtype) for x, spec in pairs]
    return keras.tree.pack_sequence_as(data, typed)


def batches_of(data, size):
    """Yields slices of `size` examples of a structure of arrays."""
    count = len(keras.tree.flatten(data)[0])
    for start in range(0, count, size):
        yield keras.tree.map_structure(lambda x, i=start: x[i : i + size], data)


def input_spec(model):
    """The model's symbolic inputs, or those of its last build, or `None`."""
    try:
        return model.input
    except (AttributeError, ValueError):
        # A Sequential that was never called has its inputs only as a list.
        inputs = getattr(model, "inputs", None)
    if inputs:
        return inputs[0] if len(inputs) == 1 else inputs
    shape = (model.get_build_config() or {}).get("input_shape")
    flat = isinstance(shape, tuple | list) and len(shape) > 1
    if not flat or not all(side is None or isinstance(side, int) for side in shape):
        return None
    # The model keeps the batch that it was built on: that one is free again.
    return keras.KerasTensor((None, *shape[1:]), dtype=model.compute_dtype)


def _fits(array, spec):
    # One missing axis of size 1 is filled in by Keras: `(batch,)` for `(batch, 1)`.
    if array.ndim != len(spec.shape):
        return array.ndim + 1 == len(spec.shape) and spec.shape[-1] == 1
    return all(
        wanted in (None, side)
        for side, wanted in zip(array.shape[1:], spec.shape[1:], strict=True)
    )


def _is_text(array):
    if array.dtype.kind == "O":  # what strings of TensorFlow are in numpy
        return all(isinstance(x, str | bytes) for x in array.flat)
    return array.dtype.kind in "SU"


def _zeros(model, spec):
    if spec.dtype == "string" or None in spec.shape[1:]:
        shown = f"{spec.shape} of {spec.dtype}"
        raise _needs_inputs(model, f"its input {spec.name!r} is {shown}")
    return np.zeros((spec.shape[0] or 1, *spec.shape[1:]), spec.dtype)


def _needs_inputs(model, reason):
    return ValueError(
        f"`inputs` must be given for {model.name!r}: an array (or structure of arrays) "
        f"of at least one example, because {reason}. Received: inputs=None"
    )


def _shapes(arrays):
    return [array.shape for array in arrays]
