"""Keras layers of the five techniques, to be used as their Keras parents are."""

from keras_compress.layers.bitwise import BitwiseActivation as BitwiseActivation
from keras_compress.layers.bitwise import BitwiseConv2D as BitwiseConv2D
from keras_compress.layers.bitwise import BitwiseDense as BitwiseDense
from keras_compress.layers.clustered import ClusteredConv2D as ClusteredConv2D
from keras_compress.layers.clustered import ClusteredDense as ClusteredDense
from keras_compress.layers.clustered import (
    PrunedClusteredConv2D as PrunedClusteredConv2D,
)
from keras_compress.layers.clustered import (
    PrunedClusteredDense as PrunedClusteredDense,
)
from keras_compress.layers.coding import BipolarCoding as BipolarCoding
from keras_compress.layers.coding import BitsCoding as BitsCoding
from keras_compress.layers.coding import LloydMaxCoding as LloydMaxCoding
from keras_compress.layers.coding import ZeroOneCoding as ZeroOneCoding
from keras_compress.layers.fixed_point import FixedPointConv2D as FixedPointConv2D
from keras_compress.layers.fixed_point import FixedPointDense as FixedPointDense
from keras_compress.layers.fixed_point import (
    PrunedFixedPointConv2D as PrunedFixedPointConv2D,
)
from keras_compress.layers.fixed_point import (
    PrunedFixedPointDense as PrunedFixedPointDense,
)
from keras_compress.layers.learned_step import ClippedReLU as ClippedReLU
from keras_compress.layers.learned_step import LearnedStepConv2D as LearnedStepConv2D
from keras_compress.layers.learned_step import LearnedStepDense as LearnedStepDense
from keras_compress.layers.low_rank import LowRankConv2D as LowRankConv2D
from keras_compress.layers.low_rank import LowRankDense as LowRankDense
from keras_compress.layers.projected import ProjectedConv2D as ProjectedConv2D
from keras_compress.layers.projected import ProjectedDense as ProjectedDense
from keras_compress.layers.pruned import PrunedConv1D as PrunedConv1D
from keras_compress.layers.pruned import PrunedConv2D as PrunedConv2D
from keras_compress.layers.pruned import PrunedDense as PrunedDense
from keras_compress.layers.pruned import PrunedDepthwiseConv2D as PrunedDepthwiseConv2D
from keras_compress.layers.weight_clip import WeightClip as WeightClip
