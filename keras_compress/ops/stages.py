"""The stages of `xnor_network`: what is done to signs, one after another.

Each is a layer of packed signs with its arrays, to be called alone as well: on floats
or on packed signs it gives what its op gives.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.ops._moving_stages import (
    Border,
    Flatten,
    Pooling,
    check_pair,
    window_sizes,
)
from keras_compress.ops.bitwise import xnor_matmul
from keras_compress.ops.bitwise_conv import BORDERS, xnor_conv2d

__all__ = ["Border", "Convolution", "Flatten", "Pooling", "Product"]

# As csrc/tf/xnor_stages.h has them.
PRODUCT, CONVOLUTION = 0, 1
MASKS, LIMITS, SCALE, BIAS = 1, 2, 4, 8


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Weights:
    """Weights of -1, 0 and +1, and thresholds where their sums become bits."""

    signs: Any
    masks: Any
    kept: Any
    thresholds: Any = None
    flips: Any = None

    def __post_init__(self):
        if self.thresholds is None and self.flips is not None:
            raise invalid("flips", "None without thresholds", self.flips)
        for name, dtype in _DTYPES.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tf.convert_to_tensor(value, dtype))
        if self.gives_bits and self.flips is None:
            flips = tf.zeros([(tf.size(self.thresholds) + 31) // 32], tf.uint32)
            object.__setattr__(self, "flips", flips)

    weighs = True

    @property
    def gives_bits(self):
        """Whether it has thresholds."""
        return self.thresholds is not None

    @property
    def units(self):
        """How many sums there are."""
        return self.kept.shape[0]

    def arrays(self, scale=None, bias=None):
        """`(flags, arrays)`, in the order of the op."""
        optional = [
            (MASKS, [self.masks] if self.masks.shape[0] else []),
            (LIMITS, [self.thresholds, self.flips] if self.gives_bits else []),
            (SCALE, [] if scale is None else [scale]),
            (BIAS, [] if bias is None else [bias]),
        ]
        (_, masks), *ends = optional
        flags = sum(flag for flag, found in optional if len(found))
        return flags, [
            self.signs,
            *masks,
            self.kept,
            *(x for _, found in ends for x in found),
        ]

    def _limits(self):
        if not self.gives_bits:
            return {}
        names = ("thresholds", "flips")
        return {"outputs": "bits"} | {name: getattr(self, name) for name in names}

    def _last(self):
        return -(-self.units // 32) if self.gives_bits else self.units


_DTYPES = {
    "signs": tf.uint32,
    "masks": tf.uint32,
    "kept": tf.int32,
    "thresholds": tf.int32,
    "flips": tf.uint32,
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Product(_Weights):
    """`xnor_matmul` of the channels of every pixel, or of rows.

    Args:
        signs: As of `xnor_matmul`.
        masks: As of `xnor_matmul`.
        kept: As of `xnor_matmul`.
        input_dim: Integer, the number of inputs.
        thresholds: As of `xnor_matmul`; with them the stage gives bits.
        flips: As of `xnor_matmul`.

    Example:

    >>> from keras_compress.functional.signs import pack_kernel
    >>> signs, masks, kept = pack_kernel(np.ones((3, 2)))
    >>> stage = Product(signs=signs, masks=masks, kept=kept, input_dim=3)
    >>> print(stage(tf.constant([[1.0, 1.0, -1.0]])).numpy())
    [[1. 1.]]
    """

    input_dim: int

    def __call__(self, inputs, **ends):
        return xnor_matmul(
            inputs,
            *(self.signs, self.masks, self.kept),
            input_dim=self.input_dim,
            **(self._limits() | ends),
        )

    def numbers(self, flags):
        """The numbers of the stage in a program."""
        return [PRODUCT, self.input_dim, self.units, flags, *[0] * 8]

    def shape(self, shape):
        """The static shape of the outputs for inputs of this one."""
        return [*shape[:-1], self._last()]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(_Weights):
    """`xnor_conv2d`.

    Args:
        signs: As of `xnor_conv2d`.
        masks: As of `xnor_conv2d`.
        kept: As of `xnor_conv2d`.
        channels: Integer >= 1, channels of the images.
        kernel_size: Two integers >= 1, `(height, width)`.
        strides: Two integers >= 1.
        dilations: Two integers >= 1.
        padding: `"valid"` or `"same"`.
        border: `"zeros"` or `"ones"`, for `padding="same"`.
        thresholds: As of `xnor_conv2d`; with them the stage gives bits.
        flips: As of `xnor_conv2d`.

    Example:

    >>> from keras_compress.functional.sign_images import pack_conv2d_kernel
    >>> signs, masks, kept = pack_conv2d_kernel(np.ones((2, 2, 1, 1)))
    >>> window = {"channels": 1, "kernel_size": (2, 2)}
    >>> stage = Convolution(signs=signs, masks=masks, kept=kept, **window)
    >>> stage(tf.ones([1, 3, 3, 1])).shape
    TensorShape([1, 2, 2, 1])
    """

    channels: int
    kernel_size: tuple
    strides: tuple = (1, 1)
    dilations: tuple = (1, 1)
    padding: str = "valid"
    border: str = "zeros"

    def __post_init__(self):
        super().__post_init__()
        check_int("channels", self.channels, minimum=1)
        for name in ("kernel_size", "strides", "dilations"):
            check_pair(name, getattr(self, name))
        check_choice("padding", self.padding, ("valid", "same"))
        check_choice("border", self.border, BORDERS)

    def __call__(self, inputs, **ends):
        names = ("kernel_size", "channels", "strides", "dilations", "padding", "border")
        return xnor_conv2d(
            inputs,
            *(self.signs, self.masks, self.kept),
            **{name: getattr(self, name) for name in names},
            **(self._limits() | ends),
        )

    def numbers(self, flags):
        """The numbers of the stage in a program."""
        window = [*self.kernel_size, *self.strides, *self.dilations]
        same, zeros = self.padding == "same", self.border == "zeros"
        start = [CONVOLUTION, self.channels, self.units, flags]
        return [*start, *window, int(same), int(zeros)]

    def shape(self, shape):
        """The static shape of the outputs for inputs of this one."""
        window = zip(self.kernel_size, self.strides, self.dilations, strict=True)
        sizes = window_sizes(shape[1:3], window, self.padding)
        return [shape[0], *sizes, self._last()]
