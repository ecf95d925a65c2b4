"""Packed bitwise layers as functions of tensors, without Keras around them."""

import keras
from keras import ops

from keras_compress.ops import network_function, pack_signs


def function_of(members, steps=None):
    """What `as_function` gives, for layers one after another.

    Args:
        members: List of built packed layers, such as `PackedBitwiseChain` has.
        steps: Their stages of `ops.xnor_network`; `None` asks each for its own.

    Returns:
        Function of a tensor, to what the layers make of it.
    """
    first, last = members[0], members[-1]
    ends = {} if last.outputs == "bits" else last.end_of_op()
    steps = [layer.stage() for layer in members] if steps is None else steps
    network = network_function(steps, outputs=last.outputs, **ends)
    linear = last.activation in (None, keras.activations.linear)
    in_order = last.outputs == "bits" or (last.op_finishes and linear)
    in_order = in_order and last.axes_stay and first.axes_stay
    simple = first.compute_dtype == "float32" and in_order
    if simple and first.inputs in ("sign", "packed"):
        return network
    if simple and first.inputs in ("bipolar", "zero_one"):
        threshold = ops.convert_to_tensor(first.threshold, "float32")
        return lambda inputs: network(inputs - threshold)
    if first.inputs == "packed":
        return lambda inputs: last.finish(network(inputs))
    # The function takes no floats but float32.
    return lambda inputs: last.finish(network(pack_signs(first.rows(inputs))))
