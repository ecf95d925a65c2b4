"""`fold_batch_normalization`: a model whose normalisations are in its kernels."""

import keras
import numpy as np
from keras import ops

from keras_compress._copies import carry_compile
from keras_compress._layer_kinds import always_trains, check_inference
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import DROP, check_model, rebuild, walk
from keras_compress.layers._config import arguments_of, copy_variables

FOLDS_INTO = (keras.layers.Dense, keras.layers.Conv2D)


def fold_batch_normalization(model):
    """The same model in inference, with its normalisations folded into kernels.

    A `BatchNormalization` right behind a `Dense` or `Conv2D` without an activation
    computes `gamma * (x - mean) / sqrt(variance + epsilon) + beta` for each output;
    that factor goes into the kernel, the rest into the bias. Do it before a model is
    quantized: the format of a kernel must suit what is multiplied. What trains on from
    here has no batch statistics.

    Args:
        model: A built Sequential or Functional model. It is left as it is.

    Returns:
        The new model. Its normalisations that stand elsewhere, or are called with
        `training=True`, stay.

    Raises:
        ValueError: If the model cannot be rebuilt, calls a model inside it with
            `training=True`, or has nothing to fold.

    Example:

    >>> layers = keras.layers
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), layers.Dense(2), layers.BatchNormalization(),
    ...      layers.ReLU()]
    ... )
    >>> [type(layer).__name__ for layer in fold_batch_normalization(model).layers]
    ['Dense', 'ReLU']

    Reference:
        - [Jacob et al., 2018](https://arxiv.org/abs/1712.05877), section 3.2
    """
    check_model("model", model)
    check_inference("model", model)
    folded = _pairs(model)
    if not folded:
        raise ValueError(
            f"`model` must have a BatchNormalization right behind a Dense or Conv2D "
            f"without an activation. Received: {model.name!r}, which has none."
        )
    dropped = {id(norm) for norm in folded.values()}

    def replace(layer):
        if id(layer) in dropped:
            return DROP
        if id(layer) not in folded:
            return None
        arguments = {**arguments_of(layer), "use_bias": True}
        new = type(layer)(**arguments)
        return new, lambda: _fill(new, layer, folded[id(layer)])

    new = rebuild(model, replace)
    carry_compile(model, new)
    return new


def _pairs(model):
    """Mapping from the ids of layers to the normalisations that go into them."""
    neighbours = Neighbours(model)
    found = {}
    for _, norm in walk(model):
        before = neighbours.before(norm)
        if type(norm) is not keras.layers.BatchNormalization or len(before) != 1:
            continue
        layer = before[0]
        linear = getattr(layer, "activation", None) is keras.activations.linear
        alone = neighbours.behind(layer) == [norm] and not neighbours.is_end(layer)
        if type(layer) not in FOLDS_INTO or not linear or not alone:
            continue
        if always_trains(norm):  # it goes by each batch, not by what is stored
            continue
        # One call of each; a layer inside a wrapper has none in the graph.
        once = len(norm._inbound_nodes) == len(layer._inbound_nodes) == 1
        if once and _is_of_outputs(norm, layer):
            found[id(layer)] = norm
    return found


def _is_of_outputs(norm, layer):
    """Whether a normalisation has a scale for each of the layer's outputs."""
    rank = len(layer.output.shape)
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return norm.axis % rank == (1 if first else rank - 1)


def _fill(new, layer, norm):
    copy_variables(layer, new)
    read = ops.convert_to_numpy
    scale = 1.0 / np.sqrt(read(norm.moving_variance).astype("float64") + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * read(norm.gamma)
    bias = 0.0 if layer.bias is None else read(layer.bias).astype("float64")
    bias = (bias - read(norm.moving_mean)) * scale
    if norm.beta is not None:
        bias = bias + read(norm.beta)
    new.kernel.assign(read(layer.kernel) * scale)
    new.bias.assign(bias)
