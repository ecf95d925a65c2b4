"""Networks of packed signs as one op: stages one after another, bits between them."""

import functools

import numpy as np
import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.ops import _library, stages
from keras_compress.ops._bitwise_twins import NO_GRADIENT, refusing_gradient
from keras_compress.ops._library import native_op
from keras_compress.ops.bitwise import OUTPUTS, signs_or_words

# Arrays of a network in one tensor begin at whole groups of so many words.
GROUP = 16


def xnor_network(inputs, stages, *, scale=None, bias=None, outputs="float32"):
    """Runs stages of packed signs one after another, as one op.

    What goes from one stage to the next is bits, which no tensor holds. Every SIMD
    level gives the same, and so do the stages called one by one. Not differentiable: a
    gradient is refused.

    Args:
        inputs: Floating tensor `(batch, inputs)` or `(batch, height, width, channels)`
            without NaN, or signs packed as of `pack_signs`.
        stages: List of stages, see `ops.stages`. Products and convolutions have
            thresholds, but for the last stage with other `outputs` than bits. Floats
            are for a product or a convolution.
        scale: Float32 tensor `(units,)`, or `None` for 1, for the last stage.
        bias: Float32 tensor `(units,)`, or `None` for 0, for the last stage.
        outputs: `"float32"`, `"int32"` or `"bits"`, of the last stage.

    Returns:
        Tensor, as the last stage gives it. Floats come back in the dtype of floating
        inputs.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If shapes do not go together, or an input is
            NaN.

    Example:

    >>> from keras_compress.functional.sign_images import pack_conv2d_kernel
    >>> signs, masks, kept = pack_conv2d_kernel(np.ones((2, 2, 1, 1)))
    >>> conv = {"signs": signs, "masks": masks, "kept": kept, "kernel_size": (2, 2)}
    >>> first = stages.Convolution(channels=1, thresholds=np.zeros(1), **conv)
    >>> network = [first, stages.Pooling((2, 2), words=1)]
    >>> xnor_network(tf.ones([1, 3, 3, 1]), network, outputs="bits").shape
    TensorShape([1, 1, 1, 1])
    """
    steps = _checked(stages, scale, bias, outputs)
    inputs, dtype = signs_or_words(inputs)
    if inputs.shape.rank not in (2, 4):
        raise invalid("inputs", "of two axes or four", inputs.shape)
    if inputs.dtype != tf.uint32 and not steps[0].weighs:
        raise invalid("inputs", "packed signs for these stages", inputs.dtype.name)
    op = native_op("kc_xnor_stages")
    ends = {"scale": scale, "bias": bias}
    if op is None:
        last = ends | {"outputs": outputs} if steps[-1].weighs else {}
        found = refusing_gradient(lambda x: _one_by_one(x, steps, last))(inputs)
    else:
        _library._library.follow_threads()
        program, arrays = _program(steps, **ends)
        found = op(inputs=inputs, arrays=arrays, program=program, Tout=OUTPUTS[outputs])
        found = _with_shape(found, inputs, steps)
    if outputs == "float32" and dtype not in (tf.float32, tf.uint32):
        found = tf.cast(found, dtype)  # pyright: ignore
    return found


def network_function(
    stages, *, inputs_shape=None, scale=None, bias=None, outputs="float32"
):
    """`xnor_network` as a function of its inputs alone.

    What is checked and prepared in each call of `xnor_network` is so once, here: called
    eagerly, the function is the bare call of one op, on the inputs and on one tensor
    that holds a copy of all weights.

    Args:
        stages: As of `xnor_network`.
        inputs_shape: Shape of one row or image of floats, for which the stages are
            tried at once; `None` leaves errors to the first call.
        scale: As of `xnor_network`.
        bias: As of `xnor_network`.
        outputs: As of `xnor_network`.

    Returns:
        Function of a float32 tensor, or of packed signs, to what `xnor_network` gives
        for it.

    Raises:
        ValueError: If an argument is not as said there.

    Example:

    >>> from keras_compress.functional.signs import pack_kernel
    >>> signs, masks, kept = pack_kernel(np.ones((3, 2)))
    >>> stage = stages.Product(signs=signs, masks=masks, kept=kept, input_dim=3)
    >>> function = network_function([stage], inputs_shape=(3,))
    >>> print(function(tf.constant([[1.0, 1.0, -1.0]])).numpy())
    [[1. 1.]]
    """
    floats = {"scale": scale, "bias": bias}
    floats = {
        name: None if value is None else tf.convert_to_tensor(value, tf.float32)
        for name, value in floats.items()
    }
    steps = _checked(stages, **floats, outputs=outputs)

    def whole(inputs):
        return xnor_network(inputs, steps, outputs=outputs, **floats)

    if inputs_shape is not None:
        # Once as it is meant to be called, so that what is wrong is said here.
        whole(tf.zeros([0, *inputs_shape]))
    op = native_op("kc_xnor_network")
    if op is None:
        return whole
    _library._library.follow_threads()
    network = _in_one(*_program(steps, **floats))
    fast = functools.partial(op, network=network, Tout=OUTPUTS[outputs])

    def function(inputs):
        found = fast(inputs)
        return _with_shape(found, inputs, steps)

    return function


def xnor_function(
    weights, thresholds, *, input_dim, scale=None, bias=None, outputs="float32"
):
    """`xnor_chain` as a function of its inputs alone, as `network_function` gives it.

    Args:
        weights: As of `xnor_chain`.
        thresholds: As of `xnor_chain`.
        input_dim: Integer >= 0, the number of inputs.
        scale: As of `xnor_chain`.
        bias: As of `xnor_chain`.
        outputs: As of `xnor_chain`.

    Returns:
        Function of a float32 tensor `(batch, input_dim)`, or of packed signs, to what
        `xnor_chain` gives for it.

    Raises:
        ValueError: If an argument is not as said there.

    Example:

    >>> from keras_compress.functional.signs import pack_kernel
    >>> function = xnor_function([pack_kernel(np.ones((3, 2)))], [], input_dim=3)
    >>> print(function(tf.constant([[1.0, 1.0, -1.0]])).numpy())
    [[1. 1.]]
    """
    width = first = check_int("input_dim", input_dim, minimum=0)
    if len(weights) - len(thresholds) not in (0, 1):
        expected = "for all layers, or for all but the last"
        raise invalid("thresholds", expected, f"{len(thresholds)} of them")
    products = []
    for (signs, masks, kept), limits in zip(
        weights, [*thresholds, (None, None)][: len(weights)], strict=True
    ):
        names = dict(zip(("thresholds", "flips"), limits, strict=True))
        arrays = {"signs": signs, "masks": masks, "kept": kept}
        products.append(stages.Product(input_dim=width, **arrays, **names))
        width = products[-1].units
    ends = {"scale": scale, "bias": bias, "outputs": outputs}
    return network_function(products, inputs_shape=(first,), **ends)


@tf.RegisterGradient("KcXnorNetwork")
@tf.RegisterGradient("KcXnorStages")
def _no_gradient(op, *gradients):
    raise NotImplementedError(NO_GRADIENT)


def _checked(steps, scale, bias, outputs):
    """The stages as a list that goes together."""
    check_choice("outputs", outputs, tuple(OUTPUTS))
    steps = list(steps)
    kinds = (stages.Product, stages.Convolution, stages.Pooling, stages.Border)
    if not steps or not all(isinstance(x, (*kinds, stages.Flatten)) for x in steps):
        raise invalid("stages", "a list of stages", steps)
    if isinstance(steps[-1], stages.Flatten):
        raise invalid("stages", "such that no Flatten is the last", steps)
    bits = outputs == "bits"
    if bits and (scale is not None or bias is not None):
        raise invalid("scale, bias", "None where outputs are bits", "not None")
    wanted = [step.weighs for step in steps]
    if not bits and steps[-1].weighs:
        wanted[-1] = False
    elif not bits:
        raise invalid("outputs", "'bits', for these stages move bits", outputs)
    if wanted != [step.gives_bits for step in steps]:
        expected = "those of every product and convolution that gives bits"
        raise invalid("thresholds", expected, [step.gives_bits for step in steps])
    return steps


def _one_by_one(inputs, steps, last):
    for step in steps[:-1]:
        inputs = step(inputs)
    return steps[-1](inputs, **last)


def _program(steps, scale, bias):
    """The numbers of all stages, and their arrays."""
    program, arrays = [], []
    for i, step in enumerate(steps):
        last = i == len(steps) - 1 and step.weighs
        flags, own = step.arrays(scale, bias) if last else step.arrays()
        program += step.numbers(flags)
        arrays += own
    return program, arrays


def _in_one(program, arrays):
    """All arrays in one tensor, behind a header that lists the stages."""
    header = [len(program) // len(stages.Flatten().numbers(0)), *program]
    words = [np.array(header, np.uint32)]
    words += [np.asarray(array).ravel().view(np.uint32) for array in arrays]
    filled = [np.pad(array, (0, -len(array) % GROUP)) for array in words]
    return tf.constant(np.concatenate(filled))


def _with_shape(outputs, inputs, steps):
    """Tells a graph the shape that its op cannot say; an eager tensor has it."""
    if tf.executing_eagerly():
        return outputs
    shape = inputs.shape
    for step in steps:
        shape = step.shape(shape)
    return tf.ensure_shape(outputs, shape)
