"""Do convolutions of signs equal their twins, refuse what is wrong, know shapes?"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional import sign_images, signs
from keras_compress.ops import _library

needs_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)
FILTERS = 37


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kernel_of(seed, *shape, dropped=0.0):
    """Weights of -1, 0 and +1."""
    kept = np.random.default_rng(seed + 1).random(shape) >= dropped
    return np.where(dense(seed, *shape) < 0, -1.0, 1.0) * kept


def weights_of(kernel):
    return sign_images.pack_conv2d_kernel(kernel, kernel != 0)


def kinds():
    random = np.random.default_rng(5)
    thresholds = random.integers(-5, 6, FILTERS).astype(np.int32)
    flips = signs.pack_bits(random.random(FILTERS) < 0.5)
    return {
        "floats": {},
        "scaled": {"scale": dense(3, FILTERS), "bias": dense(4, FILTERS)},
        "sums": {"outputs": "int32"},
        "bits": {"outputs": "bits", "thresholds": thresholds, "flips": flips},
        "unflipped": {"outputs": "bits", "thresholds": thresholds},
    }


GEOMETRIES = [
    {},
    {"padding": "same"},
    {"padding": "same", "border": "ones"},
    {"padding": "same", "border": "ones", "strides": (2, 1)},
    {"padding": "same", "strides": 2},
    {"padding": "valid", "dilations": (1, 2)},
    {"padding": "same", "dilations": 2, "border": "ones"},
]


def within(twins):
    return ops.twins() if twins else contextlib.nullcontext()


def same(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.numpy().tobytes() == other.numpy().tobytes()


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("batch", [0, 2])
def test_convolution_equals_its_twin(geometry, kind, batch):
    weights = weights_of(kernel_of(0, 3, 2, 40, FILTERS, dropped=0.3))
    images = dense(1, batch, 7, 6, 40)
    arguments = {"kernel_size": (3, 2), "channels": 40, **geometry, **kinds()[kind]}
    for given in (images, ops.pack_signs(images)):
        found = ops.xnor_conv2d(given, *weights, **arguments)
        with ops.twins():
            same(found, ops.xnor_conv2d(given, *weights, **arguments))


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if "border" not in g])
def test_convolution_is_that_of_signs(geometry, twins):
    kernel = kernel_of(0, 3, 2, 5, 4, dropped=0.3)
    images = dense(1, 2, 8, 7, 5)
    with within(twins):
        weights = weights_of(kernel)
        found = ops.xnor_conv2d(images, *weights, kernel_size=(3, 2), **geometry)
    strides, dilations = (geometry.get(n, 1) for n in ("strides", "dilations"))
    values = np.where(images < 0, -1.0, 1.0).astype(np.float32)
    padding = geometry.get("padding", "valid").upper()
    expected = tf.nn.conv2d(
        values, kernel.astype(np.float32), strides, padding, dilations=dilations
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_reference_is_the_op(geometry):
    kernel = kernel_of(0, 3, 2, 5, 4, dropped=0.3)
    images = dense(1, 2, 8, 7, 5)
    sums = ops.xnor_conv2d(
        images, *weights_of(kernel), kernel_size=(3, 2), outputs="int32", **geometry
    )
    pairs = {
        name: (value, value) if isinstance(value, int) else value
        for name, value in geometry.items()
    }
    expected = sign_images.sign_convolution(images, kernel, **pairs)
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pooling_bits_is_pooling_the_sums_before(twins, padding):
    kernel = kernel_of(0, 3, 3, 40, FILTERS)
    images, limits = dense(1, 2, 9, 8, 40), kinds()["bits"]
    arguments = {"kernel_size": 3, "padding": "same"}
    with within(twins):
        weights = weights_of(kernel)
        sums = ops.xnor_conv2d(images, *weights, outputs="int32", **arguments)
        bits = ops.xnor_conv2d(images, *weights, **arguments, **limits)
        found = ops.pool_signs(
            bits, (2, 3), strides=2, padding=padding, flips=limits["flips"]
        )
    largest = tf.nn.max_pool2d(tf.cast(sums, tf.float32), (2, 3), 2, padding.upper())
    flipped = signs.unpack_bits(limits["flips"], FILTERS)
    expected = signs.pack_bits((largest.numpy() < limits["thresholds"]) ^ flipped)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("twins", [False, True])
def test_bits_go_from_one_to_the_next(twins):
    one, two = kernel_of(0, 3, 3, 3, 40), kernel_of(1, 2, 2, 40, 6)
    thresholds = np.arange(40, dtype=np.int32) - 20
    images = dense(2, 2, 8, 8, 3)
    with within(twins):
        bits = ops.xnor_conv2d(
            images,
            *weights_of(one),
            kernel_size=3,
            outputs="bits",
            thresholds=thresholds,
        )
        pooled = ops.pool_signs(bits, 2)
        found = ops.xnor_conv2d(pooled, *weights_of(two), kernel_size=2, channels=40)
    hidden = np.where(sign_images.sign_convolution(images, one) < thresholds, -1, 1)
    hidden = hidden.reshape(2, 3, 2, 3, 2, 40).max((2, 4))
    np.testing.assert_array_equal(found, sign_images.sign_convolution(hidden, two))


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("dtype", [tf.float64, tf.float16, tf.bfloat16])
def test_other_floating_dtypes(twins, dtype):
    images = tf.constant([[[[1e-300]], [[-1e-300]]]], tf.float64)
    images = images if dtype == tf.float64 else tf.sign(images)
    with within(twins):
        weights = weights_of(np.ones((1, 1, 1, 2)))
        found = ops.xnor_conv2d(tf.cast(images, dtype), *weights, kernel_size=(1, 1))
    assert found.dtype == dtype
    assert found[0, :, 0, 0].numpy().tolist() == [1.0, -1.0]


@pytest.mark.parametrize("twins", [False, True])
def test_nan_is_refused(twins):
    images = np.zeros((2, 3, 4, 5), np.float32)
    images[1, 2, 0, 3] = np.nan
    message = "free of NaN, which has"
    if not twins and _library._library.ops is not None:
        message = "NaN in image 1, row 2, column 0, channel 3"
    weights = weights_of(np.ones((2, 2, 5, 3)))
    with within(twins), pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.xnor_conv2d(images, *weights, kernel_size=2)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_a_gradient_is_refused_aloud(twins, graph):
    weights, images = (
        weights_of(np.ones((2, 2, 5, 3))),
        tf.constant(dense(1, 2, 4, 4, 5)),
    )

    def gradient():
        with tf.GradientTape() as tape, within(twins):
            tape.watch(images)
            outputs = ops.xnor_conv2d(images, *weights, kernel_size=2)
        return tape.gradient(outputs, images)

    with pytest.raises(NotImplementedError, match="a sign has no gradient"):
        (tf.function(gradient) if graph else gradient)()


@pytest.mark.parametrize("twins", [False, True])
def test_static_shapes(twins):
    weights = weights_of(np.ones((3, 3, 5, FILTERS)))
    thresholds = np.zeros(FILTERS, np.int32)

    def shapes(spec):
        @tf.function(autograph=False)
        def traced(images):
            bits = {"outputs": "bits", "thresholds": thresholds}
            with within(twins):
                words = ops.xnor_conv2d(images, *weights, kernel_size=3, **bits)
                return (
                    ops.xnor_conv2d(images, *weights, kernel_size=3, strides=2),
                    words,
                    ops.pool_signs(words, 2, padding="same"),
                )

        found = traced.get_concrete_function(spec).output_shapes
        return [shape.as_list() for shape in found]

    known = shapes(tf.TensorSpec([None, 9, 8, 5]))
    assert known == [[None, 4, 3, FILTERS], [None, 7, 6, 2], [None, 4, 3, 2]]
    sizes = [None, None, None]
    unknown = shapes(tf.TensorSpec([*sizes, 5]))
    assert unknown == [[*sizes, FILTERS], [*sizes, 2], [*sizes, 2]]


@needs_library
def test_native_ops_are_used_and_within_twins_are_not():
    weights = weights_of(np.ones((3, 3, 40, 3)))

    def both(words):
        pooled = ops.pool_signs(words, 2)
        return ops.xnor_conv2d(pooled, *weights, kernel_size=3, channels=40)

    def ops_in():
        spec = tf.TensorSpec([None, 9, 9, 2], tf.uint32)
        graph = tf.function(both).get_concrete_function(spec).graph
        return {op.type for op in graph.get_operations()}

    native = {"KcXnorConv2D", "KcPoolSigns"}
    assert native <= ops_in()
    with ops.twins():
        assert not native & ops_in()


def test_twins_compile_under_xla():
    weights, images = weights_of(kernel_of(0, 3, 3, 5, FILTERS)), dense(1, 2, 6, 6, 5)
    arguments = {"kernel_size": 3, "padding": "same"} | kinds()["bits"]

    @tf.function(jit_compile=True)
    def bits(x):
        with ops.twins():
            return ops.pool_signs(ops.xnor_conv2d(x, *weights, **arguments), 2)

    same(
        bits(images), ops.pool_signs(ops.xnor_conv2d(images, *weights, **arguments), 2)
    )


@needs_library
@pytest.mark.parametrize(
    ("message", "change"),
    [
        (
            r"`signs` must be of shape \[1,4,16\] for 4 pixels of 5 channels",
            {"signs": 1},
        ),
        (r"`masks` must be of shape \[1,4,16\]", {"masks": 1}),
        ("`bias` must be of length 3 or 0", {"bias": np.zeros(4, np.float32)}),
        (
            "`thresholds` must be of length 3",
            {"thresholds": np.zeros(2, np.int32), "outputs": "bits"},
        ),
        (
            "`flips` must be of length 1",
            {
                "thresholds": np.zeros(3, np.int32),
                "outputs": "bits",
                "flips": np.zeros(2, np.uint32),
            },
        ),
    ],
)
def test_bad_weights_are_refused(message, change):
    panels = dict(
        zip(("signs", "masks", "kept"), weights_of(np.ones((2, 2, 5, 3))), strict=True)
    )
    for name in ("signs", "masks"):
        if name in change:
            change = change | {name: np.zeros((2, 4, 16), np.uint32)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.xnor_conv2d(dense(1, 2, 4, 4, 5), kernel_size=2, **(panels | change))


@needs_library
def test_images_of_another_kind_are_refused_in_a_graph_too():
    weights = weights_of(np.ones((3, 3, 5, 3)))

    @tf.function(input_signature=[tf.TensorSpec(None)])
    def convolution(images):
        return ops.xnor_conv2d(images, *weights, kernel_size=3, channels=5)

    invalid = tf.errors.InvalidArgumentError
    with pytest.raises(invalid, match="`inputs` must have 5 numbers in a pixel"):
        convolution(dense(0, 1, 4, 4, 6))
    with pytest.raises(invalid, match="`inputs` must be at least 3 pixels high"):
        convolution(dense(0, 1, 2, 4, 5))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("outputs", {"outputs": "float16"}),
        ("inputs", {"inputs": np.ones((4, 4, 5), np.float32)}),
        ("inputs", {"inputs": np.ones((1, 4, 4, 5), int)}),
        ("inputs", {"inputs": np.ones((1, 4, 4, 2), np.uint32), "channels": 5}),
        ("inputs", {"kernel_size": 5}),
        ("channels", {"inputs": np.ones((1, 4, 4, 1), np.uint32)}),
        ("channels", {"channels": 4}),
        ("kernel_size", {"kernel_size": (2, 2, 2)}),
        ("strides", {"strides": 0}),
        ("dilations", {"dilations": 1.5}),
        ("padding", {"padding": "full"}),
        ("border", {"border": "twos"}),
        ("thresholds", {"outputs": "bits"}),
        ("thresholds", {"thresholds": np.zeros(3, np.int32)}),
        (
            "scale, bias",
            {
                "outputs": "bits",
                "thresholds": np.zeros(3, np.int32),
                "bias": np.zeros(3, np.float32),
            },
        ),
    ],
)
def test_bad_arguments_are_refused(name, change):
    panels = weights_of(np.ones((2, 2, 5, 3)))
    good = dict(zip(("signs", "masks", "kept"), panels, strict=True))
    good |= {"inputs": np.ones((1, 4, 4, 5), np.float32), "kernel_size": 2}
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.xnor_conv2d(**(good | change))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inputs", {"inputs": np.ones((1, 4, 4, 2), np.float32)}),
        ("inputs", {"inputs": np.ones((4, 4, 2), np.uint32)}),
        ("inputs", {"pool_size": 5}),
        ("pool_size", {"pool_size": 0}),
        ("strides", {"strides": -1}),
        ("padding", {"padding": "full"}),
    ],
)
def test_bad_pools_are_refused(name, change):
    good = {"inputs": np.ones((1, 4, 4, 2), np.uint32), "pool_size": 2}
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.pool_signs(**(good | change))


def test_a_kernel_is_packed_pixel_by_pixel():
    kernel = kernel_of(0, 2, 3, 40, 20, dropped=0.3)
    panels, masks, kept = weights_of(kernel)
    rows = signs.from_panels(panels, 20).reshape(20, 2, 3, 2)
    np.testing.assert_array_equal(
        signs.unpack_bits(rows, 40), np.moveaxis(kernel < 0, 3, 0)
    )
    assert masks.shape == panels.shape
    assert kept.tolist() == np.count_nonzero(kernel, axis=(0, 1, 2)).tolist()
    assert len(weights_of(np.ones((2, 3, 40, 20)))[1]) == 0


@pytest.mark.parametrize(
    ("name", "kernel", "mask"),
    [
        ("kernel", np.ones((3, 3)), None),
        ("array", np.ones((1, 1, 2, 2), int), None),
        ("mask", np.ones((1, 1, 2, 2)), np.ones((2, 2))),
    ],
)
def test_bad_kernels_are_refused(name, kernel, mask):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        sign_images.pack_conv2d_kernel(kernel, mask)
