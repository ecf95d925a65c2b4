"""Which channels of a model belong together, which are constant, and who reads them.

A *channel* is one index of a tensor's last axis. The units of a `Dense`, the filters of
a `Conv2D` make channels; activations, normalisation, pooling and depthwise convolutions
hand them on; sums tie those of all their terms together. Whoever knows no better about
a layer must take it that it needs every channel it reads: these are *fixed*.
"""

import dataclasses
import math
import numbers

import keras
import numpy as np
from keras import layers, ops

from keras_compress._layer_kinds import (
    DENSE,
    DEPTHWISE,
    OF_EACH_CHANNEL,
    PADDING,
    POOLING,
    SUMS,
    TRAINING_ONLY,
    acts_as_in_training,
    is_of_each,
    is_padded,
    is_sum,
)
from keras_compress._rebuild import is_graph
from keras_compress.functional.constants import (
    constant_sums,
    depthwise_constants,
    joined_constants,
    normalised_constants,
    padded_constants,
)


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
        flow, count = None, len(node.output_tensors)
        is_known = in_order and not acts_as_in_training(node.arguments)
        if is_known and kind in (*TRAINING_ONLY, layers.Identity):
            # Called on several tensors, they hand on each.
            return given[:count]
        if is_known and count == 1:
            if kind is layers.Reshape:
                flow = self._reshaped(layer, node, given[0])
            elif id(layer) in self.arrays:
                flow = self._with_arrays(layer, node, given[0])
            elif kind in POOLING:
                flow = given[0]
            elif kind is layers.Activation and is_of_each(layer.activation):
                flow = self._mapped(given[0], layer.activation)
            elif kind in OF_EACH_CHANNEL:
                flow = self._mapped(given[0], layer)
            elif kind in PADDING:
                flow = Flow(given[0].channels, padded_constants(given[0].constants))
            elif kind is layers.Flatten:
                flow = self._flattened(node.input_tensors[0].shape, given[0])
            elif kind is layers.Concatenate:
                flow = self._joined(layer, node, given)
            elif is_sum(layer):
                flow = self._sum(SUMS[kind.__name__], node.arguments.args, given)
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
        padded = kind not in DENSE and is_padded(layer)
        constants = padded_constants(flow.constants) if padded else flow.constants
        if kind in DEPTHWISE and "groups" not in arrays:
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
        if is_of_each(layer.activation):
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

    def _reshaped(self, layer, node, flow):
        (before,), (after,) = node.input_tensors, node.output_tensors
        if before.shape[-1] != after.shape[-1]:
            if len(after.shape) > 2:
                return None
            flow = self._flattened(before.shape, flow)
        if flow is not None and id(layer) in self.arrays:
            # The number of channels is written down in it.
            self._tie(self.handed_on.setdefault(id(layer), flow.channels), flow)
        return flow

    def _joined(self, layer, node, given):
        if layer.axis not in (-1, len(node.input_tensors[0].shape) - 1):
            return None
        return Flow(
            np.concatenate([flow.channels for flow in given]),
            np.concatenate([flow.constants for flow in given]),
        )

    def _sum(self, function, arguments, given):
        if len(given) == 1 and len(arguments) == 2:
            # With a number, such as `x + 3`.
            flow = given[0]
            sides = [
                flow.constants if isinstance(x, keras.KerasTensor) else x
                for x in arguments
            ]
            if not any(isinstance(x, numbers.Real) for x in sides):
                return None
            return Flow(flow.channels, joined_constants(function, *sides))
        sizes = {len(flow.channels) for flow in given}
        if len(sizes) > 1 or len(given) < 2:
            return None
        constants = given[0].constants
        for flow in given[1:]:
            self._tie(given[0].channels, flow)
            constants = joined_constants(function, constants, flow.constants)
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
