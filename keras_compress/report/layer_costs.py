"""How many weights and multiply-adds a layer has, by its class."""

import math

import numpy as np
from keras import layers, ops

from keras_compress._copies import all_layers
from keras_compress._validation import invalid
from keras_compress.functional import cost
from keras_compress.layers.packed import (
    PackedBitwiseChain,
    PackedBitwiseConv2D,
    PackedBitwiseDense,
)

PACKED_BITWISE = (PackedBitwiseDense, PackedBitwiseConv2D)

_RULES = {}


def register_cost(*layer_classes):
    """Teaches `report` what a call of a layer costs.

    The decorated function gets `(layer, input_shape, output_shape)`: tuples of
    integers with the batch in front, or lists of tuples where there are several
    tensors. It returns a list of `keras_compress.functional.cost.Product`, one for
    each weight array. Subclasses of `layer_classes` inherit the rule. A layer may
    instead have a method `compression_cost(input_shape, output_shape)`.

    Args:
        *layer_classes: Subclasses of `keras.layers.Layer`.

    Returns:
        A decorator that returns its function unchanged.

    Raises:
        ValueError: If something else is registered.

    Example:
    ```python
    @register_cost(MyMixer)
    def mixer_cost(layer, input_shape, output_shape):
        size = int(np.prod(layer.mixing.shape))
        kept = int(np.count_nonzero(layer.mixing))
        return [Product(size, kept, multiply_adds=size * input_shape[1])]
    ```
    """
    for layer_class in layer_classes:
        is_class = isinstance(layer_class, type)
        if not (is_class and issubclass(layer_class, layers.Layer)):
            expected = "subclasses of keras.layers.Layer"
            raise invalid("layer_classes", expected, layer_class)

    def register(function):
        for layer_class in layer_classes:
            _RULES[layer_class] = function
        return function

    return register


def rule_for(layer):
    """The function that costs `layer`, or `None` if nobody knows."""
    if hasattr(layer, "compression_cost"):
        return type(layer).compression_cost
    for layer_class in type(layer).__mro__:
        if layer_class in _RULES:
            return _RULES[layer_class]
    return None


def own_weights(layer):
    """The variables that `layer` holds itself, not through a layer inside it."""
    inner = {id(v) for inside in all_layers(layer)[1:] for v in inside.weights}
    return [v for v in layer.weights if id(v) not in inner]


def is_container(layer):
    """Whether `layer` only passes its inputs through the layers inside it."""
    has_layers = len(all_layers(layer)) > 1
    return has_layers and rule_for(layer) is None and not own_weights(layer)


def guessed_weights(layer):
    """For a layer without a rule: `(weights, kept)` of its matrices."""
    arrays = [ops.convert_to_numpy(v) for v in own_weights(layer) if len(v.shape) > 1]
    sizes = sum(array.size for array in arrays)
    return sizes, sum(int(np.count_nonzero(array)) for array in arrays)


def product(layer, kernel, uses=None, multiply_adds=None):
    """The `Product` of a layer with a weight array that is used so many times."""
    kernel = np.asarray(ops.convert_to_numpy(kernel))
    work = kernel.size * uses if multiply_adds is None else multiply_adds
    kept = int(np.count_nonzero(kernel))
    # A layer that Keras quantized multiplies integers, whatever it returns.
    integers = kernel.dtype == np.int8
    arithmetic = "int8" if integers else layer.compute_dtype
    return cost.Product(kernel.size, kept, int(work), arithmetic)


def _kernel(layer):
    if hasattr(layer, "effective_kernel"):
        return layer.effective_kernel()
    return layer.kernel


def spatial(layer, shape):
    """The number of positions of a feature map: examples times pixels."""
    if layer.data_format == "channels_first":
        return math.prod((shape[0], *shape[2:]))
    return math.prod(shape[:-1])


@register_cost(layers.Dense)
def _dense(layer, input_shape, output_shape):
    return [product(layer, _kernel(layer), math.prod(input_shape[:-1]))]


@register_cost(layers.EinsumDense)
def _einsum_dense(layer, input_shape, output_shape):
    kernel = _kernel(layer)
    work = cost.einsum_multiply_adds(layer.equation, input_shape, tuple(kernel.shape))
    return [product(layer, kernel, multiply_adds=work)]


@register_cost(
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
def _convolution(layer, input_shape, output_shape):
    # With groups and depthwise alike: every weight is used once a position.
    return [product(layer, _kernel(layer), spatial(layer, output_shape))]


@register_cost(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _transposed_convolution(layer, input_shape, output_shape):
    return [product(layer, _kernel(layer), spatial(layer, input_shape))]


@register_cost(layers.SeparableConv1D, layers.SeparableConv2D)
def _separable_convolution(layer, input_shape, output_shape):
    uses = spatial(layer, output_shape)
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return [product(layer, kernel, uses) for kernel in kernels]


@register_cost(layers.Embedding)
def _embedding(layer, input_shape, output_shape):
    return [product(layer, layer.embeddings, 0)]


@register_cost(layers.BatchNormalization, layers.Normalization)
def _scale_and_shift(layer, input_shape, output_shape):
    return [cost.Product(0, 0, math.prod(output_shape), layer.compute_dtype)]


# Keras 3.8 has no RMSNormalization yet.
_NEWER = [x for x in [getattr(layers, "RMSNormalization", None)] if x is not None]


@register_cost(layers.LayerNormalization, layers.GroupNormalization, *_NEWER)
def _live_normalization(layer, input_shape, output_shape):
    # The sum of squares, then scale and shift.
    return [cost.Product(0, 0, 2 * math.prod(output_shape), layer.compute_dtype)]


@register_cost(layers.PReLU, layers.SpectralNormalization)
def _no_products(layer, input_shape, output_shape):
    return []


@register_cost(layers.MultiHeadAttention)
def _attention(layer, input_shape, output_shape):
    # The projections are layers of their own; this is what happens between them.
    query, value = input_shape[0], input_shape[1]
    work = cost.attention_multiply_adds(
        layer.num_heads,
        math.prod(query[1:-1]),
        math.prod(value[1:-1]),
        layer.key_dim,
        layer.value_dim,
        batch=query[0],
    )
    return [cost.Product(0, 0, work, layer.compute_dtype)]


@register_cost(layers.GroupQueryAttention)
def _group_query_attention(layer, input_shape, output_shape):
    # Keys and values are repeated for all heads of the queries that share them.
    query, value = input_shape[0], input_shape[1]
    work = cost.attention_multiply_adds(
        layer.num_query_heads,
        math.prod(query[1:-1]),
        math.prod(value[1:-1]),
        layer.head_dim,
        layer.head_dim,
        batch=query[0],
    )
    return [cost.Product(0, 0, work, layer.compute_dtype)]


@register_cost(layers.Attention)
def _plain_attention(layer, input_shape, output_shape):
    query, value = input_shape[0], input_shape[1]
    key = input_shape[2] if len(input_shape) > 2 else value
    sizes = query[1], value[1], key[-1], value[-1]
    work = cost.attention_multiply_adds(1, *sizes, batch=query[0])
    return [cost.Product(0, 0, work, layer.compute_dtype)]


@register_cost(layers.AdditiveAttention)
def _additive_attention(layer, input_shape, output_shape):
    # A sum takes the place of the scores' products, but for its scale.
    query, value = input_shape[0], input_shape[1]
    key = input_shape[2] if len(input_shape) > 2 else value
    size = (key[-1] if layer.use_scale else 0, value[-1])
    work = cost.attention_multiply_adds(1, query[1], value[1], *size, batch=query[0])
    return [cost.Product(0, 0, work, layer.compute_dtype)]


@register_cost(layers.Dot)
def _dot(layer, input_shape, output_shape):
    axes = layer.axes
    axis = axes if isinstance(axes, int) else axes[0]
    work = math.prod(output_shape) * input_shape[0][axis]
    return [cost.Product(0, 0, work, layer.compute_dtype)]


@register_cost(layers.LSTM, layers.GRU, layers.SimpleRNN)
def _recurrent(layer, input_shape, output_shape):
    shape = input_shape[0] if isinstance(input_shape, list) else input_shape
    kernels = (layer.cell.kernel, layer.cell.recurrent_kernel)
    return [product(layer, kernel, shape[0] * shape[1]) for kernel in kernels]


def runs_its_layers_itself(layer):
    """Whether the rule of `layer` speaks for the layers inside it too."""
    return isinstance(layer, layers.RNN | PackedBitwiseChain)


def byte_count(variables):
    """Resident bytes of Keras variables, each counted once."""
    unique = {id(v): v for v in variables}.values()
    return sum(_itemsize(v.dtype) * math.prod(v.shape) for v in unique)


def parameters_in_words(layer):
    """Weights that packed layers hold as bits, in `layer` and what is inside of it."""
    inside = {id(x): x for x in all_layers(layer) if isinstance(x, PACKED_BITWISE)}
    return sum(x.nonzeros for x in inside.values())


def parameter_count(variables):
    """Elements of Keras variables; masks, indices, seeds and words are no parameters.

    What words hold, `parameters_in_words` counts.
    """
    unique = {id(v): v for v in variables}.values()
    return sum(
        math.prod(v.shape) for v in unique if "float" in v.dtype or v.dtype == "int8"
    )


def _itemsize(dtype):
    names = {"bool": 1, "bfloat16": 2, "int4": 1, "uint4": 1}
    if dtype in names or dtype.startswith("float8"):
        return names.get(dtype, 1)
    return np.dtype(dtype).itemsize
