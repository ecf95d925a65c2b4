"""Native maths: TensorFlow ops of our own, each with a twin in plain TensorFlow."""

from keras_compress.ops import stages
from keras_compress.ops._library import native_status, twins
from keras_compress.ops.bitwise import pack_signs, xnor_chain, xnor_matmul
from keras_compress.ops.bitwise_conv import pool_signs, xnor_conv2d
from keras_compress.ops.bitwise_network import (
    network_function,
    xnor_function,
    xnor_network,
)
from keras_compress.ops.coding import level_bits
from keras_compress.ops.integer import integer_matmul
from keras_compress.ops.low_rank import low_rank_matmul
from keras_compress.ops.sparse import sparse_conv2d, sparse_matmul

__all__ = [
    "integer_matmul",
    "level_bits",
    "low_rank_matmul",
    "native_status",
    "network_function",
    "pack_signs",
    "pool_signs",
    "sparse_conv2d",
    "sparse_matmul",
    "stages",
    "twins",
    "xnor_chain",
    "xnor_conv2d",
    "xnor_function",
    "xnor_matmul",
    "xnor_network",
]
