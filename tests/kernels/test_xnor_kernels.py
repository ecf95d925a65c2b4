"""Is every SIMD level the product of signs by integers, bit for bit?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_compress.functional import signs
from tests.kernels import native, native_xnor

pytestmark = native.requires_library

TABLES = native_xnor.tables()


class Case:
    """Random inputs and weights, and what must come out."""

    def __init__(self, batch, inputs, units, *, dropped=0.0, seed=0):
        random = np.random.default_rng([seed, batch, inputs, units])
        self.inputs = random.standard_normal((batch, inputs)).astype(np.float32)
        self.inputs[random.random(self.inputs.shape) < 0.1] = 0.0
        self.inputs[random.random(self.inputs.shape) < 0.1] = -0.0
        self.kernel = random.standard_normal((inputs, units)).astype(np.float32)
        self.mask = random.random((inputs, units)) >= dropped
        self.weights = signs.pack_kernel(self.kernel, self.mask)
        self.scale, self.bias = random.standard_normal((2, units)).astype(np.float32)
        self.thresholds = random.integers(-5, 6, units).astype(np.int32)
        self.flips = signs.pack_bits(random.random(units) < 0.5)
        values = np.where(self.inputs < 0, -1, 1)
        self.sums = values @ (np.where(self.kernel < 0, -1, 1) * self.mask)

    def layers(self):
        width = self.inputs.shape[1]
        limits = {"thresholds": self.thresholds, "flips": self.flips}
        floats = {"scale": self.scale, "bias": self.bias}
        return {
            "int32": native_xnor.layer(width, self.weights, "int32"),
            "float32": native_xnor.layer(width, self.weights, "float32", **floats),
            "plain": native_xnor.layer(width, self.weights, "float32"),
            "bits": native_xnor.layer(width, self.weights, "bits", **limits),
        }

    def expected(self):
        floats = self.sums.astype(np.float32)
        flips = signs.unpack_bits(self.flips, len(self.scale))
        return {
            "int32": self.sums.astype(np.int32),
            "float32": floats * self.scale + self.bias,
            "plain": floats,
            "bits": signs.pack_bits((self.sums < self.thresholds) ^ flips),
        }

    def check(self):
        expected = self.expected()
        for name in TABLES:
            words = native_xnor.pack(name, self.inputs)
            np.testing.assert_array_equal(words, signs.pack_signs(self.inputs), name)
            for inputs in (self.inputs, words):
                for output, layer in self.layers().items():
                    found = native_xnor.chain(name, inputs, [layer])
                    same = found.view(np.uint32) == expected[output].view(np.uint32)
                    assert same.all(), (name, output, inputs.dtype)


@pytest.mark.parametrize("inputs", range(1, 131))
def test_every_small_width(inputs):
    Case(1 + inputs % 9, inputs, 1 + inputs % 70, dropped=inputs % 2 * 0.4).check()


@pytest.mark.parametrize("words", [8, 16, 31, 32, 33, 62, 63])
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("dropped", [0.0, 0.5])
def test_widths_around_whole_words(words, off, dropped):
    Case(5, 64 * words // 2 + off, 70, dropped=dropped).check()


@pytest.mark.parametrize("batch", [*range(10), 15, 16, 17, 33])
@pytest.mark.parametrize("units", [1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 130])
def test_batches_and_units(batch, units):
    Case(batch, 77, units, dropped=units % 3 * 0.3).check()


@pytest.mark.parametrize(("inputs", "units"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("batch", [0, 1, 20])
def test_nothing_to_multiply(batch, inputs, units):
    Case(batch, inputs, units).check()


def test_more_ones_than_a_byte_counts():
    for name in TABLES:
        ones = np.ones((3, 32 * 100), np.float32)
        weights = signs.pack_kernel(-ones.T @ np.ones((3, 65), np.float32))
        layer = native_xnor.layer(3200, weights, "int32")
        assert (native_xnor.chain(name, ones, [layer]) == -3200).all(), name


@pytest.mark.parametrize(("batch", "inputs"), [(8, 900), (71, 1825), (130, 97)])
def test_blocks_of_rows_and_words(batch, inputs):
    """For many rows, levels that cannot count words take tables, by blocks."""
    Case(batch, inputs, 150).check()
    case = Case(batch, inputs, 200, dropped=0.5)
    case.mask[:, :64] = case.mask[:, 128:] = True
    case.weights = signs.pack_kernel(case.kernel, case.mask)
    weights = np.where(case.kernel < 0, -1, 1) * case.mask
    case.sums = np.where(case.inputs < 0, -1, 1) @ weights
    case.check()


@pytest.mark.parametrize("words", [2000, 2001])
def test_more_ones_than_two_bytes_count(words):
    ones, minus = (np.full((9, words), x, np.uint32) for x in (0, 2**32 - 1))
    panels = np.zeros((4, words, 16), np.uint32)
    weights = panels, panels[:0], np.full(64, 32 * words, np.int32)
    layer = native_xnor.layer(32 * words, weights, "int32")
    for name in TABLES:
        assert (native_xnor.chain(name, ones, [layer]) == 32 * words).all(), name
        assert (native_xnor.chain(name, minus, [layer]) == -32 * words).all(), name


def test_more_numbers_than_32_bits_count():
    """Zeros that nobody writes to take no memory."""
    try:
        inputs = np.zeros((2, 2**30 + 32), np.float32)
    except MemoryError:
        pytest.skip("this machine lends no 8.6 GB of addresses")
    inputs[1, -1] = -1.0
    words = native_xnor.pack(TABLES[-1], inputs)
    assert words[1, -1] == 2**31
    assert np.count_nonzero(words) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 40),
    inputs=st.integers(0, 300),
    units=st.integers(0, 150),
    dropped=st.sampled_from([0.0, 0.0, 0.2, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_random_shapes(batch, inputs, units, dropped, seed):
    Case(batch, inputs, units, dropped=dropped, seed=seed).check()


def test_full_panels_beside_masked_ones():
    case = Case(5, 100, 200, dropped=0.5)
    case.mask[:, :64] = case.mask[:, 130:150] = True
    case.weights = signs.pack_kernel(case.kernel, case.mask)
    weights = np.where(case.kernel < 0, -1, 1) * case.mask
    case.sums = np.where(case.inputs < 0, -1, 1) @ weights
    case.check()


@pytest.mark.parametrize("name", TABLES)
def test_pointers_aligned_to_their_numbers_alone(name):
    case = Case(5, 100, 70, dropped=0.3)
    layers = case.layers()
    for key in layers:
        moved = {
            "weights": [native.unaligned(array) for array in case.weights],
            "scale": native.unaligned(case.scale) if key == "float32" else None,
            "bias": native.unaligned(case.bias) if key == "float32" else None,
            "thresholds": native.unaligned(case.thresholds),
            "flips": native.unaligned(case.flips),
        }
        output = "float32" if key == "plain" else key
        layer = native_xnor.layer(100, output=output, **moved)
        found = native_xnor.chain(name, native.unaligned(case.inputs), [layer])
        np.testing.assert_array_equal(found, case.expected()[key])


@pytest.mark.parametrize("name", TABLES)
def test_outputs_large_enough_to_pass_the_caches(name):
    case = Case(1100, 40, 1024)
    size = 1100 * 1024
    held = np.zeros(size + 32, np.float32)
    skip = -held.ctypes.data % 64 // 4
    for start in (skip, skip + 1):
        outputs = held[start : start + size].reshape(1100, 1024)
        with native_xnor.table(name) as lib:
            layer = case.layers()["float32"]
            pointers = native.pointer(case.inputs), native.pointer(outputs)
            count, rows = (native.ctypes.c_int64(n) for n in (1, 1100))
            reference = native.ctypes.byref(layer)
            assert not lib.kc_xnor_chain(
                reference, count, 0, pointers[0], rows, pointers[1]
            )
        np.testing.assert_array_equal(outputs, case.expected()["float32"])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [1, 15, 16, 31, 32, 33, 63, 64, 65, 100, 128])
def test_nan_is_found_wherever_it_is(name, width):
    inputs = np.zeros((3, width), np.float32)
    native_xnor.pack(name, inputs)
    for spot in range(3 * width):
        for nan in (np.nan, -np.nan):
            inputs.flat[spot] = nan
            with pytest.raises(native.Refused, match="result 1"):
                native_xnor.pack(name, inputs)
        inputs.flat[spot] = 0.0


@pytest.mark.parametrize("name", TABLES)
def test_signs_of_the_smallest_and_the_largest(name):
    tiny, huge = np.float32(1e-45), np.float32(np.inf)
    values = np.array([tiny, -tiny, huge, -huge, 0.0, -0.0, 1.0, -1.0], np.float32)
    inputs = np.tile(values, 13)[None]
    np.testing.assert_array_equal(
        native_xnor.pack(name, inputs),
        signs.pack_bits(np.tile([0, 1] * 4, 13)[None] * (inputs != 0)),
    )


@pytest.mark.parametrize("name", TABLES)
def test_thresholds_at_the_ends_of_the_integers(name):
    case = Case(4, 50, 4)
    case.thresholds = np.array([-(2**31), 2**31 - 1, 51, -50], np.int32)
    case.flips = np.zeros(1, np.uint32)
    found = native_xnor.chain(name, case.inputs, [case.layers()["bits"]])
    assert (found == 0b0110).all()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("batch", [1, 6])
def test_a_chain_is_its_layers_one_after_another(name, batch):
    shapes = [(70, 40), (40, 100), (100, 33), (33, 10)]
    cases = [Case(batch, *shape, dropped=0.3) for shape in shapes]
    layers = [case.layers()["bits"] for case in cases[:-1]]
    layers.append(cases[-1].layers()["float32"])
    step = cases[0].inputs
    for layer in layers:
        step = native_xnor.chain(name, step, [layer])
    found = native_xnor.chain(name, cases[0].inputs, layers)
    np.testing.assert_array_equal(found, step)


def test_chains_that_do_not_fit_are_refused():
    one, two = Case(2, 70, 40), Case(2, 41, 10)
    bits, sums = one.layers()["bits"], two.layers()["int32"]
    for layers in ([bits, sums], [one.layers()["int32"], one.layers()["int32"]]):
        with pytest.raises(native.Refused, match="result 3"):
            native_xnor.chain("scalar", one.inputs, layers)
