"""Is every SIMD level the product of whole numbers, bit for bit?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_compress.functional import integers
from keras_compress.functional.integer_blocks import pack_blocks
from tests.kernels import native, native_integer, native_xnor

pytestmark = native.requires_library

TABLES = native_xnor.tables()
ROWS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class Case:
    """Random rows and weights, and what must come out."""

    def __init__(
        self, batch, inputs, units, *, bits=8, rows="int8", seed=0, blocks=None
    ):
        random = np.random.default_rng([seed, batch, inputs, units, bits])
        low, high = ROWS[rows]
        self.bits = bits
        self.rows = random.integers(low, high + 1, (batch, inputs)).astype(rows)
        # The ends of the range are where instructions saturate.
        self.rows[random.random(self.rows.shape) < 0.2] = low
        self.rows[random.random(self.rows.shape) < 0.2] = high
        limit = 1 << (bits - 1)
        self.codes = random.integers(-limit, limit, (inputs, units))
        self.codes[random.random(self.codes.shape) < 0.2] = -limit
        self.codes[:, random.random(units) < 0.3] = limit - 1
        self.blocks = blocks
        if blocks:
            # Whole panels among them, and single weights.
            block = random.random((-(-inputs // 4), -(-units // 16))) < 0.3
            block[:, random.random(block.shape[1]) < 0.2] = False
            whole = np.repeat(np.repeat(block, 4, axis=0), 16, axis=1)
            self.codes *= whole[:inputs, :units]
        if bits == 16:
            # As wide as sums of 32 bits allow, shifted to the left by two.
            room = 29 - int(np.ceil(np.log2(inputs + 2))) - self.rows.itemsize * 8
            top = 1 << min(15, room)
            self.codes = self.codes.clip(-top, top - 1)
        self.bias = random.integers(-(2**20), 2**20, units).astype(np.int32)
        self.shifts = random.integers(-2, 22, units).astype(np.int32)
        self.sums = integers.integer_sums(self.rows, self.codes, self.bias)

    def run(self, name, **arguments):
        arguments = {"bits": self.bits, "blocks": self.blocks, **arguments}
        return native_integer.matmul(
            name, self.rows, self.codes, self.bias, **arguments
        )

    def check(self, names=TABLES):
        scales = np.ldexp(np.float32(1), -self.shifts)
        for name in names:
            np.testing.assert_array_equal(self.run(name), self.sums, name)
            np.testing.assert_array_equal(
                self.run(name, output="float32", scales=scales),
                self.sums.astype(np.float32) * scales,
                name,
            )
            for output, how in zip(ROWS, integers.ROUNDINGS, strict=True):
                low, high = ROWS[output]
                found = self.run(
                    name, output=output, requantize=(self.shifts, low, high, how)
                )
                expected = integers.shifted(self.sums, self.shifts, how)
                np.testing.assert_array_equal(found, expected.clip(low, high), name)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("inputs", [*range(1, 26), 63, 64, 65, 130])
def test_every_small_width(inputs, bits):
    rows = list(ROWS)[inputs % 3]
    Case(1 + inputs % 8, inputs, 1 + inputs % 70, bits=bits, rows=rows).check()


@pytest.mark.parametrize("batch", [*range(1, 14), 33])
@pytest.mark.parametrize("units", [1, 7, 8, 15, 16, 17, 32, 33, 64, 65, 130])
def test_batches_and_units(batch, units):
    rows = list(ROWS)[batch % 3]
    Case(batch, 37, units, bits=8 if units % 2 else 4, rows=rows).check()


@pytest.mark.parametrize("batch", [8, 15, 16, 17, 31, 32, 33, 48, 49, 70])
@pytest.mark.parametrize("inputs", [60, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("bits", [8, 4])
def test_tiles_and_their_edges(batch, inputs, bits):
    rows = list(ROWS)[(batch + inputs) % len(ROWS)]
    for units in (16, 40, 64, 100):
        Case(batch, inputs, units, bits=bits, rows=rows).check()


@pytest.mark.parametrize("inputs", [1, 2, 3, 5, 17, 64, 131])
@pytest.mark.parametrize("rows", ROWS)
def test_weights_of_16_bits(inputs, rows):
    for batch, units in ((1, 16), (2, 70), (7, 33), (13, 130)):
        Case(batch, inputs, units, bits=16, rows=rows).check()


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 9, 16, 17, 40])
@pytest.mark.parametrize("rows", ROWS)
def test_blocks_are_the_whole_product(batch, rows):
    for inputs, units in ((1, 1), (7, 16), (37, 33), (130, 90)):
        Case(batch, inputs, units, rows=rows, blocks=True).check()


def test_blocks_that_do_not_fit_are_refused():
    codes = np.ones((8, 20), int)
    blocks, indices, starts = pack_blocks(codes)
    x, bias = np.zeros((2, 8), np.int8), np.zeros(20, np.int32)
    for wrong in (
        (blocks, indices + np.uint16(1), starts),
        (blocks, indices, starts[::-1].copy()),
        (blocks, indices, starts + np.int32(1)),
        (blocks[1:], indices[1:], starts),
    ):
        for name in TABLES:
            with pytest.raises(native.Refused, match="result 3"):
                native_integer.matmul(name, x, codes, bias, blocks=wrong)
    with pytest.raises(native.Refused, match="result 3"):
        native_integer.matmul("scalar", x, codes, bias, bits=4, blocks=True)


@pytest.mark.parametrize(("inputs", "units"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("batch", [0, 1, 20])
@pytest.mark.parametrize("blocks", [None, True])
def test_nothing_to_multiply(batch, inputs, units, blocks):
    Case(batch, inputs, units, blocks=blocks).check()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 40),
    inputs=st.integers(0, 300),
    units=st.integers(0, 150),
    form=st.sampled_from([(16, None), (8, None), (8, True), (4, None)]),
    rows=st.sampled_from(list(ROWS)),
    seed=st.integers(0, 2**31),
)
def test_random_shapes(batch, inputs, units, form, rows, seed):
    bits, blocks = form
    case = {"bits": bits, "blocks": blocks, "rows": rows, "seed": seed}
    Case(batch, inputs, units, **case).check()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("bits", [8, 4])
def test_sums_up_to_the_last_bit(name, bits):
    limit = 1 << (bits - 1)
    codes = np.full((1000, 20), -limit)
    for rows, value in (("int8", -128), ("uint8", 255)):
        x = np.full((20, 1000), value, rows)
        top = 2**31 - 1 if value < 0 else -(2**31)
        bias = np.full(20, top - 1000 * value * -limit, np.int64)
        found = native_integer.matmul(name, x, codes, bias, bits=bits)
        np.testing.assert_array_equal(found, top)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "limits",
    [(-128, 127), (0, 255), (-7, 7), (-64, 63), (0, 127), (-65, 63), (-32768, 32767)],
)
@pytest.mark.parametrize("rounding", integers.ROUNDINGS)
@pytest.mark.parametrize("form", [(8, None), (8, True), (4, None), (16, None)])
def test_floats_become_integers_on_the_way(name, limits, rounding, form):
    random = np.random.default_rng(0)
    x = (random.standard_normal((9, 50)) * limits[1] / 8).astype(np.float32)
    x[0, :8] = [np.inf, -np.inf, 0.0625, 0.1875, -0.0625, 1e30, -1e30, -0.0]
    # Many at the ends of the range, where instructions saturate.
    limit = 8 if form[0] == 4 else 128
    codes = random.integers(-3 * limit, 3 * limit, (50, 33)).clip(-limit, limit - 1)
    bias = random.integers(-1000, 1000, 33).astype(np.int32)
    given = {"fraction": 3, "limits": limits, "rounding": rounding}
    given |= dict(zip(("bits", "blocks"), form, strict=True))
    found = native_integer.matmul(name, x, codes, bias, **given)
    rows = integers.from_floats(x, 3, *limits, rounding)
    np.testing.assert_array_equal(found, rows @ codes + bias)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("rows", "blocks"), [(3, None), (9, None), (3, True), (17, True)]
)
def test_nan_is_found_wherever_it_is(name, rows, blocks):
    codes, bias = np.ones((37, 3), int), np.zeros(3, np.int32)
    x = np.zeros((rows, 37), np.float32)
    for spot in range(x.size):
        x.flat[spot] = np.nan
        with pytest.raises(native.Refused, match="result 1"):
            native_integer.matmul(name, x, codes, bias, blocks=blocks)
        x.flat[spot] = 0.0


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("bits", [8, 4])
def test_pointers_aligned_to_their_numbers_alone(name, bits):
    for blocks in (None, True) if bits == 8 else (None,):
        case = Case(5, 100, 70, bits=bits, blocks=blocks)
        np.testing.assert_array_equal(case.run(name, unaligned=True), case.sums)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("blocks", [None, True])
def test_large_enough_for_several_threads(name, blocks):
    case = Case(70, 520, 500, blocks=blocks)
    for count in (1, 3):
        with native_xnor.threads(count):
            np.testing.assert_array_equal(case.run(name), case.sums)


@pytest.mark.parametrize(
    "arguments",
    [
        {"bits": 4, "inputs": 65537},
        {"limits": (5, 3)},
        {"limits": (0, 65535)},
        {"requantize": (np.full(3, 31), 0, 1, "floor")},
        {"requantize": (np.full(3, -31), 0, 1, "floor")},
        {"fraction": 127},
        {"output": "float32"},
    ],
)
def test_what_does_not_fit_is_refused(arguments):
    inputs = arguments.pop("inputs", 4)
    codes = np.ones((inputs, 3), int)
    x = np.zeros((2, inputs), np.float32)
    with pytest.raises(native.Refused, match="result 3"):
        native_integer.matmul("scalar", x, codes, np.zeros(3, np.int32), **arguments)
