"""What kind of numbers flows between layers: bits, numbers of either sign, or not."""

import functools

import keras
import numpy as np

from keras_compress.layers.bitwise import BitwiseActivation
from keras_compress.layers.coding import BipolarCoding, BitsCoding, LloydMaxCoding

BITS = "bits"
SIGNED = "of either sign"
NOT_NEGATIVE = "never negative"
UNKNOWN = "unknown"

_layers = keras.layers
GIVE_BITS = (BipolarCoding, BitsCoding, BitwiseActivation, LloydMaxCoding)
# They hand on numbers as they are, some of them, or their means.
SIGN_KEEPING = (
    _layers.AlphaDropout,
    _layers.AveragePooling1D,
    _layers.AveragePooling2D,
    _layers.AveragePooling3D,
    _layers.Cropping1D,
    _layers.Cropping2D,
    _layers.Cropping3D,
    _layers.Dropout,
    _layers.Flatten,
    _layers.GlobalAveragePooling1D,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalMaxPooling1D,
    _layers.GlobalMaxPooling2D,
    _layers.Identity,
    _layers.MaxPooling1D,
    _layers.MaxPooling2D,
    _layers.MaxPooling3D,
    _layers.Permute,
    _layers.RepeatVector,
    _layers.Reshape,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.UpSampling1D,
    _layers.UpSampling2D,
    _layers.ZeroPadding1D,
    _layers.ZeroPadding2D,
    _layers.Concatenate,
)
NORMALISING = (
    _layers.BatchNormalization,
    _layers.GroupNormalization,
    _layers.LayerNormalization,
    _layers.Normalization,
)
MERGING = (_layers.Add, _layers.Average, _layers.Maximum, _layers.Multiply)
# Activations that are layers, and what they give.
ACTIVATIONS = {
    _layers.ELU: SIGNED,
    _layers.LeakyReLU: SIGNED,
    _layers.PReLU: SIGNED,
    _layers.ReLU: NOT_NEGATIVE,
    _layers.Softmax: NOT_NEGATIVE,
}
NOT_NEGATIVE_FUNCTIONS = (
    *("relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus"),
    *("exponential", "sparse_sigmoid", "sparsemax"),
)


class Signal:
    """Answers, for the layers of a model, what they get and whom they feed.

    Args:
        neighbours: As `swap` gives it: `.before(layer)`, `.behind(layer)` and
            `.is_end(layer)`.
        bitwise: Function of a layer: whether it is bitwise, or is to become so.
        lowest: Function of an `InputLayer`, to the lowest number that the calibration
            data have for it, or `None`.
    """

    def __init__(self, neighbours, bitwise, lowest):
        self.neighbours = neighbours
        self.is_bitwise = bitwise
        self.lowest = lowest
        # A graph of many branches has very many paths, but few layers.
        self.kind_of = functools.cache(self._kind_of)
        self.feeds_bits_only = functools.cache(self._feeds_bits_only)
        self.comes_from_bits = functools.cache(self._comes_from_bits)

    def kind_before(self, layer):
        """What kind of numbers `layer` gets."""
        kinds = {self.kind_of(x) for x in self.neighbours.before(layer)}
        for kind in (SIGNED, UNKNOWN, NOT_NEGATIVE, BITS):
            if kind in kinds:
                return kind
        return UNKNOWN

    def activations_behind(self, layer):
        """The activation layers between `layer` and other bitwise layers."""
        found = []
        for x in self.neighbours.behind(layer):
            if self._becomes_bits(x):
                found.append(x)
            elif not self.is_bitwise(x) and _hands_on(x):
                found.extend(self.activations_behind(x))
        return found

    def _kind_of(self, layer):
        """What kind of numbers `layer` gives."""
        if isinstance(layer, GIVE_BITS) or self._becomes_bits(layer):
            return BITS
        if self.is_bitwise(layer) and self.feeds_bits_only(layer):
            return BITS  # or sums of them
        if isinstance(layer, keras.layers.InputLayer):
            return self._kind_of_input(layer)
        if type(layer) in ACTIVATIONS:
            return ACTIVATIONS[type(layer)]
        name = activation_name(layer)
        if name == "bitwise":
            return BITS
        if name in NOT_NEGATIVE_FUNCTIONS:
            return NOT_NEGATIVE
        if name not in (None, "linear"):
            return SIGNED if hasattr(keras.activations, name) else UNKNOWN
        if isinstance(layer, NORMALISING) or hasattr(layer, "kernel"):
            return SIGNED
        if isinstance(layer, keras.layers.Rescaling):
            keeps = np.all(layer.scale >= 0) and np.all(layer.offset >= 0)
            return self.kind_before(layer) if keeps else SIGNED
        if isinstance(layer, (*SIGN_KEEPING, *MERGING)) or name == "linear":
            return self.kind_before(layer)
        return UNKNOWN

    def _kind_of_input(self, layer):
        dtype = keras.backend.standardize_dtype(layer.dtype)
        if dtype == "bool" or dtype.startswith("uint"):
            return NOT_NEGATIVE
        lowest = self.lowest(layer)
        if lowest is None:
            return UNKNOWN
        return SIGNED if lowest < 0 else NOT_NEGATIVE

    def _feeds_bits_only(self, layer):
        """Whether the outputs of `layer` only ever get to bitwise layers."""
        behind = self.neighbours.behind(layer)
        if self.neighbours.is_end(layer) or not behind:
            return False
        return all(
            self.is_bitwise(x) or (_hands_on(x) and self.feeds_bits_only(x))
            for x in behind
        )

    def _comes_from_bits(self, layer):
        """Whether what `layer` gives was made by bitwise layers alone."""
        if self.is_bitwise(layer):
            return True
        before = self.neighbours.before(layer)
        return (
            _hands_on(layer)
            and bool(before)
            and all(self.comes_from_bits(x) for x in before)
        )

    def _becomes_bits(self, layer):
        """Whether `layer` is an activation between bitwise layers."""
        if not isinstance(layer, (keras.layers.Activation, *ACTIVATIONS)):
            return False
        between = self.comes_from_bits(layer) and self.feeds_bits_only(layer)
        return between and activation_name(layer) != "linear"


def activation_name(layer):
    """The name of the activation of a layer, or of an operation; None without one."""
    if not isinstance(layer, keras.Layer):
        return type(layer).__name__.lower()
    function = getattr(layer, "activation", None)
    return None if function is None else getattr(function, "__name__", "?")


def _hands_on(layer):
    passing = (keras.layers.Activation, *ACTIVATIONS, *NORMALISING, *SIGN_KEEPING)
    return isinstance(layer, passing)
