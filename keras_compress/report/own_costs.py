"""How many weights and multiply-adds the layers of this package have."""

import math

import numpy as np

from keras_compress.functional import cost
from keras_compress.functional.convolution import FORMS
from keras_compress.layers.bitwise import BitwiseActivation
from keras_compress.layers.coding import LloydMaxCoding
from keras_compress.layers.low_rank import LowRankConv2D, LowRankDense
from keras_compress.layers.packed import (
    IntegerConv2D,
    IntegerDense,
    PackedBitwiseChain,
    PackedBitwiseDense,
    PackedLloydMaxCoding,
    PackedLowRankDense,
    PackedMaxPooling2D,
    SparseConv2D,
    SparseDense,
)
from keras_compress.report.layer_costs import (
    PACKED_BITWISE,
    product,
    register_cost,
    spatial,
)


@register_cost(
    BitwiseActivation, LloydMaxCoding, PackedLloydMaxCoding, PackedMaxPooling2D
)
def _no_products(layer, input_shape, output_shape):
    return []


@register_cost(LowRankDense)
def _low_rank_dense(layer, input_shape, output_shape):
    uses = math.prod(input_shape[:-1])
    return [product(layer, factor, uses) for factor in layer.factors.values()]


@register_cost(PackedLowRankDense)
def _packed_low_rank_dense(layer, input_shape, output_shape):
    uses = math.prod(input_shape[:-1])
    products = []
    for factor in layer.factors.values():
        kept = int(np.count_nonzero(factor))
        work = factor.size * uses
        products.append(cost.Product(factor.size, kept, work, "float32"))
    return products


@register_cost(LowRankConv2D)
def _low_rank_conv2d(layer, input_shape, output_shape):
    positions = spatial(layer, output_shape)
    shapes = {name: tuple(v.shape) for name, v in layer.factors.items()}
    work = FORMS[layer.method].work(shapes, layer.strides)
    return [
        product(layer, factor, multiply_adds=work[name] * positions)
        for name, factor in layer.factors.items()
    ]


@register_cost(SparseDense, SparseConv2D)
def _sparse(layer, input_shape, output_shape):
    if isinstance(layer, SparseDense):
        positions = math.prod(input_shape[:-1])
    else:
        positions = spatial(layer, output_shape)
    size = math.prod(layer.kernel_shape)
    work = size * positions
    kept = int(layer.nonzeros)
    return [cost.Product(size, kept, work, "float32", skips_zeros=True)]


@register_cost(*PACKED_BITWISE)
def _packed_bitwise(layer, input_shape, output_shape):
    if isinstance(layer, PackedBitwiseDense):
        positions = math.prod(input_shape[:-1])
    elif layer.outputs == "bits":
        positions = math.prod(output_shape[:-1])
    else:
        positions = spatial(layer, output_shape)
    return [_bits(layer, positions)]


@register_cost(PackedBitwiseChain)
def _packed_bitwise_chain(layer, input_shape, output_shape):
    products, shape = [], input_shape
    for member in layer.members:
        given, shape = shape, member.compute_output_shape(shape)
        if isinstance(member, PACKED_BITWISE):
            products += _packed_bitwise(member, given, shape)
    return products


def _bits(layer, positions):
    # Weights that are 0 are multiplied like the others: a bit more of each word.
    size = layer.fan_in * layer.unit_count
    return cost.Product(size, layer.nonzeros, size * positions, "1-bit")


@register_cost(IntegerDense, IntegerConv2D)
def _integer(layer, input_shape, output_shape):
    kernel = layer.effective_kernel()
    if isinstance(layer, IntegerDense):
        positions = math.prod(input_shape[:-1])
    else:
        positions = spatial(layer, output_shape)
    kept, work = int(np.count_nonzero(kernel)), kernel.size * positions
    arithmetic = "int8" if layer.input_format.bits <= 8 else "int16"
    skips = layer.blocks is not None
    return [cost.Product(kernel.size, kept, work, arithmetic, skips_zeros=skips)]
