"""Stages of `xnor_network` that move bits about: pooling, borders, flattening."""

import dataclasses
from typing import Any

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sign_images import window_places
from keras_compress.ops.bitwise_conv import pool_signs

# As csrc/tf/xnor_stages.h has them, behind the two that have weights.
POOLING, BORDER, FLATTEN = 2, 3, 4


@dataclasses.dataclass(frozen=True, eq=False)
class Pooling:
    """`pool_signs`.

    Args:
        pool_size: Two integers >= 1, `(height, width)`.
        words: Integer >= 0, words of a pixel.
        strides: Two integers >= 1. Defaults to `pool_size`.
        padding: `"valid"` or `"same"`.
        flips: As of `pool_signs`.

    Example:

    >>> Pooling((2, 2), 1)(tf.zeros([1, 4, 4, 1], tf.uint32)).shape
    TensorShape([1, 2, 2, 1])
    """

    pool_size: tuple
    words: int
    strides: Any = None
    padding: str = "valid"
    flips: Any = None

    weighs = gives_bits = False

    def __post_init__(self):
        check_pair("pool_size", self.pool_size)
        check_int("words", self.words, minimum=0)
        if self.strides is None:
            object.__setattr__(self, "strides", self.pool_size)
        check_pair("strides", self.strides)
        check_choice("padding", self.padding, ("valid", "same"))
        flips = tf.zeros([self.words], tf.uint32) if self.flips is None else self.flips
        object.__setattr__(self, "flips", tf.convert_to_tensor(flips, tf.uint32))

    def __call__(self, inputs):
        geometry = {"strides": self.strides, "padding": self.padding}
        return pool_signs(inputs, self.pool_size, flips=self.flips, **geometry)

    def arrays(self):
        """`(flags, arrays)`, in the order of the op."""
        return 0, [self.flips]

    def numbers(self, flags):
        """The numbers of the stage in a program."""
        window = [*self.pool_size, *self.strides, 1, 1]
        same = int(self.padding == "same")
        return [POOLING, self.words, 0, flags, *window, same, 0]

    def shape(self, shape):
        """The static shape of the outputs for inputs of this one."""
        window = zip(self.pool_size, self.strides, (1, 1), strict=True)
        return [shape[0], *window_sizes(shape[1:3], window, self.padding), shape[3]]


@dataclasses.dataclass(frozen=True, eq=False)
class Border:
    """Pixels of +1 around images of packed signs.

    Args:
        padding: Two pairs of integers >= 0, `((top, bottom), (left, right))`.

    Example:

    >>> Border(((1, 1), (2, 0)))(tf.ones([1, 2, 2, 1], tf.uint32)).shape
    TensorShape([1, 4, 4, 1])
    """

    padding: tuple

    weighs = gives_bits = False

    def __post_init__(self):
        pairs = self.padding if isinstance(self.padding, list | tuple) else ()
        if len(pairs) != 2 or not all(
            isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
        ):
            raise invalid("padding", "two pairs of integers", self.padding)
        for side in (side for pair in pairs for side in pair):
            check_int("padding", side, minimum=0)

    def __call__(self, inputs):
        return tf.pad(inputs, [[0, 0], *self.padding, [0, 0]])

    def arrays(self):
        """`(flags, arrays)`, in the order of the op."""
        return 0, []

    def numbers(self, flags):
        """The numbers of the stage in a program."""
        sides = [side for axis in self.padding for side in axis]
        return [BORDER, 0, 0, flags, *sides, 0, 0, 0, 0]

    def shape(self, shape):
        """The static shape of the outputs for inputs of this one."""
        pairs = zip(shape[1:3], self.padding, strict=True)
        sizes = [None if size is None else size + sum(pads) for size, pads in pairs]
        return [shape[0], *sizes, shape[3]]


@dataclasses.dataclass(frozen=True, eq=False)
class Flatten:
    """The words of an image as one row.

    Example:

    >>> Flatten()(tf.zeros([1, 2, 2, 3], tf.uint32)).shape
    TensorShape([1, 12])
    """

    weighs = gives_bits = False

    def __call__(self, inputs):
        shape = self.shape(inputs.shape)
        length = tf.reduce_prod(tf.shape(inputs)[1:])
        length = length if shape[1] is None else shape[1]
        return tf.reshape(inputs, [tf.shape(inputs)[0], length])

    def arrays(self):
        """`(flags, arrays)`, in the order of the op."""
        return 0, []

    def numbers(self, flags):
        """The numbers of the stage in a program."""
        return [FLATTEN, 0, 0, flags, *[0] * 8]

    def shape(self, shape):
        """The static shape of the outputs for inputs of this one."""
        length = 1
        for size in shape[1:]:
            length = None if None in (length, size) else length * size
        return [shape[0], length]


def check_pair(name, value):
    """Raises for what is not two positive integers."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise invalid(name, "two integers", value)
    for side in value:
        check_int(name, side, minimum=1)


def window_sizes(sizes, window, padding):
    """Places of a window along two axes; `None` where a size is not known."""
    found = []
    for size, axis in zip(sizes, window, strict=True):
        places = None
        if size is not None:
            places, _ = window_places(size, *axis, padding=padding)
            if places == 0 and size > 0:
                raise invalid("inputs", "large enough for all windows", sizes)
        found.append(places)
    return found
