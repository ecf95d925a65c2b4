"""What a network costs: multiply-adds, bytes and energy, counted from its shapes.

One *multiply-add* is one product and its addition to a sum; a FLOP is half of it
(`flop = 2 * multiply_adds`, Han et al., 2015, table 1). Additions of a bias,
activations, pooling and reshapes count nothing, as in the papers' tables.
"""

import dataclasses
import math
from types import MappingProxyType

from keras_compress._validation import check_choice, check_int, check_real, invalid
from keras_compress.functional import sparse_layouts

ENERGY_PJ = MappingProxyType(
    {
        "int8_add": 0.03,
        "int16_add": 0.05,
        "int32_add": 0.1,
        "int8_multiply": 0.2,
        "int32_multiply": 3.1,
        "float16_add": 0.4,
        "float16_multiply": 1.1,
        "float32_add": 0.9,
        "float32_multiply": 3.7,
        "sram_8kB_read": 5.0,
        "sram_32kB_read": 20.0,
        "dram_read": 640.0,
    }
)
"""Picojoules an operation, or a 32-bit word read; 45 nm, 0.9 V (Horowitz, 2014)."""

MULTIPLY_ADD_PJ = MappingProxyType(
    {
        "float32": ENERGY_PJ["float32_multiply"] + ENERGY_PJ["float32_add"],
        "float16": ENERGY_PJ["float16_multiply"] + ENERGY_PJ["float16_add"],
        "int8": ENERGY_PJ["int8_multiply"] + ENERGY_PJ["int32_add"],
        "int32": ENERGY_PJ["int32_multiply"] + ENERGY_PJ["int32_add"],
    }
)
"""Picojoules a multiply-add; products of 8-bit integers go into 32-bit sums."""


@dataclasses.dataclass(frozen=True)
class Product:
    """One product of a weight array with activations, as a layer computes it.

    Args:
        weights: Integer >= 0, the weights of the dense array; 0 if two activations
            are multiplied, as in attention.
        kept: Integer in `[0, weights]`, the weights that are stored or not zero.
        multiply_adds: Integer >= 0, the multiply-adds of the dense array.
        arithmetic: What is multiplied: a key of `MULTIPLY_ADD_PJ`, or any other name
            for arithmetic whose energy is not known.
        skips_zeros: Whether the layer spends no work on weights that are not kept.

    Raises:
        ValueError: If a count is negative or `kept` exceeds `weights`.

    Example:
    >>> Product(weights=1000, kept=80, multiply_adds=2000).effective_multiply_adds
    160
    """

    weights: int
    kept: int
    multiply_adds: int
    arithmetic: str = "float32"
    skips_zeros: bool = False

    def __post_init__(self):
        check_int("weights", self.weights, minimum=0)
        check_int("kept", self.kept, minimum=0, maximum=self.weights)
        check_int("multiply_adds", self.multiply_adds, minimum=0)

    @property
    def effective_multiply_adds(self):
        """The multiply-adds of the kept weights: every weight has an equal share."""
        if not self.weights:
            return self.multiply_adds
        return round(self.multiply_adds * self.kept / self.weights)

    @property
    def executed_multiply_adds(self):
        """The multiply-adds that the layer really does."""
        return self.effective_multiply_adds if self.skips_zeros else self.multiply_adds


def dense_multiply_adds(inputs, units, positions=1):
    """`positions * inputs * units`: a matrix product at each position.

    Args:
        inputs: Integer >= 1, size of what a unit reads.
        units: Integer >= 1, number of outputs.
        positions: Integer >= 0, how often the kernel is applied: examples times steps.

    Returns:
        The count, an `int`.

    Example:
    >>> 2 * dense_multiply_adds(784, 300)
    470400
    """
    check_int("inputs", inputs, minimum=1)
    check_int("units", units, minimum=1)
    return check_int("positions", positions, minimum=0) * inputs * units


def convolution_multiply_adds(window, channels, filters, positions, groups=1):
    """`positions * prod(window) * channels / groups * filters`, in any rank.

    Windows that hang over the padded edge count in full, as in the papers' tables. A
    depthwise convolution has `groups = channels` and `filters = channels *
    depth_multiplier`; a transposed one counts the positions of its *input*.

    Args:
        window: Sequence of integers >= 1, the kernel's spatial shape.
        channels: Integer >= 1, channels of the input, a multiple of `groups`.
        filters: Integer >= 1, channels of the output, a multiple of `groups`.
        positions: Integer >= 0, examples times output positions.
        groups: Integer >= 1.

    Returns:
        The count, an `int`.

    Raises:
        ValueError: If a number is out of range or `groups` does not divide.

    Example:
    LeNet-5's first layer, 20 kernels of 5 x 5 on a 28 x 28 image (576 k FLOP):

    >>> 2 * convolution_multiply_adds((5, 5), 1, 20, positions=24 * 24)
    576000
    """
    check_int("groups", groups, minimum=1)
    for name, value in (("channels", channels), ("filters", filters)):
        check_int(name, value, minimum=1)
        if value % groups:
            raise invalid(name, f"a multiple of groups={groups}", value)
    size = math.prod(check_int("window", side, minimum=1) for side in window)
    positions = check_int("positions", positions, minimum=0)
    return positions * size * (channels // groups) * filters


def einsum_multiply_adds(equation, input_shape, kernel_shape):
    """The product of the sizes of all indices of `inputs, kernel -> outputs`.

    Args:
        equation: String such as `"abc,cd->abd"` or `"...x,xy->...y"`.
        input_shape: Tuple of integers, the batch included.
        kernel_shape: Tuple of integers.

    Returns:
        The count, an `int`.

    Example:
    >>> einsum_multiply_adds("...x,xy->...y", (1, 7, 4), (4, 3))
    84
    """
    inputs, kernel = equation.replace(" ", "").split("->")[0].split(",")
    head, _, tail = inputs.partition("...")
    hidden = len(input_shape) - len(head) - len(tail)
    if hidden < 0 or ("..." not in inputs and hidden):
        raise invalid("input_shape", f"as in {equation!r}", input_shape)
    # Ellipsis dimensions get names that no equation has.
    labels = [*head, *range(hidden), *tail]
    outside = (
        size
        for label, size in zip(labels, input_shape, strict=True)
        if label not in set(kernel)
    )
    return math.prod(kernel_shape) * math.prod(outside)


def attention_multiply_adds(heads, queries, keys, key_size, value_size, batch=1):
    """Scores and weighted sum: `batch * heads * queries * keys * (key + value size)`.

    >>> attention_multiply_adds(2, 5, 7, 3, 3)
    420
    """
    return batch * heads * queries * keys * (key_size + value_size)


def remaining_work(sparsity, input_sparsity=0.0):
    """`(1 - sparsity) * (1 - input_sparsity)`: Han's column FLOP%, as a fraction.

    A product is needed only where neither the weight nor the activation that it
    multiplies is zero. The first layer's input counts as dense.

    Args:
        sparsity: Fraction of zero weights, in `[0, 1]`.
        input_sparsity: Fraction of zero activations in the layer's input.

    Returns:
        A `float` in `[0, 1]`.

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), tables 2 to 5.

    Example:
    LeNet-300-100's last layer keeps 26 % of its weights, reads 65 % of its inputs:

    >>> round(remaining_work(1 - 0.26, 1 - 0.65), 2)
    0.17
    """
    check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
    check_real("input_sparsity", input_sparsity, minimum=0.0, maximum=1.0)
    return (1.0 - sparsity) * (1.0 - input_sparsity)


def dense_bytes(weights, bits=32):
    """`ceil(weights * bits / 8)`: the bytes of a dense array.

    >>> dense_bytes(266_200)
    1064800
    """
    check_int("weights", weights, minimum=0)
    return -(-weights * check_int("bits", bits, minimum=1) // 8)


def sparse_bytes(nonzeros, inputs, units, layout="csc"):
    """The bytes of a kernel in a sparse layout, bias not counted.

    Compressed by column, every kept weight is a float32 value and the index of its
    input (uint16, or int32 above 65,536 inputs); every column has an int32 start, and
    one more ends the last: `nonzeros * (4 + 2 or 4) + 4 * (units + 1)`. In
    `"panel16"`, 16 weights share an index, and 16 columns a start.

    Args:
        nonzeros: Integer >= 0, the weights that are stored: those that are not zero,
            and what fills up blocks or lanes.
        inputs: Integer >= 1.
        units: Integer >= 1.
        layout: One of `keras_compress.functional.sparse_layouts.LAYOUTS`.

    Returns:
        The bytes, an `int`.

    Example:
    >>> sparse_bytes(nonzeros=18_816, inputs=784, units=300)
    114100
    """
    check_int("inputs", inputs, minimum=1)
    check_int("units", units, minimum=1)
    check_choice("layout", layout, sparse_layouts.LAYOUTS)
    width = sparse_layouts.width(layout)
    most = inputs * -(-units // width) * width
    check_int("nonzeros", nonzeros, minimum=0, maximum=most)
    return sparse_layouts.stored_bytes(layout, nonzeros, inputs, units)


def arithmetic_energy(multiply_adds, arithmetic="float32"):
    """`multiply_adds * (multiply + add)`, in picojoules.

    Args:
        multiply_adds: Number >= 0.
        arithmetic: A key of `MULTIPLY_ADD_PJ`.

    Returns:
        Picojoules, a `float`.

    Raises:
        ValueError: If the table does not have `arithmetic`.

    Reference:
        - Horowitz, 2014, "Computing's energy problem", ISSCC, figure 1.1.9.

    Example:
    >>> round(arithmetic_energy(1000), 6)
    4600.0
    """
    if arithmetic not in MULTIPLY_ADD_PJ:
        expected = "one of " + ", ".join(repr(key) for key in MULTIPLY_ADD_PJ)
        raise invalid("arithmetic", expected, arithmetic)
    check_real("multiply_adds", multiply_adds, minimum=0)
    return multiply_adds * MULTIPLY_ADD_PJ[arithmetic]


def memory_energy(byte_count):
    """Picojoules of reading `byte_count` bytes from DRAM once, 640 a 32-bit word.

    >>> memory_energy(4)
    640.0
    """
    check_real("byte_count", byte_count, minimum=0)
    return byte_count / 4 * ENERGY_PJ["dram_read"]
