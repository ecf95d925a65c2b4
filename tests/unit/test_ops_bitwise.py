"""Do the ops on signs equal their twins, refuse what is wrong, know their shapes?"""

import contextlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional import signs
from keras_compress.ops import _library, bitwise_network

needs_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights_of(seed, inputs, units, *, dropped=0.0):
    mask = np.random.default_rng(seed + 1).random((inputs, units)) >= dropped
    packed = signs.pack_kernel(dense(seed, inputs, units), mask)
    return [tf.constant(array) for array in packed]


def limits_of(seed, units):
    random = np.random.default_rng(seed)
    thresholds = random.integers(-5, 6, units).astype(np.int32)
    return thresholds, signs.pack_bits(random.random(units) < 0.5)


def kinds(units):
    thresholds, flips = limits_of(5, units)
    return {
        "floats": {},
        "scaled": {"scale": dense(3, units), "bias": dense(4, units)},
        "shifted": {"bias": dense(4, units)},
        "sums": {"outputs": "int32"},
        "bits": {"outputs": "bits", "thresholds": thresholds, "flips": flips},
        "unflipped": {"outputs": "bits", "thresholds": thresholds},
    }


def ops_in(function, *spec):
    graph = tf.function(function).get_concrete_function(*spec).graph
    return {op.type for op in graph.get_operations()}


def same(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.numpy().tobytes() == other.numpy().tobytes()


@pytest.mark.parametrize("kind", kinds(1))
@pytest.mark.parametrize("dropped", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(4, 40), (1, 32), (2, 3, 33), (2, 0, 65), (0, 7)])
def test_matmul_equals_its_twin(kind, dropped, shape):
    weights = weights_of(0, shape[-1], 37, dropped=dropped)
    inputs = dense(1, *shape)
    for given, width in ((inputs, None), (ops.pack_signs(inputs), shape[-1])):
        arguments = kinds(37)[kind] | {"input_dim": width}
        found = ops.xnor_matmul(given, *weights, **arguments)
        with ops.twins():
            same(found, ops.xnor_matmul(given, *weights, **arguments))
    assert found.shape == (
        *shape[:-1],
        2 if "bits" in str(found.dtype) else found.shape[-1],
    )


def test_matmul_is_the_product_of_signs():
    kernel, inputs = dense(0, 50, 20), dense(1, 3, 50)
    mask = dense(2, 50, 20) > 0
    weights = signs.pack_kernel(kernel, mask)
    expected = np.where(inputs < 0, -1, 1) @ (np.where(kernel < 0, -1, 1) * mask)
    np.testing.assert_array_equal(ops.xnor_matmul(inputs, *weights), expected)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("outputs", ["float32", "int32", "bits"])
def test_a_chain_is_its_layers_one_after_another(twins, outputs):
    sizes = [70, 40, 33, 10]
    weights = [weights_of(i, *sizes[i : i + 2], dropped=0.3) for i in range(3)]
    limits = [limits_of(i, units) for i, units in enumerate(sizes[1:])]
    inputs = dense(9, 5, 70)
    step, width = inputs, None
    for i in range(3):
        last = i == 2
        step = ops.xnor_matmul(
            step,
            *weights[i],
            input_dim=width,
            outputs=outputs if last else "bits",
            **dict(zip(("thresholds", "flips"), limits[i], strict=True))
            if not last or outputs == "bits"
            else {},
        )
        width = sizes[i + 1]
    used = limits if outputs == "bits" else limits[:2]
    if twins:
        with ops.twins():
            found = ops.xnor_chain(inputs, weights, used, outputs=outputs)
    else:
        found = ops.xnor_chain(inputs, weights, used, outputs=outputs)
    same(found, step)


@pytest.mark.parametrize("twins", [False, True])
def test_signs_of_other_floating_dtypes(twins):
    values = [[1e-300, -1e-300, 0.0, -0.0, -1.0]]
    weights = weights_of(0, 5, 3)
    for dtype, negative in ((tf.float64, 0b10010), (tf.bfloat16, None)):
        inputs = tf.constant(values, dtype)
        if twins:
            with ops.twins():
                words, found = ops.pack_signs(inputs), ops.xnor_matmul(inputs, *weights)
        else:
            words, found = ops.pack_signs(inputs), ops.xnor_matmul(inputs, *weights)
        if negative is not None:
            assert words.numpy().tolist() == [[negative]]
        assert found.dtype == dtype


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("place", [0, 1, 39])
def test_nan_is_refused(twins, place):
    inputs = dense(0, 1, 40)
    inputs[0, place] = np.nan
    context = ops.twins() if twins else contextlib.nullcontext()
    message = "free of NaN, which has"
    with context, pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.pack_signs(inputs)
    weights = weights_of(0, 40, 3)
    if not twins and _library._library.ops is not None:
        message = f"NaN in row 0, column {place}"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            ops.xnor_matmul(inputs, *weights)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_a_gradient_is_refused_aloud(twins, graph):
    weights, inputs = weights_of(0, 40, 3), tf.constant(dense(1, 2, 40))

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            if twins:
                with ops.twins():
                    outputs = ops.xnor_matmul(inputs, *weights)
            else:
                outputs = ops.xnor_matmul(inputs, *weights)
        return tape.gradient(outputs, inputs)

    with pytest.raises(
        NotImplementedError, match="for inference: a sign has no gradient"
    ):
        (tf.function(gradient) if graph else gradient)()


@needs_library
def test_native_ops_are_used_and_within_twins_are_not():
    weights, spec = weights_of(0, 40, 3), tf.TensorSpec([None, 40])

    def both(x):
        return ops.xnor_matmul(x, *weights), ops.pack_signs(x)

    assert {"KcXnorMatmul", "KcPackSigns"} <= ops_in(both, spec)
    with ops.twins():
        assert not {"KcXnorMatmul", "KcPackSigns"} & ops_in(both, spec)


def test_twins_compile_under_xla():
    weights, inputs = weights_of(0, 40, 37, dropped=0.3), dense(1, 4, 40)
    arguments = kinds(37)

    @tf.function(jit_compile=True)
    def products(x):
        with ops.twins():
            return [ops.xnor_matmul(x, *weights, **kind) for kind in arguments.values()]

    for found, kind in zip(products(inputs), arguments.values(), strict=True):
        expected = ops.xnor_matmul(inputs, *weights, **kind)
        if found.dtype == tf.float32:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        else:
            same(found, expected)


@pytest.mark.parametrize("twins", [False, True])
def test_static_shapes(twins):
    weights, last = weights_of(0, 40, 37), weights_of(0, 37, 10)
    limits = limits_of(0, 37)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 40]), tf.TensorSpec([None, 7, 40])]
    )
    def traced(rows, axes):
        def all_of():
            return (
                ops.xnor_matmul(rows, *weights),
                ops.xnor_matmul(axes, *weights, outputs="int32"),
                ops.xnor_matmul(rows, *weights, thresholds=limits[0], outputs="bits"),
                ops.xnor_chain(rows, [weights, last], [limits]),
                ops.xnor_chain(
                    axes,
                    [weights, weights_of(0, 37, 33)],
                    [limits, limits_of(0, 33)],
                    outputs="bits",
                ),
                ops.pack_signs(axes),
            )

        if twins:
            with ops.twins():
                return all_of()
        return all_of()

    shapes = [shape.as_list() for shape in traced.get_concrete_function().output_shapes]
    assert shapes == [
        [None, 37],
        [None, 7, 37],
        [None, 2],
        [None, 10],
        [None, 7, 2],
        [None, 7, 2],
    ]


def bad_weights():
    panels, masks, kept = (
        array.numpy() for array in weights_of(0, 40, 37, dropped=0.3)
    )
    good = {"signs": panels, "masks": masks, "kept": kept}
    zeros = np.zeros(36, np.float32)
    return {
        r"`signs` must be of shape \[3,2,16\] for 40 inputs and 37 units": good
        | {"signs": panels[1:]},
        r"`masks` must be of shape \[3,2,16\]": good | {"masks": masks[:, 1:]},
        r"`signs` must have rank 3": good | {"signs": panels[0]},
        r"`kept` must have rank 1": good | {"kept": kept[None]},
        r"`scale` must be of length 37 or 0": good | {"scale": zeros},
        r"`bias` must be of length 37 or 0": good | {"bias": zeros},
        r"`thresholds` must be of length 37": good
        | {"thresholds": np.zeros(36, np.int32), "outputs": "bits"},
        r"`flips` must be of length 2": good
        | {
            "thresholds": np.zeros(37, np.int32),
            "flips": np.zeros(1, np.uint32),
            "outputs": "bits",
        },
    }


@needs_library
@pytest.mark.parametrize("message", bad_weights())
def test_bad_weights_are_refused(message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.xnor_matmul(dense(1, 4, 40), **bad_weights()[message])


@needs_library
def test_packed_inputs_of_another_width_are_refused():
    message = "`inputs` must have 2 words in a row for 40 inputs"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.xnor_matmul(
            tf.zeros([4, 3], tf.uint32), *weights_of(0, 40, 3), input_dim=40
        )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("outputs", {"outputs": "float16"}),
        ("inputs", {"inputs": np.ones(40, np.float32)}),
        ("inputs", {"inputs": np.ones((2, 40), int)}),
        ("input_dim", {"inputs": tf.zeros([2, 2], tf.uint32)}),
        ("input_dim", {"input_dim": 41}),
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
    panels, masks, kept = weights_of(0, 40, 3)
    good = {
        "inputs": np.ones((2, 40), np.float32),
        "signs": panels,
        "masks": masks,
        "kept": kept,
    }
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.xnor_matmul(**(good | change))


def test_without_a_library_the_twin_is_used_and_says_so(monkeypatch, tmp_path):
    weights, inputs = weights_of(0, 40, 3), dense(1, 4, 40)
    expected = ops.xnor_matmul(inputs, *weights)
    missing = _library._Library(tmp_path / "_native.so")
    monkeypatch.setattr(_library, "_library", missing)
    with pytest.warns(RuntimeWarning, match="native ops: not built"):
        same(ops.xnor_matmul(inputs, *weights), expected)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("sizes", [[70, 40, 33, 10], [33, 7], [40, 0, 5], [0, 3]])
@pytest.mark.parametrize("kind", kinds(1))
def test_a_function_is_the_chain_of_fixed_layers(kind, sizes, twins):
    weights = [
        weights_of(i, *pair, dropped=i % 2 * 0.4)
        for i, pair in enumerate(itertools.pairwise(sizes))
    ]
    end = dict(kinds(sizes[-1])[kind])
    limits = [limits_of(i, units) for i, units in enumerate(sizes[1:-1])]
    if "thresholds" in end:
        limits.append((end.pop("thresholds"), end.pop("flips", None)))
    inputs = tf.constant(dense(9, 5, sizes[0]))
    expected = ops.xnor_chain(inputs, weights, limits, **end)
    with ops.twins() if twins else contextlib.nullcontext():
        function = ops.xnor_function(weights, limits, input_dim=sizes[0], **end)
    for given in (inputs, ops.pack_signs(inputs)):
        same(function(given), expected)
    graph = tf.function(function).get_concrete_function(tf.TensorSpec([None, sizes[0]]))
    same(graph(inputs), expected)
    assert graph.output_shapes[1:] == expected.shape[1:]


@needs_library
def test_a_network_that_is_none_is_refused():
    op = _library.native_op("kc_xnor_network")
    weights = weights_of(0, 40, 20)
    rows = tf.zeros([2, 40])

    def network(*layers):
        names = ("signs", "masks", "kept", "input_dim", "thresholds")
        steps = [
            ops.stages.Product(**dict(zip(names, layer, strict=False)))
            for layer in layers
        ]
        return bitwise_network._in_one(*bitwise_network._program(steps, None, None))

    good = network([*weights, 40])
    op(inputs=rows, network=good, Tout=tf.float32)
    header = good.numpy()
    vast = np.concatenate([header[:2], [2**31 - 1, 2**31 - 1], header[4:]])
    for words, message in (
        ([], "does not begin with a list"),
        ([0] * 16, "does not begin with a list"),
        ([5, 1, 1, 0], "does not begin with a list"),
        ([2**32 - 1] * 64, "does not begin with a list"),
        (header[:-16], "is not as long as its stages need"),
        (np.append(header, header[:16]), "is not as long as its stages need"),
        (vast, "is not as long as its stages need"),
        (np.append(header[:4], [2, *header[5:]]), "need thresholds, and no other"),
        (np.append(header[:2], [2**32 - 1, *header[3:]]), "numbers that cannot be"),
        (header.reshape(-1, 16), "`network` must have rank 1"),
    ):
        bad = tf.constant(np.asarray(words, np.uint32))
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(inputs=rows, network=bad, Tout=tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have 40 numbers"):
        op(inputs=rows[:, :39], network=good, Tout=tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN in row 0, column 0"):
        op(inputs=rows * np.nan, network=good, Tout=tf.float32)
    words = network([*weights, 40, limits_of(0, 20)[0]], [*weights_of(1, 20, 7), 20])
    words = words.numpy()
    words[14] = 19  # inputs of the second layer: in as many words, but one less
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Stage 1 .* follow"):
        op(inputs=rows, network=tf.constant(words), Tout=tf.float32)
