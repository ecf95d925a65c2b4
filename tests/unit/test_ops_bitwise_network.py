"""Is a network as one op its stages one after another, and does it refuse the rest?"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional import sign_images, signs
from keras_compress.ops import _library, bitwise_network, stages

needs_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)
TWINS = pytest.mark.parametrize("twins", [False, True])


def within(twins):
    return ops.twins() if twins else contextlib.nullcontext()


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def arrays(seed, *shape, dropped=0.0, bits=True):
    """Weights of this shape, and thresholds and flips of their sums."""
    random = np.random.default_rng(seed)
    kept = random.random(shape) >= dropped
    pack = sign_images.pack_conv2d_kernel if len(shape) == 4 else signs.pack_kernel
    names = ("signs", "masks", "kept")
    found = dict(zip(names, pack(dense(seed, *shape), kept), strict=True))
    if bits:
        found["thresholds"] = random.integers(-5, 6, shape[-1])
        found["flips"] = signs.pack_bits(random.random(shape[-1]) < 0.5)
    return found


def convolution(seed, channels, filters, *, size=(3, 3), **arguments):
    geometry = {
        name: arguments.pop(name)
        for name in ("strides", "dilations", "padding", "border")
        if name in arguments
    }
    made = arrays(seed, *size, channels, filters, **arguments)
    return stages.Convolution(channels=channels, kernel_size=size, **geometry, **made)


def product(seed, inputs, units, **arguments):
    return stages.Product(input_dim=inputs, **arrays(seed, inputs, units, **arguments))


def pooling(seed, size, words, **arguments):
    flips = np.random.default_rng(seed).integers(0, 2**32, words, dtype=np.uint32)
    return stages.Pooling(size, words, flips=flips, **arguments)


NETWORKS = {
    "convolution": ((7, 6, 5), [convolution(0, 5, 37, dropped=0.3, bits=False)]),
    "to_rows": (
        (9, 8, 3),
        [
            convolution(0, 3, 40, padding="same", dropped=0.3),
            pooling(1, (2, 2), 2, padding="same"),
            convolution(2, 40, 33, strides=(1, 2), padding="same", border="ones"),
            stages.Border(((1, 2), (0, 1))),
            convolution(3, 33, 20, size=(2, 2), dilations=(2, 1)),
            stages.Flatten(),
            product(4, 6 * 2 * 32, 50),
            product(5, 50, 7, bits=False),
        ],
    ),
    "of_pixels": (
        (4, 5, 33),
        [
            product(0, 33, 70, dropped=0.2),
            convolution(1, 70, 32, size=(1, 1)),
            pooling(2, (3, 2), 1, strides=(1, 2)),
            convolution(3, 32, 9, size=(2, 2), bits=False),
        ],
    ),
    "rows": ((70,), [product(0, 70, 40), product(1, 40, 33, bits=False)]),
    "one_pixel": (
        (1, 1, 40),
        [product(0, 40, 33), stages.Flatten(), product(1, 33, 5, bits=False)],
    ),
    "no_units": ((6,), [product(0, 6, 0), product(1, 0, 3, bits=False)]),
}
# The same, ending in bits.
BITS = {
    "bits": (
        (8, 8, 3),
        [convolution(0, 3, 40, padding="same"), convolution(1, 40, 33)],
    ),
    "pooled": ((8, 8, 3), [convolution(0, 3, 40), pooling(1, (2, 2), 2)]),
    "surrounded": ((3, 3, 3), [product(0, 3, 9), stages.Border(((1, 0), (0, 2)))]),
}


def one_by_one(inputs, steps, **ends):
    for step in steps[:-1]:
        inputs = step(inputs)
    return steps[-1](inputs, **ends)


def same(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.numpy().tobytes() == other.numpy().tobytes()


def cases():
    for name, (shape, steps) in NETWORKS.items():
        units = steps[-1].units
        yield name, shape, steps, {}
        yield name, shape, steps, {"scale": dense(8, units), "bias": dense(9, units)}
        yield name, shape, steps, {"outputs": "int32"}
    for name, (shape, steps) in BITS.items():
        yield name, shape, steps, {"outputs": "bits"}


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize(
    ("name", "shape", "steps", "ends"),
    cases(),
    ids=lambda x: x if type(x) is str else "",
)
def test_one_op_is_its_stages_one_after_another(name, shape, steps, ends, batch):
    inputs = dense(7, batch, *shape)
    alone = ends if steps[-1].weighs else {}
    with ops.twins():
        expected = one_by_one(inputs, steps, **alone)
        same(ops.xnor_network(inputs, steps, **ends), expected)
    function = ops.network_function(steps, inputs_shape=shape, **ends)
    for given in (tf.constant(inputs), ops.pack_signs(inputs)):
        same(ops.xnor_network(given, steps, **ends), expected)
        same(function(given), expected)


def test_images_in_blocks_and_on_threads():
    """More images than go through the network together."""
    steps = [
        convolution(0, 3, 130, padding="same"),
        convolution(1, 130, 64, padding="same"),
        pooling(2, (2, 2), 2),
        convolution(3, 64, 10, bits=False),
    ]
    inputs = dense(7, 70, 24, 24, 3)
    same(ops.xnor_network(inputs, steps), one_by_one(inputs, steps))


@TWINS
@pytest.mark.parametrize("known", [True, False])
def test_static_shapes(twins, known):
    _, steps = NETWORKS["to_rows"]
    shape, sizes = ((9, 8, 3), [None, 7]) if known else ((None, None, 3), None)
    steps = steps if known else steps[:5]
    outputs = "float32" if known else "bits"

    @tf.function(input_signature=[tf.TensorSpec([None, *shape])])
    def networks(x):
        function = ops.network_function(steps, outputs=outputs)
        return ops.xnor_network(x, steps, outputs=outputs), function(x)

    with within(twins):
        graph = networks.get_concrete_function()
    for found in graph.output_shapes:
        assert found.as_list() == (sizes or [None, None, None, 1])
    inputs = tf.constant(dense(7, 2, 9, 8, 3))
    expected = ops.xnor_network(inputs, steps, outputs=outputs)
    for found in graph(inputs):
        same(found, expected)


@TWINS
@pytest.mark.parametrize("dtype", [tf.float64, tf.bfloat16])
def test_other_floating_dtypes(twins, dtype):
    shape, steps = NETWORKS["to_rows"]
    inputs = tf.cast(dense(7, 2, *shape), dtype)
    with within(twins):
        found = ops.xnor_network(inputs, steps)
    same(found, tf.cast(ops.xnor_network(tf.cast(inputs, tf.float32), steps), dtype))


@TWINS
def test_nan_is_refused(twins):
    shape, steps = NETWORKS["to_rows"]
    inputs = dense(7, 2, *shape)
    inputs[1, 2, 0, 1] = np.nan
    message = "free of NaN"
    if not twins and _library._library.ops is not None:
        message = "NaN in image 1, row 2, column 0, channel 1"
    with within(twins):
        function = ops.network_function(steps)
        for call in (lambda x: ops.xnor_network(x, steps), function):
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                call(tf.constant(inputs))


@TWINS
@pytest.mark.parametrize("graph", [False, True])
def test_a_gradient_is_refused_aloud(twins, graph):
    shape, steps = NETWORKS["to_rows"]
    inputs = tf.constant(dense(7, 2, *shape))

    def gradient():
        with tf.GradientTape() as tape, within(twins):
            tape.watch(inputs)
            outputs = ops.xnor_network(inputs, steps)
        return tape.gradient(outputs, inputs)

    with pytest.raises(NotImplementedError, match="a sign has no gradient"):
        (tf.function(gradient) if graph else gradient)()


@needs_library
def test_it_is_one_op():
    shape, steps = NETWORKS["to_rows"]
    spec = tf.TensorSpec([None, *shape])
    for twins in (False, True):
        with within(twins):
            graph = tf.function(lambda x: ops.xnor_network(x, steps))
            graph = graph.get_concrete_function(spec).graph
        types = [op.type for op in graph.get_operations() if op.type.startswith("Kc")]
        assert types == ([] if twins else ["KcXnorStages"])


def changed(**change):
    """The numbers of the second stage, some of them others."""
    _, steps = NETWORKS["to_rows"]
    program, made = bitwise_network._program(steps, None, None)
    for place, number in change.items():
        program[int(place[1:])] = number
    return program, made


@needs_library
@pytest.mark.parametrize(
    ("program", "message"),
    [
        (changed(n12=9), "Stage 1 .* numbers that cannot be"),
        (changed(n0=4), r"must hold|must be the next"),
        (changed(n18=0), "Stage 1 .* does not follow"),
        (changed(n13=3), "`flips` must hold 3 numbers"),
        (changed(n1=4), "must have 4 numbers for 4 inputs"),
        (changed(n4=2**31), "Stage 0 .* numbers that cannot be"),
        (changed(n4=2**30), "Stage 0 .* numbers that cannot be"),
        (changed(n5=-1), "Stage 0 .* numbers that cannot be"),
        (changed(n3=0), "need thresholds, and no other does"),
        (changed(n40=2**31 - 1, n41=2**31 - 1), "does not follow"),
        (changed(n25=41), "must hold|does not follow"),
        (([], []), "must be a list of stages"),
        (([0] * 11, []), "must be a list of stages"),
        ((changed()[0], changed()[1][:-1]), "must be the next of `arrays`"),
        ((changed()[0], [*changed()[1], np.zeros(3, "i")]), "of the stages alone"),
    ],
)
def test_a_program_that_is_none_is_refused(program, message):
    op = _library.native_op("kc_xnor_stages")
    numbers, made = program
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        op(
            inputs=tf.zeros([2, 9, 8, 3]),
            arrays=made,
            program=numbers,
            Tout=tf.float32,
        )


@needs_library
def test_inputs_that_do_not_fit_are_refused():
    _, steps = NETWORKS["to_rows"]
    for shape, message in (
        ((2, 9, 8, 4), "must have 3 numbers for 3 inputs"),
        ((2, 11, 8, 3), r"Stage 6 .* does not follow"),
        ((2, 1, 1, 3), r"Stage 6 .* does not follow"),
        ((2, 3), "does not follow"),
    ):
        function = ops.network_function(steps)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(tf.zeros(shape))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("stages", {"stages": []}),
        ("stages", {"stages": ["relu"]}),
        ("stages", {"stages": [product(0, 3, 4), stages.Flatten()]}),
        ("outputs", {"outputs": "float16"}),
        ("outputs", {"stages": BITS["pooled"][1]}),
        ("inputs", {"inputs": np.zeros((2, 3, 4), "float32")}),
        ("inputs", {"inputs": np.zeros((2, 70), int)}),
        ("scale, bias", {"outputs": "bits", "bias": np.zeros(33, "float32")}),
        ("thresholds", {"outputs": "bits"}),
        ("thresholds", {"stages": [product(0, 70, 40), product(1, 40, 3)]}),
        ("thresholds", {"stages": [product(0, 70, 40, bits=False)] * 2}),
    ],
)
def test_bad_arguments_are_refused(name, change):
    good = {"inputs": dense(7, 2, 70), "stages": NETWORKS["rows"][1]}
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.xnor_network(**(good | change))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (
            "kernel_size",
            lambda: stages.Convolution(
                **arrays(0, 1, 1, 3, 4), channels=3, kernel_size=3
            ),
        ),
        ("padding", lambda: convolution(0, 3, 4, padding="full")),
        ("border", lambda: convolution(0, 3, 4, border="minus")),
        ("strides", lambda: convolution(0, 3, 4, strides=(0, 1))),
        ("pool_size", lambda: stages.Pooling(2, 1)),
        ("words", lambda: stages.Pooling((2, 2), -1)),
        ("padding", lambda: stages.Border(((1, 1),))),
        ("padding", lambda: stages.Border(((1, -1), (0, 0)))),
        (
            "flips",
            lambda: stages.Product(
                input_dim=3, **arrays(0, 3, 4, bits=False), flips=np.zeros(1, "uint32")
            ),
        ),
    ],
)
def test_bad_stages_are_refused(name, make):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        make()


@needs_library
def test_a_pooling_of_other_words_is_refused():
    for words in (0, 1, 5):
        steps = [stages.Pooling((2, 2), words=words)]
        with pytest.raises(tf.errors.InvalidArgumentError, match="does not follow"):
            ops.xnor_network(tf.zeros([1, 2, 2, 4], tf.uint32), steps, outputs="bits")


@TWINS
def test_bits_are_moved_but_no_floats(twins):
    steps = [stages.Flatten(), product(0, 64, 3, bits=False)]
    with within(twins), pytest.raises(ValueError, match="packed signs for these"):
        ops.xnor_network(tf.zeros([1, 1, 1, 64]), steps)


@pytest.mark.parametrize(
    "padding", [1, ((1, 2, 3), (4,)), ((1, 1),), ((1, 1), (0, -1))]
)
def test_a_border_is_two_pairs(padding):
    with pytest.raises(ValueError, match="`padding` must be"):
        stages.Border(padding)


@needs_library
def test_a_border_beyond_all_memory_is_refused():
    weights = sign_images.pack_conv2d_kernel(np.ones((2, 2, 128, 1), np.float32))
    images = tf.zeros([1, 5, 5, 128])
    with pytest.raises(tf.errors.ResourceExhaustedError):
        ops.xnor_conv2d(
            images, *weights, kernel_size=2, dilations=2**31 - 5, padding="same"
        )
