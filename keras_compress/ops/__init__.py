"""Native maths: TensorFlow ops of our own, each with a twin in plain TensorFlow."""

from keras_compress.ops._library import native_status, twins
from keras_compress.ops.sparse import sparse_conv2d, sparse_matmul

__all__ = ["native_status", "sparse_conv2d", "sparse_matmul", "twins"]
