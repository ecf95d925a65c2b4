"""Keras layers of the five techniques, to be used as their Keras parents are."""

from keras_compress.layers.pruned import PrunedConv2D as PrunedConv2D
from keras_compress.layers.pruned import PrunedDense as PrunedDense
