"""Is every SIMD level the convolution of signs by integers, bit for bit?"""

import ctypes
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_compress.functional import sign_images, signs
from tests.kernels import native, native_xnor

pytestmark = native.requires_library

TABLES = native_xnor.tables()


def sums_of(images, kernel, places, outside):
    """One window after another, pixel by pixel: images and kernel of -1, 0, +1."""
    (height, width), (top, left), strides, dilations = places
    sums = np.zeros((len(images), height, width, kernel.shape[3]), np.int32)
    for y, x in np.ndindex(height, width):
        for i, j in np.ndindex(*kernel.shape[:2]):
            v = y * strides[0] - top + i * dilations[0]
            u = x * strides[1] - left + j * dilations[1]
            inside = 0 <= v < images.shape[1] and 0 <= u < images.shape[2]
            pixel = (
                images[:, v, u] if inside else np.full_like(images[:, 0, 0], outside)
            )
            sums[:, y, x] += pixel @ kernel[i, j]
    return sums


class Case:
    """Random images and weights, and what must come out."""

    def __init__(
        self,
        shape,
        filters,
        *,
        window=(3, 3),
        strides=(1, 1),
        dilations=(1, 1),
        padding="same",
        zeros=True,
        dropped=0.0,
        seed=0,
    ):
        random = np.random.default_rng([seed, *shape, filters, *window])
        self.images = random.standard_normal(shape).astype(np.float32)
        self.images[random.random(shape) < 0.1] = -0.0
        self.zeros = zeros
        size = (*window, shape[3], filters)
        kernel = random.standard_normal(size).astype(np.float32)
        mask = random.random(size) >= dropped
        self.weights = sign_images.pack_conv2d_kernel(kernel, mask)
        self.scale, self.bias = random.standard_normal((2, filters)).astype(np.float32)
        self.thresholds = random.integers(-5, 6, filters).astype(np.int32)
        self.flips = signs.pack_bits(random.random(filters) < 0.5)
        (height, down), (width, right) = (
            sign_images.window_places(*numbers, padding=padding)
            for numbers in zip(shape[1:3], window, strides, dilations, strict=True)
        )
        self.outputs = (shape[0], height, width, filters)
        self.geometry = np.array(
            [*shape, *window, *strides, *dilations, down[0], right[0], height, width],
            np.int64,
        )
        places = (height, width), (down[0], right[0]), strides, dilations
        values = np.where(self.images < 0, -1, 1)
        ternary = np.where(kernel < 0, -1, 1) * mask
        self.sums = sums_of(values, ternary, places, 0 if zeros else 1)

    def layers(self):
        limits = {"thresholds": self.thresholds, "flips": self.flips}
        floats = {"scale": self.scale, "bias": self.bias}
        width = int(np.prod(self.geometry[3:6]))
        return {
            "int32": native_xnor.layer(width, self.weights, "int32"),
            "float32": native_xnor.layer(width, self.weights, "float32", **floats),
            "bits": native_xnor.layer(width, self.weights, "bits", **limits),
        }

    def expected(self):
        flips = signs.unpack_bits(self.flips, len(self.scale))
        return {
            "int32": self.sums,
            "float32": self.sums.astype(np.float32) * self.scale + self.bias,
            "bits": signs.pack_bits((self.sums < self.thresholds) ^ flips),
        }

    def run(self, name, images, output):
        """What a level makes of images, as floats or packed."""
        last = -(-self.outputs[3] // 32) if output == "bits" else self.outputs[3]
        shape = (*self.outputs[:3], last)
        outputs, check = native_xnor.guarded(shape, native_xnor.OUTPUTS[output])
        with native_xnor.table(name) as lib:
            result = lib.kc_xnor_conv2d(
                ctypes.byref(self.layers()[output]),
                native.pointer(self.geometry),
                int(self.zeros),
                int(images.dtype == np.uint32),
                native.pointer(images),
                native.pointer(outputs),
            )
        check()
        if result:
            raise native.Refused(f"result {result}")
        return outputs

    def check(self, tables=TABLES):
        expected = self.expected()
        for name in tables:
            for images in (self.images, signs.pack_signs(self.images)):
                for output in expected:
                    found = self.run(name, images, output)
                    same = found.view(np.uint32) == expected[output].view(np.uint32)
                    assert same.all(), (name, output, images.dtype)


@pytest.mark.parametrize("channels", [1, 3, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("dropped", [0.0, 0.4])
def test_channels(channels, zeros, dropped):
    Case((2, 5, 6, channels), 20, zeros=zeros, dropped=dropped).check()


@pytest.mark.parametrize("filters", [1, 15, 16, 17, 32, 33, 64, 65, 130])
def test_filters(filters):
    Case((1, 4, 5, 40), filters, dropped=filters % 2 * 0.3).check()


@pytest.mark.parametrize("window", [(1, 1), (1, 3), (2, 2), (3, 2), (5, 5), (7, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1), (1, 4)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_windows_and_strides(window, strides, padding):
    Case((2, 8, 7, 33), 18, window=window, strides=strides, padding=padding).check()


@pytest.mark.parametrize("dilations", [(2, 2), (1, 3), (3, 1), (4, 4)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_dilations(dilations, padding, strides):
    Case(
        (1, 9, 10, 5), 18, dilations=dilations, padding=padding, strides=strides
    ).check()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 5)])
@pytest.mark.parametrize("zeros", [False, True])
def test_windows_larger_than_the_image(size, zeros):
    Case((3, *size, 40), 20, window=(5, 4), zeros=zeros, dropped=0.2).check()


@pytest.mark.parametrize("batch", [0, 1, 2, 63, 64, 65, 130])
def test_small_images_go_together(batch):
    Case((batch, 2, 2, 8), 17, window=(2, 2)).check()


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_any_number_of_threads_gives_the_same(count, batch):
    case = Case((batch, 24, 20, 64), 100, dropped=0.2)
    with native_xnor.threads(count):
        case.check(TABLES[-2:])


def test_concurrent_calls():
    cases = [
        Case((batch, 20, 18, 64), 70, zeros=batch > 1, dropped=0.2)
        for batch in (1, 2, 9)
    ]
    wrong = []

    def call(case):
        for _ in range(10):
            found = case.run(TABLES[-2], case.images, "int32")
            if not (found == case.sums).all():
                wrong.append(case)

    with native_xnor.threads(3):
        callers = [threading.Thread(target=call, args=(case,)) for case in cases]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert not wrong


def test_a_window_of_a_pixel_is_a_product():
    case = Case((2, 3, 5, 70), 33, window=(1, 1))
    for name in TABLES:
        rows = case.images.reshape(-1, 70)
        product = native_xnor.chain(name, rows, [case.layers()["float32"]])
        found = case.run(name, case.images, "float32")
        np.testing.assert_array_equal(found.reshape(-1, 33), product)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(
        *(st.integers(*ends) for ends in ((0, 4), (1, 9), (1, 9), (1, 70)))
    ),
    filters=st.integers(1, 70),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["same", "valid"]),
    zeros=st.booleans(),
    dropped=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_random_geometries(shape, filters, **arguments):
    Case(shape, filters, **arguments).check(TABLES[-2:])


@pytest.mark.parametrize("name", TABLES)
def test_nan_is_found_wherever_it_is(name):
    case = Case((2, 3, 4, 5), 3, padding="valid", window=(2, 2), strides=(2, 2))
    for spot in range(case.images.size):
        images = case.images.copy()
        images.flat[spot] = np.nan
        with pytest.raises(native.Refused, match="result 1"):
            case.run(name, images, "int32")


def test_a_nan_is_found_by_any_thread():
    case = Case((40, 24, 20, 64), 100)
    case.images[33, 20, 3, 1] = np.nan
    with native_xnor.threads(3), pytest.raises(native.Refused, match="result 1"):
        case.run(TABLES[-2], case.images, "int32")


@pytest.mark.parametrize("number", range(14))
def test_sizes_that_are_none_are_refused(number):
    case = Case((1, 3, 3, 5), 3)
    case.geometry[number] = -1
    with pytest.raises(native.Refused, match="result 3"):
        case.run("scalar", case.images, "int32")


def pooled(values, places, window):
    (height, width), (top, left), strides = places
    found = np.zeros((len(values), height, width, values.shape[3]), values.dtype)
    for y, x in np.ndindex(height, width):
        v, u = y * strides[0] - top, x * strides[1] - left
        part = values[:, max(v, 0) : v + window[0], max(u, 0) : u + window[1]]
        found[:, y, x] = part.max((1, 2))
    return found


@pytest.mark.parametrize("window", [(1, 1), (2, 2), (3, 2), (2, 5)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("channels", [3, 64, 70])
def test_pooling_is_a_maximum_or_a_minimum(window, strides, padding, channels):
    random = np.random.default_rng(channels)
    shape = (3, 6, 7, channels)
    values = np.where(random.random(shape) < 0.8, -1, 1)
    flipped = random.random(channels) < 0.5
    (height, down), (width, right) = (
        sign_images.window_places(*numbers, padding=padding)
        for numbers in zip(shape[1:3], window, strides, strict=True)
    )
    way = np.where(flipped, -1, 1)
    places = (height, width), (down[0], right[0]), strides
    expected = signs.pack_bits(pooled(values * way, places, window) * way < 0)
    words = signs.pack_bits(values < 0)
    geometry = np.array(
        [*words.shape, *window, *strides, 1, 1, down[0], right[0], height, width],
        np.int64,
    )
    outputs, check = native_xnor.guarded(expected.shape, np.uint32)
    flips = signs.pack_bits(flipped)
    for count in (1, 3):
        with native_xnor.threads(count) as lib:
            pointers = (native.pointer(a) for a in (words, geometry, flips, outputs))
            assert lib.kc_xnor_pool(*pointers) == 0
        check()
        np.testing.assert_array_equal(outputs, expected)
