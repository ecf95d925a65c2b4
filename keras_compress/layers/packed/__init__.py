"""Inference forms: what `pack` makes of the trained layers."""

from keras_compress.layers.packed.compact import CompactConv2D as CompactConv2D
from keras_compress.layers.packed.compact import CompactDense as CompactDense
from keras_compress.layers.packed.integer import IntegerConv2D as IntegerConv2D
from keras_compress.layers.packed.integer import IntegerDense as IntegerDense
from keras_compress.layers.packed.low_rank import (
    PackedLowRankDense as PackedLowRankDense,
)
from keras_compress.layers.packed.packed_bitwise import (
    PackedBitwiseConv2D as PackedBitwiseConv2D,
)
from keras_compress.layers.packed.packed_bitwise import (
    PackedBitwiseDense as PackedBitwiseDense,
)
from keras_compress.layers.packed.packed_chain import (
    PackedBitwiseChain as PackedBitwiseChain,
)
from keras_compress.layers.packed.packed_coding import (
    PackedLloydMaxCoding as PackedLloydMaxCoding,
)
from keras_compress.layers.packed.packed_pooling import (
    PackedMaxPooling2D as PackedMaxPooling2D,
)
from keras_compress.layers.packed.sparse import SparseConv2D as SparseConv2D
from keras_compress.layers.packed.sparse import SparseDense as SparseDense
