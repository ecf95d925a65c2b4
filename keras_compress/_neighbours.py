"""What stands before and behind each layer of a model."""

from collections import defaultdict

import keras

from keras_compress._rebuild import is_graph, is_wrapper


class Neighbours:
    """The layers that feed each layer of a model, and those that it feeds.

    Looks through nested models and wrappers: the neighbours of a layer are layers that
    `walk` yields, operations such as `x + y`, and `InputLayer`s of `model` itself.

    Args:
        model: A model that passed `check_model`.
    """

    def __init__(self, model):
        self._before = defaultdict(dict)
        self._behind = defaultdict(dict)
        self._ends = set()
        self._ends.update(map(id, self._join(model, None)))

    def before(self, layer):
        """The layers whose outputs `layer` is called on, each once."""
        return list(self._before[id(layer)].values())

    def behind(self, layer):
        """The layers that are called on the outputs of `layer`, each once."""
        return list(self._behind[id(layer)].values())

    def is_end(self, layer):
        """Whether an output of `layer` is an output of the model."""
        return id(layer) in self._ends

    def _join(self, model, sources):
        """Notes the edges inside a graph; returns the layers that give its outputs.

        Args:
            model: A Sequential or Functional model.
            sources: The layers that feed each input of it; `None` for the whole model,
                whose inputs are fed by its own `InputLayer`s.
        """
        if isinstance(model, keras.Sequential):
            reached = sources[0] if sources else model_inputs(model)
            for layer in model.layers:
                reached = self._call(layer, [reached])
            return reached
        known = {}
        for number, tensor in enumerate(keras.tree.flatten(model.inputs)):
            own = [tensor._keras_history.operation]
            known[id(tensor)] = own if sources is None else sources[number]
        ends = keras.tree.flatten(model.outputs)
        return [layer for tensor in ends for layer in self._producers(tensor, known)]

    def _producers(self, tensor, known):
        if id(tensor) not in known:
            history = tensor._keras_history
            node = history.operation._inbound_nodes[history.node_index]
            given = [self._producers(x, known) for x in node.input_tensors]
            made = self._call(history.operation, given)
            # All outputs of a call are put down to the same layers.
            for output in node.output_tensors:
                known[id(output)] = made
        return known[id(tensor)]

    def _call(self, layer, given):
        """Notes a call of `layer` on what these layers give; returns its producers."""
        if is_graph(layer):
            inputs = keras.tree.flatten(layer.inputs)
            one_each = len(given) == len(inputs)
            merged = [source for sources in given for source in sources]
            return self._join(layer, given if one_each else [merged] * len(inputs))
        if isinstance(layer, keras.Layer) and is_wrapper(layer):
            return self._call(layer.layer, given)
        for sources in given:
            for source in sources:
                self._before[id(layer)][id(source)] = source
                self._behind[id(source)][id(layer)] = layer
        return [layer]


def model_inputs(model):
    """The `InputLayer`s of a Sequential model."""
    return [tensor._keras_history.operation for tensor in model.inputs or []]
