"""Which channels of a model belong together, which are constant, and who reads them.

A *channel* is one index of a tensor's last axis. The units of a `Dense`, the filters of
a `Conv2D` make channels; activations, normalisation, pooling and depthwise convolutions
hand them on; sums tie those of all their terms together. Whoever knows no better about
a layer must take it that it needs every channel it reads: these are *fixed*.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import layers, ops

from keras_compress._rebuild import is_graph
from keras_compress.functional.constants import (
    constant_sums,
    depthwise_constants,
    normalised_constants,
    padded_constants,
)
from keras_compress.layers.pruned import PrunedConv2D, PrunedDense

DENSE = (layers.Dense, PrunedDense)
CONVOLUTION = (layers.Conv2D, PrunedConv2D)

# Of each channel by itself: no softmax.
ACTIVATIONS = [
    getattr(keras.activations, name, None)
    for name in (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu"),
        *("tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "hard_silu", "softplus"),
        *("softsign", "exponential", "mish", "celu", "log_sigmoid", "squareplus"),
    )
]

# They do nothing once training is over.
TRAINING_ONLY = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
OF_EACH_CHANNEL = (layers.ELU, layers.LeakyReLU, layers.ReLU)
POOLING = (
    layers.AveragePooling2D,
    layers.Cropping2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.MaxPooling2D,
    layers.UpSampling2D,
)
# By name, for those of `x + y` are operations that Keras does not export.
SUMS = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
}


@dataclasses.dataclass
class Flow:
    """The channels of one tensor.

    Attributes:
        channels: Integers `(channels,)`: the same number, the same fate.
        constants: Floats `(channels,)`: the value that a channel has everywhere and
            for every input; NaN where there is none.
    """

    channels: np.ndarray
    constants: np.ndarray


@dataclasses.dataclass
class Reading:
    """One call of a layer with a kernel, and what it reads.

    Attributes:
        layer: The layer.
        flow: What it is called on.
        is_padded: Whether zeros around the image are read, too, so that no channel but
            one of zeros is constant to it.
    """

    layer: keras.Layer
    flow: Flow
    is_padded: bool


class Channels:
    """Follows the channels through a model, from its inputs to its outputs.

    Args:
        model: A model that passed `check_model`.
        arrays: Mapping from ids of layers to the arrays that they have or have left:
            kernel and bias, or those of a normalisation.

    Attributes:
        readings: List of `Reading`.
        made: Mapping from ids of layers with a kernel to the channels that they make.
        handed_on: Mapping from ids of other layers with arrays to their channels.
        fixed: Set of channels that must stay.
        idle: Mapping from names of layers that fix what they read to how many
            constant channels they read.
    """

    def __init__(self, model, arrays):
        self.arrays = arrays
        self.readings = []
        self.made = {}
        self.handed_on = {}
        self.idle = {}
        self._read = {}
        self._fixed = []
        self._parents = []
        for flow in self._graph(model, None):
            self._fix(flow)
        self.fixed = set(self.classes(np.array(self._fixed, int)))

    def classes(self, channels):
        """These channels, by one number for all that share a fate."""
        return np.array([self._root(channel) for channel in channels], int)

    def _graph(self, model, given):
        known = {}
        for number, tensor in enumerate(keras.tree.flatten(model.inputs)):
            # The shape of an input is written down, so none of its channels can go.
            if given is not None:
                self._fix(given[number], model)
            known[id(tensor)] = self._new(tensor.shape[-1], fixed=True)
        return [self._flow(x, known) for x in keras.tree.flatten(model.outputs)]

    def _flow(self, tensor, known):
        # Not by recursion: a model may be a thousand layers deep.
        stack = [tensor]
        while stack:
            history = stack[-1]._keras_history
            node = history.operation._inbound_nodes[history.node_index]
            missing = [x for x in node.input_tensors if id(x) not in known]
            if id(stack[-1]) in known:
                stack.pop()
            elif missing:
                stack.extend(missing)
            else:
                given = [known[id(x)] for x in node.input_tensors]
                made = self._call(history.operation, node, given)
                for output, flow in zip(node.output_tensors, made, strict=True):
                    known[id(output)] = flow
        return known[id(tensor)]

    def _call(self, layer, node, given):
        """The flows that a layer makes of those that it is called on."""
        if is_graph(layer) and len(given) == len(keras.tree.flatten(layer.inputs)):
            return self._graph(layer, given)
        kind = type(layer)
        in_order = getattr(layer, "data_format", "channels_last") == "channels_last"
        flow = None
        if in_order and not _as_in_training(node.arguments):
            if id(layer) in self.arrays:
                flow = self._with_arrays(layer, node, given[0])
            elif kind in (*TRAINING_ONLY, *POOLING, layers.Identity):
                flow = given[0]
            elif kind is layers.Activation and _of_each(layer.activation):
                flow = self._mapped(given[0], layer.activation)
            elif kind in OF_EACH_CHANNEL:
                flow = self._mapped(given[0], layer)
            elif kind is layers.ZeroPadding2D:
                flow = Flow(given[0].channels, padded_constants(given[0].constants))
            elif kind is layers.Flatten:
                flow = self._flattened(node.input_tensors[0].shape, given[0])
            elif kind is layers.Concatenate:
                flow = self._joined(layer, node, given)
            elif _is_sum(layer):
                flow = self._sum(SUMS[kind.__name__], node, given)
        if flow is not None:
            return [flow]
        for one in given:
            self._fix(one, layer)
        return [self._new((x.shape or (1,))[-1], True) for x in node.output_tensors]

    def _with_arrays(self, layer, node, flow):
        kind, arrays = type(layer), self.arrays[id(layer)]
        if kind is layers.BatchNormalization:
            if layer.axis not in (-1, len(node.input_tensors[0].shape) - 1):
                return None
            self._tie(self.handed_on.setdefault(id(layer), flow.channels), flow)
            return Flow(
                flow.channels,
                normalised_constants(arrays, layer.epsilon, flow.constants),
            )
        padded = kind not in DENSE and _is_padded(layer)
        constants = padded_constants(flow.constants) if padded else flow.constants
        if kind is layers.DepthwiseConv2D:
            self._tie(self.handed_on.setdefault(id(layer), flow.channels), flow)
            constants = depthwise_constants(arrays["kernel"], arrays["bias"], constants)
            return self._activated(layer, flow.channels, constants)
        self.readings.append(Reading(layer, flow, padded))
        self._tie(self._read.setdefault(id(layer), flow.channels), flow)
        if id(layer) not in self.made:
            outputs = arrays["kernel"].shape[-1]
            self.made[id(layer)] = self._new(outputs, False).channels
        sums = constant_sums(arrays["kernel"], arrays["bias"], constants)
        return self._activated(layer, self.made[id(layer)], sums)

    def _activated(self, layer, channels, constants):
        flow = Flow(channels, constants)
        if _of_each(layer.activation):
            return self._mapped(flow, layer.activation)
        # Such as a softmax, to which every channel matters.
        self._fix(flow)
        return Flow(channels, np.full(len(channels), np.nan))

    def _mapped(self, flow, function):
        """The same channels behind a function of each by itself."""
        known = ~np.isnan(flow.constants)
        if function is None or not known.any():
            return flow
        constants = flow.constants.copy()
        values = function(ops.convert_to_tensor(constants[None, known], "float32"))
        constants[known] = ops.convert_to_numpy(values)[0]
        return Flow(flow.channels, constants)

    def _flattened(self, shape, flow):
        if None in shape[1:]:
            return None
        pixels = math.prod(shape[1:-1])
        return Flow(np.tile(flow.channels, pixels), np.tile(flow.constants, pixels))

    def _joined(self, layer, node, given):
        if layer.axis not in (-1, len(node.input_tensors[0].shape) - 1):
            return None
        return Flow(
            np.concatenate([flow.channels for flow in given]),
            np.concatenate([flow.constants for flow in given]),
        )

    def _sum(self, function, node, given):
        sizes = {len(flow.channels) for flow in given}
        if len(sizes) > 1 or len(given) < 2:
            return None
        constants = given[0].constants
        for flow in given[1:]:
            self._tie(given[0].channels, flow)
            constants = function(constants, flow.constants)
        return Flow(given[0].channels, constants)

    def _new(self, count, fixed):
        first = len(self._parents)
        self._parents.extend(range(first, first + (count or 1)))
        channels = np.arange(first, len(self._parents))
        if fixed:
            self._fixed.extend(channels)
        return Flow(channels, np.full(len(channels), np.nan))

    def _fix(self, flow, layer=None):
        self._fixed.extend(flow.channels)
        idle = int(np.count_nonzero(~np.isnan(flow.constants)))
        if layer is not None and idle:
            self.idle[layer.name] = max(idle, self.idle.get(layer.name, 0))

    def _tie(self, channels, flow):
        for one, other in zip(channels, flow.channels, strict=True):
            self._parents[self._root(other)] = self._root(one)

    def _root(self, channel):
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel


def _as_in_training(arguments):
    """Whether a call insists on acting as in training."""
    return bool(arguments.kwargs.get("training")) or True in [
        argument for argument in arguments.args if isinstance(argument, bool)
    ]


def _of_each(activation):
    return any(activation is known for known in (None, *ACTIVATIONS))


def _is_padded(layer):
    return layer.padding != "valid" and tuple(layer.kernel_size) != (1, 1)


def _is_sum(layer):
    kind = type(layer)
    exported = getattr(layers, kind.__name__, None)
    return kind.__name__ in SUMS and (
        kind is exported or not isinstance(layer, keras.Layer)
    )
