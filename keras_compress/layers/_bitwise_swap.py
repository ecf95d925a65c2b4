"""`Bitwise`: the swap config that makes layers, and the units between them, bitwise."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.functional import bitwise as maths
from keras_compress.functional import coding
from keras_compress.layers import _signal
from keras_compress.layers._bitwise_kernel import INPUTS, check_bool, is_bitwise
from keras_compress.layers._config import SwapConfig, copy_variables
from keras_compress.layers._stages import check_straight_through
from keras_compress.layers.bitwise import (
    BitwiseActivation,
    BitwiseConv2D,
    BitwiseDense,
)
from keras_compress.layers.pruned import PrunedConv2D, PrunedDense


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class Bitwise(SwapConfig):
    """Swaps `Dense` and `Conv2D` for `BitwiseDense` and `BitwiseConv2D`.

    The layers start in stage 0, with the weights that they had; `Binarization` takes
    them, as `atanh` of the clipped weights, into stage 1, and on. An activation between
    two bitwise layers becomes `"bitwise"`, which is `tanh` at first: in place of
    another activation, the outputs change. The last activation stays. The mask of a
    pruned layer is taken over.

    Bits of numbers that are never negative need a coding, for their signs are all +1.
    That the outputs of `relu`, `sigmoid` and the like are such, and unsigned inputs,
    is seen; for other inputs of the model, pass `data` to `swap`. The coding is put
    before the bitwise layers whose inputs no bitwise layer, `tanh` or normalisation
    makes; they start with the weights that compute the same on the numbers that the
    code stands for (but for the border of a convolution with `padding="same"`, whose
    zeros stand for numbers in the middle).

    Args:
        inputs: `"sign"`; or, for inputs in [0, 1], the coding `"bipolar"`, `"zero_one"`
            or `"bits"`, as in `BitwiseDense`.
        bits: Integer in `[1, 16]`: of `inputs="bits"`, how many.
        gradient: `"paper"` or `"lecture"`, as in `BitwiseDense`.
        straight_through: The gradient of the sign, as in `BitwiseDense`.
        scale: Whether sums are scaled in stage 2, as in `BitwiseDense`.
        bitwise_bias: Whether biases become signs, too.

    Raises:
        ValueError: If an argument is out of range; in `swap`, if inputs cannot be
            negative and there is no coding.

    Example:

    >>> Bitwise(inputs="bits", bits=4).bits
    4

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
    """

    inputs: str = "sign"
    bits: int = 2
    gradient: str = "paper"
    straight_through: str | None = None
    scale: bool = False
    bitwise_bias: bool = True

    layers: ClassVar[dict] = {
        keras.layers.Dense: BitwiseDense,
        keras.layers.Conv2D: BitwiseConv2D,
        PrunedDense: BitwiseDense,
        PrunedConv2D: BitwiseConv2D,
        BitwiseDense: BitwiseDense,
        BitwiseConv2D: BitwiseConv2D,
    }
    uses_data: ClassVar[bool] = True

    def __post_init__(self):
        check_choice("inputs", self.inputs, INPUTS)
        check_int("bits", self.bits, minimum=1, maximum=coding.MOST_BITS)
        check_choice("gradient", self.gradient, maths.GRADIENTS)
        check_straight_through(self.straight_through, self.gradient)
        check_bool("scale", self.scale)
        check_bool("bitwise_bias", self.bitwise_bias)

    def place(self, layer, place):
        signal = _signal.Signal(
            place.neighbours,
            lambda x: is_bitwise(x) or isinstance(place.config_of(x), Bitwise),
            place.lowest,
        )
        changes = {"inputs": self._inputs_of(layer, signal)}
        is_linear = _signal.activation_name(layer) in (None, "linear")
        if signal.feeds_bits_only(layer) and not is_linear:
            changes["activation"] = "bitwise"
        new = {layer: _Placed(self, changes)}
        for activation in signal.activations_behind(layer):
            new[activation] = _Unit(self.straight_through, self.gradient)
        return new

    def convert(self, layer):
        return _Placed(self, {}).convert(layer)

    def _inputs_of(self, layer, signal):
        """The coding of the inputs of a layer that stands where it does."""
        kind = signal.kind_before(layer)
        if self.inputs == "sign":
            given = getattr(layer, "inputs", "sign")
            if kind == _signal.NOT_NEGATIVE and given == "sign":
                raise ValueError(
                    f"The inputs of layer {layer.name!r} cannot be negative, so their "
                    "signs are all +1. Choose a coding of the inputs: "
                    "keras_compress.Bitwise(inputs='bipolar'), 'zero_one' or 'bits'; "
                    "or let `tanh`, or a normalisation, stand before it."
                )
            return given
        needs = kind in (_signal.NOT_NEGATIVE, _signal.UNKNOWN)
        return self.inputs if needs else "sign"


class _Placed(SwapConfig):
    """A `Bitwise` for one layer, with what its place in the model asks for."""

    def __init__(self, config, changes):
        self.config = config
        self.changes = changes

    def convert(self, layer):
        arguments = {**self.config.get_config(), **self.changes}
        old = layer.get_config()
        if type(layer) in (BitwiseDense, BitwiseConv2D):
            # What the kernel's shape and the mask hang on stays.
            kept = {"inputs", "bits", "masked"}
            arguments = {k: v for k, v in arguments.items() if k not in kept}
        elif type(layer) in (PrunedDense, PrunedConv2D):
            old.pop("pattern")
            arguments["masked"] = True
        new = Bitwise.layers[type(layer)].from_config({**old, **arguments})

        def fill():
            same = type(layer) is type(new) or new.inputs in ("sign", "zero_one")
            copy_variables(layer, new) if same else _fill_coded(layer, new)

        return new, fill


class _Unit(SwapConfig):
    """Puts a `BitwiseActivation` in the place of an activation."""

    def __init__(self, straight_through, gradient):
        self.surrogate = check_straight_through(straight_through, gradient)

    def convert(self, layer):
        new = BitwiseActivation(
            self.surrogate, name=layer.name, dtype=layer.dtype_policy
        )
        return new, lambda: None


def _fill_coded(old, new):
    """Weights that compute on the bits what the old ones did on the numbers.

    A value in [0, 1] is near `0.5 + sum_i s_i * 2 ** -(i + 1)` with its bits `s_i`,
    from `i = 1` on; of one bit, as the values 0 and 1, `0.5 + s * 0.5`.
    """
    copy_variables(_WithoutShape(old, new), new)
    kernel = ops.convert_to_numpy(old.kernel).astype("float32")
    if new.inputs == "bipolar":
        steps = np.array([0.5], "float32")
    else:
        steps = 2.0 ** -np.arange(2, new.bits + 2, dtype="float32")
    inputs = np.repeat(kernel, len(steps), axis=-2)
    factors = np.tile(steps, kernel.shape[-2])
    new.kernel.assign(inputs * factors[:, None])
    if new.mask is not None:
        mask = ops.convert_to_numpy(old.mask)
        new.mask.assign(np.repeat(mask, len(steps), axis=-2))
        kernel = np.where(mask, kernel, 0.0)
    if new.bias is not None:
        bias = ops.convert_to_numpy(old.bias)
        middle = 0.5 * kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)
        new.bias.assign(bias + middle)


class _WithoutShape:
    """The variables of a layer that have the shape of those of another one."""

    def __init__(self, layer, other):
        shapes = {v.name: tuple(v.shape) for v in other.variables}
        self.variables = [
            v for v in layer.variables if shapes.get(v.name) == tuple(v.shape)
        ]
