"""Native maths: TensorFlow ops of our own, each with a twin in plain TensorFlow."""

from keras_compress.ops._library import native_status, twins
from keras_compress.ops.bitwise import pack_signs, xnor_chain, xnor_matmul
from keras_compress.ops.bitwise_conv import pool_signs, xnor_conv2d
from keras_compress.ops.bitwise_function import xnor_function
from keras_compress.ops.integer import integer_matmul
from keras_compress.ops.sparse import sparse_conv2d, sparse_matmul

__all__ = [
    "integer_matmul",
    "native_status",
    "pack_signs",
    "pool_signs",
    "sparse_conv2d",
    "sparse_matmul",
    "twins",
    "xnor_chain",
    "xnor_conv2d",
    "xnor_function",
    "xnor_matmul",
]
