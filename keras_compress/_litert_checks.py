"""What LiteRT has not is refused by name, before anything is converted."""

import keras

from keras_compress._litert_layers import LEAST_WEIGHT, NAMED, tensor_limits
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import walk
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import (
    final_format,
    holds,
    sure_rounding,
)
from keras_compress.layers.packed._packed_signs import PackedSigns
from keras_compress.layers.packed.packed_chain import PackedBitwiseChain

MOVING = (keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape)


def check_convertible(path, layer):
    """Raises for what LiteRT has not.

    Args:
        path: Where the layer is, for the message.
        layer: Any layer of a model.

    Raises:
        ValueError: If the layer cannot be converted.
    """
    if is_fixed_point(layer):
        raise ValueError(
            f"Layer {path!r} is not packed yet. Pack the model first: "
            "keras_compress.pack"
        )
    if isinstance(layer, PackedSigns | PackedBitwiseChain):
        raise ValueError(
            f"Layer {path!r} has packed bits, which LiteRT has no products for. Pass "
            "the trained model that was packed: its weights are floats of -1 and +1."
        )
    if not isinstance(layer, IntegerKernel):
        return
    if layer.bits > 8:
        raise ValueError(
            f"Layer {path!r} has weights of {layer.bits} bits, and LiteRT's have 8. "
            "Give its kernel a format of 8 bits."
        )
    least = int(layer.effective_kernel().min(initial=0))
    if least < LEAST_WEIGHT:
        raise ValueError(
            f"Layer {path!r} has weights of {least}, and LiteRT's begin at "
            f"{LEAST_WEIGHT}. Give its kernel one more integer bit and one fraction "
            "bit less, or 7 bits."
        )
    for name in ("input_format", "pre_activation_format", "output_format"):
        format = getattr(layer, name)
        if format is None:
            continue
        if not holds(format) or sure_rounding(format.rounding) != "nearest_even":
            raise ValueError(
                f"The {name} of layer {path!r} must saturate, round to the nearest and "
                f"have 16 bits at most for LiteRT. Received: {format}"
            )
    first, last = layer.pre_activation_format, layer.output_format
    if layer.activation in NAMED and None not in (first, last) and first != last:
        # The converter makes one of two ranges in a row.
        raise ValueError(
            f"The pre_activation_format and the output_format of layer {path!r} must "
            "be one for LiteRT, which rounds once behind a sum. Received: "
            f"{first} and {last}"
        )


def check_ranges(model):
    """Raises where numbers of one format are brought to another with nothing between.

    The converter makes one of two ranges in a row, and takes a wrong one.

    Args:
        model: A model whose layers passed `check_convertible`.

    Raises:
        ValueError: If formats of two layers do not go together.
    """
    before = Neighbours(model).before
    for path, layer in walk(model):
        if not isinstance(layer, IntegerKernel):
            continue
        for given in filter(None, map(final_format, _sources(layer, before))):
            if _scale_of(given) != _scale_of(layer.input_format):
                raise ValueError(
                    f"The input_format of layer {path!r} must have the fraction bits "
                    "and the sign of the outputs that it gets, for LiteRT. Received: "
                    f"{layer.input_format}, behind {given}"
                )


def _sources(layer, before):
    """The integer layers that are met first, past those that only move numbers."""
    for other in before(layer):
        if type(other) in MOVING:
            yield from _sources(other, before)
        elif isinstance(other, IntegerKernel):
            yield other


def _scale_of(format):
    return format.fraction_bits, tensor_limits(format)
